"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members."""

from pathlib import Path

from lxcast.errors import UsageError
from lxcast.sources.archive import Archive, open_file, open_stdin
from lxcast.sources.docker import open_container, open_image, open_word

__all__ = ["Archive", "open_source"]

_PREFIXES = {
    "docker-daemon": open_image,
    "docker-container": open_container,
}

_ARCHIVE_SUFFIXES = {".tar", ".gz", ".tgz", ".xz", ".txz", ".zst", ".tzst", ".bz2", ".tbz2"}


def open_source(text: str) -> Archive:
    """Return the source that a user names.

    `docker-daemon:IMAGE`, `docker-container:NAME`, `-` for standard input, a path, or a bare word that is no file:
    then a container of that name, else an image. Raises SourceError and its children.
    """
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES:
        return _PREFIXES[prefix](rest)
    if not text:
        raise UsageError("the source's name is empty", hint="name a container, an image, an archive, or - for stdin")
    if text == "-":
        return open_stdin()
    path = Path(text)
    if path.exists() or path.is_absolute() or text.startswith((".", "~")) or path.suffix in _ARCHIVE_SUFFIXES:
        return open_file(path.expanduser())
    return open_word(text)
