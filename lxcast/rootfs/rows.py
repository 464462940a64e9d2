"""Choosing rows of the tables: what is on by default, what the user enables and what they disable."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar

from lxcast.errors import UsageError


class Row(Protocol):
    """What the tables' rows have in common."""

    @property
    def id(self) -> str:
        """The name that a user writes; unique over all tables."""

    @property
    def default(self) -> bool:
        """Whether the row works without being asked for."""


First = TypeVar("First", bound=Row)
Second = TypeVar("Second", bound=Row)


def select(
    operations: Sequence[First], fits: Sequence[Second], *, enable: Iterable[str] = (), disable: Iterable[str] = ()
) -> tuple[tuple[First, ...], tuple[Second, ...]]:
    """Return the rows of both tables that shall work, in the tables' order.

    Raises UsageError that names every unknown identifier with its nearest known ones, and every identifier that is
    enabled and disabled at once.
    """
    on, off = set(enable), set(disable)
    known = [row.id for row in (*operations, *fits)]
    problems = [_unknown(id, known) for id in sorted((on | off) - set(known))]
    problems += [f"the row {id!r} is both enabled and disabled" for id in sorted(on & off & set(known))]
    if problems:
        raise UsageError("; ".join(problems), hint="`lxcast operations` lists the rows")

    def chosen(row: Row) -> bool:
        return (row.default or row.id in on) and row.id not in off

    return tuple(filter(chosen, operations)), tuple(filter(chosen, fits))


def _unknown(id: str, known: list[str]) -> str:
    near = get_close_matches(id, known)
    return f"there is no row {id!r}" + (f" (did you mean {' or '.join(near)}?)" if near else "")
