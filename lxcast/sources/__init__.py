"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members.

Each kind is imported when it is met: a build from an archive should not wait for what speaks with engines.
"""

from pathlib import Path

from lxcast.errors import UsageError
from lxcast.sources.archive import Archive, first_path, is_of_an_image, is_squashfs, open_file, open_stdin
from lxcast.sources.source import Members, Packaged, Source

__all__ = ["Archive", "Members", "Packaged", "Source", "open_file", "open_source"]

_ARCHIVE_SUFFIXES = {".tar", ".gz", ".tgz", ".xz", ".txz", ".zst", ".tzst", ".bz2", ".tbz2"}


def open_source(text: str, platform: str = "") -> Source:
    """Return the source that a user names.

    `docker-daemon:IMAGE`, `docker-container:NAME`, `docker-archive:FILE[:REF]`, `oci:PATH[:REF]`,
    `oci-archive:FILE[:REF]`, `bundle:DIR`, `rootfs:DIR`, `-` for standard input, a path whose content tells what it is,
    or a bare word that is no file: then a container of that name, else an image. `platform` ("" for this machine's)
    chooses where an image is there for several. Raises SourceError and its children.
    """
    prefix, colon, rest = text.partition(":")
    named = _open_named(prefix, rest, platform) if colon else None
    if named is not None:
        return named
    if not text:
        raise UsageError("the source's name is empty", hint="name a container, an image, an archive, or - for stdin")
    if text == "-":
        return open_stdin()
    path = Path(text)
    if path.exists() or path.is_absolute() or text.startswith((".", "~")) or path.suffix in _ARCHIVE_SUFFIXES:
        return _open_path(path.expanduser(), platform)
    from lxcast.sources.docker import open_word

    return open_word(text)


def _open_named(prefix: str, name: str, platform: str) -> Source | None:
    """Return the source whose kind is said; None where `prefix` is no kind."""
    if prefix in ("docker-daemon", "docker-container"):
        from lxcast.sources.docker import open_container, open_image

        return open_image(name) if prefix == "docker-daemon" else open_container(name)
    if prefix in ("docker-archive", "oci", "oci-archive"):
        from lxcast.sources.image import open_docker_archive, open_layout

        return (open_docker_archive if prefix == "docker-archive" else open_layout)(name, platform)
    if prefix == "bundle":
        from lxcast.sources.bundle import open_bundle

        return open_bundle(name)
    if prefix == "rootfs":
        from lxcast.sources.folder import open_rootfs

        return open_rootfs(name)
    return None


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
        return found or _open_named(kind, str(path), platform) or open_file(path)
    first = b"" if is_squashfs(path) else first_path(path)
    if first and is_of_an_image(first):
        from lxcast.sources.image import open_if_image

        found = open_if_image(path, platform)
    if found is None and path.is_file():
        from lxcast.sources.packaged import is_packed, open_if_packed, open_with_metadata

        found = (open_if_packed(path) if first and is_packed(first) else None) or open_with_metadata(path)
    return found or open_file(path)
