"""Selection of table rows: the defaults plus the rows that the user enables or disables."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar, overload

from lxcast.errors import UsageError


class Row(Protocol):
    """The common attributes of the rows of all tables."""

    @property
    def id(self) -> str:
        """The name in options and settings; unique across all tables."""

    @property
    def default(self) -> bool:
        """Whether the row is on by default."""


Selected = TypeVar("Selected", bound=Row)
First = TypeVar("First", bound=Row)
Second = TypeVar("Second", bound=Row)


@overload
def select(
    first: Sequence[First], /, *, enable: Iterable[str] = (), disable: Iterable[str] = ()
) -> tuple[tuple[First, ...]]: ...


@overload
def select(
    first: Sequence[First], second: Sequence[Second], /, *, enable: Iterable[str] = (), disable: Iterable[str] = ()
) -> tuple[tuple[First, ...], tuple[Second, ...]]: ...


def select(
    *tables: Sequence[Selected], enable: Iterable[str] = (), disable: Iterable[str] = ()
) -> tuple[tuple[Selected, ...], ...]:
    """Return the selected rows of each table, in table order.

    Raises UsageError for every unknown identifier, with similar ones, and for every identifier that is both enabled and
    disabled.
    """
    on, off = set(enable), set(disable)
    ids = [row.id for table in tables for row in table]
    problems = [_unknown(id, ids) for id in sorted((on | off) - set(ids))]
    problems += [f"row {id!r} is both enabled and disabled" for id in sorted(on & off & set(ids))]
    if problems:
        raise UsageError("; ".join(problems), hint="`lxcast operations` lists the rows")

    def is_selected(row: Row) -> bool:
        return (row.default or row.id in on) and row.id not in off

    return tuple(tuple(filter(is_selected, table)) for table in tables)


def _unknown(id: str, ids: list[str]) -> str:
    similar = get_close_matches(id, ids)
    return f"unknown row {id!r}" + (f" (did you mean {' or '.join(similar)}?)" if similar else "")
