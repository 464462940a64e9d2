"""The row of the table of readers, and what a reader could not read."""

from collections.abc import Callable
from dataclasses import dataclass

from lxcast.model import Package
from lxcast.tar.member import printable


@dataclass(frozen=True, slots=True)
class Unread:
    """A package database or file whose packages are not in the inventory, and the reason."""

    path: bytes
    reason: str

    def as_dict(self) -> dict[str, str]:
        """Return it as in --json and in the record."""
        return {"path": printable(self.path), "reason": self.reason}


class UnreadableError(Exception):
    """A database that cannot be read; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A row of the table of readers.

    `paths` are patterns (`globs.py`); `suffixes` are the ends of paths that may be anywhere. `executables` reads large
    executable files. `parse` gets the path and the whole content, and raises UnreadableError.
    """

    id: str
    default: bool
    heading: str
    why: str
    parse: Callable[[bytes, bytes], list[Package]]
    paths: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    executables: bool = False
