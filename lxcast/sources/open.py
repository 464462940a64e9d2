"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members.

Each kind is imported when it is met: a build from an archive should not wait for what speaks with engines.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lxcast.errors import UsageError
from lxcast.sources.archive import Archive, first_member_path, is_image_member, is_squashfs, open_file, open_stdin
from lxcast.sources.source import DeferredSource, Members, Packaged, Source

__all__ = [
    "Archive",
    "CheckInput",
    "DeferredSource",
    "Members",
    "Packaged",
    "Source",
    "is_url",
    "open_file",
    "open_for_check",
    "open_source",
    "without_secrets",
]

_ARCHIVE_SUFFIXES = {".tar", ".gz", ".tgz", ".xz", ".txz", ".zst", ".tzst", ".bz2", ".tbz2"}


def open_source(text: str, platform: str = "", sha256: str | None = None) -> Source:
    """Return the source that a user names.

    `docker-daemon:IMAGE`, `docker-container:NAME`, `docker-archive:FILE[:REF]`, `oci:PATH[:REF]`,
    `oci-archive:FILE[:REF]`, `bundle:DIR`, `rootfs:DIR`, `https://HOST/PATH`, `-` for standard input, a path whose
    content tells what it is, or a bare word that is no file: then a container of that name, else an image. `platform`
    ("" for this machine's) chooses where an image is there for several. `sha256` is what an https source must have, ""
    for anything; None is unsaid. Raises UsageError, SourceError and its children.
    """
    if is_url(text):
        return _open_url(text, platform, sha256)
    refuse_checksum(text, sha256)
    if is_prefixed(text):
        return _open_named(text, platform)
    if not text:
        raise UsageError("the source's name is empty", hint="name a container, an image, an archive, or - for stdin")
    if text == "-":
        return _piped(open_stdin())
    path = Path(text)
    if path.exists() or path.is_absolute() or text.startswith((".", "~")) or path.suffix in _ARCHIVE_SUFFIXES:
        return _open_path(path.expanduser(), platform)
    if text.startswith(_OTHER_PLACES):
        from shlex import quote

        raise UsageError(
            f"{text}: lxcast reads no image from there",
            hint=f"skopeo copy {quote(text)} oci:image:latest, then oci:image:latest is the source",
        )
    from lxcast.sources.docker import open_word

    return open_word(text)


def is_url(text: str) -> bool:
    """Tell whether a user names what a web server has."""
    return text.lower().startswith(("https://", "http://"))


def without_secrets(text: str) -> str:
    """Return what a user names, without what may be secret in it."""
    if not is_url(text):
        return text
    from lxcast.download.stream import redact_url

    return redact_url(text)


def is_prefixed(text: str) -> bool:
    """Tell whether a user says what kind of source it is."""
    prefix, colon, _ = text.partition(":")
    return is_url(text) or (bool(colon) and prefix in _KINDS)


def refuse_checksum(text: str, sha256: str | None) -> None:
    """Raise UsageError where a checksum is said of a source that is no https one."""
    if sha256 is not None and not is_url(text):
        raise UsageError(f"{text} is no https source: a checksum is for one", hint="leave it out")


_OTHER_PLACES = ("docker://", "containers-storage:", "dir:", "ostree:", "sif:", "tarball:")
"""What skopeo reads images from, beside what is a source here (containers-transports(5))."""

_KINDS = ("docker-daemon", "docker-container", "docker-archive", "oci", "oci-archive", "bundle", "rootfs")


def _open_named(text: str, platform: str) -> Source:
    """Return the source whose kind is said by its prefix."""
    kind, _, name = text.partition(":")
    if not name:
        raise UsageError(f"{text} names no source", hint=f"write it behind the colon, as {kind}:NAME")
    if kind in ("docker-daemon", "docker-container"):
        from lxcast.sources.docker import open_container, open_image

        return open_image(name) if kind == "docker-daemon" else open_container(name)
    if kind in ("docker-archive", "oci", "oci-archive"):
        from lxcast.sources.image import open_docker_archive, open_layout

        return (open_docker_archive if kind == "docker-archive" else open_layout)(name, platform)
    return _open_folder(kind, name)


def _open_folder(kind: str, name: str) -> Source:
    if kind == "bundle":
        from lxcast.sources.bundle import open_bundle

        return open_bundle(name)
    from lxcast.sources.directory import open_rootfs

    return open_rootfs(name)


class CheckInput(NamedTuple):
    """What is judged as it stands, and how it is opened for what a build would read of it."""

    file: Archive | None
    """None where it is no file: a folder, or what an engine has."""
    path: Path | None
    """Where that lies here; None where it is read while it comes."""
    name: str
    """The file's name, "" where it has none."""
    content: Callable[[], Source]


def open_for_check(source: str | Path, platform: str = "", sha256: str | None = None) -> CheckInput:
    """Return a file whatever it holds, or what else `open_source` takes by a prefix; a path is always that.

    Raises UsageError, SourceError and its children.
    """
    refuse_checksum(str(source), sha256)
    if source == "-":
        stdin = open_stdin()
        return CheckInput(stdin, None, "", lambda: stdin)
    if isinstance(source, Path) or not is_prefixed(source):
        path = Path(source).expanduser()
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
    return CheckInput(file, opened.path, name, lambda: streamed or opened.kept())


def _file_at(path: Path) -> Archive | None:
    return None if path.is_dir() else open_file(path)


def _open_url(url: str, platform: str, sha256: str | None) -> Source:
    from lxcast.download.stream import redact_url

    if not url.lower().startswith("https://"):
        raise UsageError(
            f"{redact_url(url)} is not read: nothing would show that its bytes are the server's", hint="https:// is"
        )
    if sha256 is None:
        raise UsageError(
            f"{redact_url(url)}: no checksum is said that it must have",
            hint="--sha256 HEX, or --insecure-no-checksum for whatever the server gives",
        )
    from lxcast.sources.packaged import is_packed
    from lxcast.sources.remote import Remote

    def is_read_twice(first: bytes) -> bool:
        return bool(first) and (is_image_member(first) or is_packed(first))

    return Remote(url, sha256, lambda path: _open_path(path, platform), is_read_twice)


def _open_path(path: Path, platform: str) -> Source:
    """Return what lies at a path, told by its content."""
    found: Source | None = None
    if path.is_dir():
        from lxcast.sources.image import open_if_image

        found = open_if_image(path, platform)
        if found is None and not (path / "config.json").is_file():
            from lxcast.sources.packaged import open_if_pair

            found = open_if_pair(path)
        kind = "bundle" if (path / "config.json").is_file() else "rootfs"
        return found or _open_folder(kind, str(path))
    first = b"" if is_squashfs(path) else first_member_path(path)
    if first and is_image_member(first):
        from lxcast.sources.image import open_if_image

        found = open_if_image(path, platform)
    if found is None and path.is_file():
        from lxcast.sources.packaged import is_packed, open_if_packed, open_with_metadata

        found = (open_if_packed(path) if first and is_packed(first) else None) or open_with_metadata(path)
    return found or _piped(open_file(path))


def _piped(archive: Archive) -> Source:
    from lxcast.sources.pipe import PipedSource

    return PipedSource(archive)
