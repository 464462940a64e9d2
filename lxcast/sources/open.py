"""Opens the source that a user names, by its prefix or its content.

Each kind is imported when it is needed: a build from an archive should not wait for the client of an engine.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lxcast.compression import sniff
from lxcast.errors import ArchiveError, SourceError, UsageError
from lxcast.sources.archive import (
    SQUASHFS,
    Archive,
    first_member_path,
    is_image_member,
    open_file,
    open_stdin,
    read_start,
)
from lxcast.sources.paths import exists, expand, is_directory, is_file
from lxcast.sources.source import Source

_ARCHIVE_SUFFIXES = {".tar", ".gz", ".tgz", ".xz", ".txz", ".zst", ".tzst", ".bz2", ".tbz2"}
_DOCKERFILES = ("Dockerfile", "Containerfile")
_FROM = re.compile(rb"^\s*FROM\s+(--platform=\S+\s+)?[\w./:@${}-]+(\s+AS\s+\S+)?\s*$", re.IGNORECASE | re.MULTILINE)
"""The instruction that every Dockerfile has (Dockerfile reference, FROM)."""

_OTHER_TRANSPORTS = ("docker://", "containers-storage:", "dir:", "ostree:", "sif:", "tarball:")
"""Where else skopeo reads images from (containers-transports(5))."""

_KINDS = ("docker-daemon", "docker-container", "docker-archive", "oci", "oci-archive", "bundle", "rootfs")


def open_source(text: str, platform: str = "", sha256: str | None = None) -> Source:
    """Return the source that a user names.

    `docker-daemon:IMAGE`, `docker-container:NAME`, `docker-archive:FILE[:REF]`, `oci:PATH[:REF]`,
    `oci-archive:FILE[:REF]`, `bundle:DIR`, `rootfs:DIR`, `https://HOST/PATH`, `-` for standard input, a path whose
    kind is detected by its content, or a bare word that is not a path: a container of that name, else an image.
    `platform` ("" for this machine's) chooses one of several images. `sha256` is the expected digest of an https
    source, "" to accept any; None means that none was given. Raises UsageError, SourceError and its children.
    """
    if is_url(text):
        return _open_url(text, platform, sha256)
    refuse_checksum(text, sha256)
    if is_prefixed(text):
        return _open_prefixed(text, platform)
    if not text:
        raise UsageError("the source is empty", hint="name a container, an image or an archive, or - for stdin")
    if text == "-":
        return _piped(open_stdin(), platform)
    if Path(text).is_absolute() or text.startswith((".", "~")) or Path(text).suffix in _ARCHIVE_SUFFIXES:
        return _open_path(expand(text), platform)
    if text.startswith(_OTHER_TRANSPORTS):
        from shlex import quote

        raise UsageError(
            f"{text}: this kind of image is not supported",
            hint=f"copy it: skopeo copy {quote(text)} oci:image:latest; then use oci:image:latest",
        )
    if exists(Path(text)):
        return _open_path(Path(text), platform)
    from lxcast.sources.docker import open_word

    return open_word(text)


def is_url(text: str) -> bool:
    """Return whether a source is a URL."""
    return text.lower().startswith(("https://", "http://"))


def without_secrets(text: str) -> str:
    """Return a source's name without the secrets that a URL may contain."""
    if not is_url(text):
        return text
    from lxcast.download.stream import redact_url

    return redact_url(text)


def is_prefixed(text: str) -> bool:
    """Return whether a source's name includes its kind."""
    prefix, colon, _ = text.partition(":")
    return is_url(text) or (bool(colon) and prefix in _KINDS)


def refuse_checksum(text: str, sha256: str | None) -> None:
    """Raise UsageError for a checksum of a source that is not a URL."""
    if sha256 is not None and not is_url(text):
        raise UsageError(f"{text}: a checksum is only valid for an https source", hint="omit --sha256")


def _open_prefixed(text: str, platform: str) -> Source:
    kind, _, name = text.partition(":")
    if not name:
        raise UsageError(f"{text}: the name is missing", hint=f"write {kind}:NAME")
    if kind in ("docker-daemon", "docker-container"):
        from lxcast.sources.docker import open_container, open_image

        return open_image(name) if kind == "docker-daemon" else open_container(name)
    if kind in ("docker-archive", "oci", "oci-archive"):
        from lxcast.sources.image import open_docker_archive, open_layout

        return (open_docker_archive if kind == "docker-archive" else open_layout)(name, platform)
    return _open_directory(kind, name)


def _open_directory(kind: str, name: str) -> Source:
    if kind == "bundle":
        from lxcast.sources.bundle import open_bundle

        return open_bundle(name)
    from lxcast.sources.directory import open_rootfs

    return open_rootfs(name)


class CheckInput(NamedTuple):
    """What a check reads: a file as it is stored, and the root filesystem that a build would read from it."""

    file: Archive | None
    """None for a directory, and for what an engine has."""
    path: Path | None
    """The file's path; None if it is streamed."""
    name: str
    """The file's name, "" if it has none."""
    open_content: Callable[[], Source]


def open_for_check(source: str | Path, platform: str = "", sha256: str | None = None) -> CheckInput:
    """Return a file whatever it contains, or any other source that `open_source` accepts by its prefix.

    A Path is always a file or directory. Raises UsageError, SourceError and its children.
    """
    if not source:
        raise UsageError("the source is empty", hint="name a file or directory, or - for standard input")
    refuse_checksum(str(source), sha256)
    if source == "-":
        stdin = open_stdin()
        return CheckInput(stdin, None, "", lambda: stdin)
    if isinstance(source, Path) or not is_prefixed(source):
        path = expand(str(source))
        return CheckInput(_file_at(path), path, path.name, lambda: _open_path(path, platform))
    opened = open_source(source, platform, sha256)
    if not is_url(source):
        at: Path | None = getattr(opened, "path", None)
        return CheckInput(_file_at(at) if at else None, at, at.name if at else "", lambda: opened)
    from urllib.parse import urlsplit

    from lxcast.sources.remote import Remote

    assert isinstance(opened, Remote)
    streamed = opened.fetch()
    file = streamed or (open_file(opened.path) if opened.path else None)
    if file:
        file.origin = opened.origin
    name = urlsplit(opened.origin.reference).path.rpartition("/")[2]
    return CheckInput(file, opened.path, name, lambda: streamed or opened.open_kept())


def _file_at(path: Path) -> Archive | None:
    if is_directory(path):
        return None
    start = read_start(path)
    refuse_dockerfile(path, start)
    if sniff(start[:512]):
        first_member_path(path)  # an instance's backup is an error
    return open_file(path)


def _open_url(url: str, platform: str, sha256: str | None) -> Source:
    from lxcast.download.stream import redact_url

    if not url.lower().startswith("https://"):
        raise UsageError(
            f"{redact_url(url)}: http:// is not supported because it is not secure",
            hint="use https://, or download the file first",
        )
    if sha256 is None:
        raise UsageError(
            f"{redact_url(url)}: a checksum is required for an https source",
            hint="pass --sha256 HEX, or --insecure-no-checksum to accept any content",
        )
    from lxcast.sources.packaged import is_packed
    from lxcast.sources.remote import Remote

    def is_read_twice(first: bytes) -> bool:
        return bool(first) and (is_image_member(first) or is_packed(first))

    return Remote(url, sha256, lambda path: _open_path(path, platform), is_read_twice)


def _open_path(path: Path, platform: str, name: str = "") -> Source:
    """Return the source at a path, detected by its content; `name` stands for the path of an image in messages."""
    if is_directory(path):
        return _detect_directory(path, platform)
    start = read_start(path)
    refuse_dockerfile(path, start)
    first = b"" if start.startswith(SQUASHFS) else first_member_path(path)
    found: Source | None = None
    if first and is_image_member(first):
        from lxcast.sources.image import open_if_image

        found = open_if_image(path, platform, name)
    if found is None and is_file(path):
        from lxcast.sources.packaged import is_packed, open_if_packed, open_with_metadata

        found = (open_if_packed(path) if first and is_packed(first) else None) or open_with_metadata(path)
    return found or _piped(open_file(path), platform)


def _detect_directory(path: Path, platform: str) -> Source:
    from lxcast.sources.image import open_if_image

    if found := open_if_image(path, platform):
        return found
    if is_file(path / "config.json"):
        return _open_directory("bundle", str(path))
    from lxcast.sources.packaged import open_if_pair

    if pair := open_if_pair(path):
        return pair
    for name in _DOCKERFILES:
        if is_file(path / name) and not any(exists(path / each) for each in ("etc", "usr", "bin", "sbin")):
            raise SourceError(f"{path}: contains a {name}, not a root filesystem", hint=_docker_build(path))
    return _open_directory("rootfs", str(path))


def refuse_dockerfile(path: Path, start: bytes) -> None:
    """Raise ArchiveError if the start of a file is that of a Dockerfile."""
    if start and not sniff(start[:512]) and b"\0" not in start and _FROM.search(start):
        raise ArchiveError(f"{path}: is a Dockerfile, not an archive", hint=_docker_build(path.parent, path.name))


def _docker_build(directory: Path, file: str = "") -> str:
    from shlex import quote

    option = f" -f {quote(str(directory / file))}" if file not in ("", "Dockerfile") else ""
    return (
        f"build an image first: docker build -t NAME{option} {quote(str(directory))} && lxcast build NAME --name NAME"
    )


def _piped(archive: Archive, platform: str) -> Source:
    from lxcast.sources.pipe import PipedSource

    return PipedSource(archive, lambda path, name: _open_path(path, platform, name))
