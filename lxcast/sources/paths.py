"""Paths that users name: whether they exist, what they are, and clear errors for everything else."""

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.errors import SourceError

_MAX_ENTRIES = 10_000  # of a directory that are searched for a similar name


def expand(text: str) -> Path:
    """Return a path with "~" expanded. Raises SourceError for an unknown user."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SourceError(f"{text}: unknown user in a path", hint=f"to use it literally, write ./{text}") from error


def exists(path: Path) -> bool:
    """Return whether a path exists. Raises SourceError if that cannot be determined."""
    return _mode(path) != 0


def is_directory(path: Path) -> bool:
    """Return whether a path is a directory or leads to one. Raises SourceError if that cannot be determined."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file or leads to one. Raises SourceError if that cannot be determined."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    with explained(path):
        try:
            return path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL byte
            return 0


def open_for_reading(path: Path) -> io.FileIO:
    """Open a file unbuffered. Raises SourceError."""
    with explained(path):
        return path.open("rb", buffering=0)


def list_files(directory: Path, max_size: float = math.inf) -> list[str]:
    """Return the sorted names of a directory's files of at most `max_size` bytes; none if it cannot be listed."""
    try:
        with os.scandir(directory) as entries:
            return sorted(each.name for each in entries if each.is_file() and each.stat().st_size <= max_size)
    except OSError:
        return []


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError on a path into a SourceError."""
    try:
        yield
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except IsADirectoryError as error:
        raise SourceError(
            f"{path}: is a directory, expected a file", hint=f"to pack it: tar -C {path} -c . | lxcast build - ..."
        ) from error
    except PermissionError as error:
        raise SourceError(
            f"{path}: permission denied", hint=f"check the permissions: namei -l {path}; or use sudo"
        ) from error
    except OSError as error:
        raise SourceError(f"{path!s:.300}: cannot be read: {error.strerror or error}") from error


def missing_file(path: Path) -> SourceError:
    """Return the error for a path that does not exist, with the most similar name next to it."""
    from difflib import get_close_matches  # only for errors

    _, volid, file = str(path).partition(":vztmpl/")
    if volid:
        return SourceError(
            f"{path!s:.300}: is a template id, expected a file", hint=f"its file is STORAGE/template/cache/{file}"
        )
    hint = f"paths are relative to {os.environ.get('PWD') or os.curdir}"
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)]
        if similar := get_close_matches(path.name, names, 1):
            hint = f"did you mean {path.with_name(similar[0])}?"
    except (OSError, ValueError):
        pass
    return SourceError(f"{path!s:.300}: no such file or directory", hint=hint)
