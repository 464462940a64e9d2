"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members."""

from collections.abc import Callable
from pathlib import Path

from lxcast.errors import UsageError
from lxcast.sources.archive import Archive, first_path, open_file, open_stdin
from lxcast.sources.blobs import is_of_an_image
from lxcast.sources.bundle import open_bundle
from lxcast.sources.docker import open_container, open_image, open_word
from lxcast.sources.folder import open_rootfs
from lxcast.sources.image import open_docker_archive, open_if_image, open_layout
from lxcast.sources.nested import is_wrapped, open_if_nested
from lxcast.sources.source import Members, Source

__all__ = ["Archive", "Members", "Source", "open_file", "open_source"]

_PREFIXES: dict[str, Callable[[str, str], Source]] = {
    "docker-daemon": lambda name, platform: open_image(name),
    "docker-container": lambda name, platform: open_container(name),
    "docker-archive": open_docker_archive,
    "oci": open_layout,
    "oci-archive": open_layout,
    "bundle": lambda name, platform: open_bundle(name),
    "rootfs": lambda name, platform: open_rootfs(name),
}

_ARCHIVE_SUFFIXES = {".tar", ".gz", ".tgz", ".xz", ".txz", ".zst", ".tzst", ".bz2", ".tbz2"}


def open_source(text: str, platform: str = "") -> Source:
    """Return the source that a user names.

    `docker-daemon:IMAGE`, `docker-container:NAME`, `docker-archive:FILE[:REF]`, `oci:PATH[:REF]`,
    `oci-archive:FILE[:REF]`, `bundle:DIR`, `rootfs:DIR`, `-` for standard input, a path whose content tells what it is,
    or a bare word that is no file: then a container of that name, else an image. `platform` ("" for this machine's)
    chooses where an image is there for several. Raises SourceError and its children.
    """
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES:
        return _PREFIXES[prefix](rest, platform)
    if not text:
        raise UsageError("the source's name is empty", hint="name a container, an image, an archive, or - for stdin")
    if text == "-":
        return open_stdin()
    path = Path(text)
    if path.exists() or path.is_absolute() or text.startswith((".", "~")) or path.suffix in _ARCHIVE_SUFFIXES:
        return _open_path(path.expanduser(), platform)
    return open_word(text)


def _open_path(path: Path, platform: str) -> Source:
    """Return what lies at a path, told by its content."""
    if path.is_dir():
        image = open_if_image(path, platform)
        if image is not None:
            return image
        return open_bundle(str(path)) if (path / "config.json").is_file() else open_rootfs(str(path))
    first = first_path(path)
    found: Source | None = None
    if first and is_of_an_image(first):
        found = open_if_image(path, platform)
    elif first and is_wrapped(first):
        found = open_if_nested(path)
    return found or open_file(path)
