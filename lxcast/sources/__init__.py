"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members."""

from pathlib import Path

from lxcast.errors import UsageError
from lxcast.sources.archive import Archive, open_file, open_stdin

__all__ = ["Archive", "open_source"]


def open_source(text: str) -> Archive:
    """Return the source that a user names.

    `-` is standard input, anything else a path. Raises SourceError and its children.
    """
    if not text:
        raise UsageError("the source's name is empty", hint="name a container, an image, an archive, or - for stdin")
    if text == "-":
        return open_stdin()
    path = Path(text)
    return open_file(path.expanduser())
