"""What a server answered, read as what it should be: the one place that knows that it may be anything else."""

import json
import re
from typing import Any, TypeVar

from lxcast.errors import ApiError
from lxcast.identifiers import NODE
from lxcast.model import conceal
from lxcast.proxmox.profile import Profile

Value = TypeVar("Value")

_LACKING = object()
_REQUIRED: Any = object()
_MOST = 2**63 - 1
"""Of Proxmox's own numbers: bytes, seconds, counts, ids."""


class Answer:
    """A JSON value of the answer to `asked`, at a place of it such as data[0].node.

    Every method raises ApiError, which names the server, the question, the place, what came and what was expected;
    `unsaid` is taken where the value is null or lacks, which without it is an error.
    """

    __slots__ = ("_asked", "_place", "_profile", "_value")

    def __init__(self, value: object, asked: str, profile: Profile, place: tuple[str | int, ...] = ()) -> None:
        self._value, self._asked, self._profile, self._place = value, asked, profile, place

    def __getitem__(self, key: str) -> "Answer":
        """Return a member of an object; one that lacks is told of when it is read."""
        if not isinstance(self._value, dict):
            raise self._unexpected("an object")
        return self._at(key, self._value.get(key, _LACKING))

    def list(self) -> "list[Answer]":
        """Return the elements of a list."""
        if not isinstance(self._value, list):
            raise self._unexpected("a list")
        return [self._at(index, each) for index, each in enumerate(self._value)]

    def members(self) -> "dict[str, Answer]":
        """Return the members of an object."""
        if not isinstance(self._value, dict):
            raise self._unexpected("an object")
        return {key: self._at(key, each) for key, each in self._value.items()}

    def text(self, unsaid: str = _REQUIRED) -> str:
        """Return a text; Perl writes one that was counted with as a number."""
        value = self._value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str):
            return value.encode(errors="replace").decode()  # half a surrogate pair can be written nowhere
        return self._or(unsaid, "a text")

    def number(self, unsaid: int = _REQUIRED) -> int:
        """Return a whole number of 0 or more, which Perl may write as a text, and a large one with an exponent."""
        value = self._value
        if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value, re.ASCII):
            value = int(value)
        if isinstance(value, int | float) and 0 <= value <= _MOST and value == int(value):
            return int(value)
        return self._or(unsaid, "a whole number")

    def node(self) -> str:
        """Return the name of a node, which is a part of paths."""
        name = self._value
        if isinstance(name, str) and re.fullmatch(NODE, name, re.ASCII):
            return name
        raise self._unexpected("the name of a node")

    def _at(self, part: str | int, value: object) -> "Answer":
        return Answer(value, self._asked, self._profile, (*self._place, part))

    def _or(self, unsaid: Value, expected: str) -> Value:
        if unsaid is _REQUIRED or self._value not in (None, _LACKING):
            raise self._unexpected(expected)
        return unsaid

    def _unexpected(self, expected: str) -> ApiError:
        place = "data" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self._place)
        came = "nothing"
        if self._value is not _LACKING:
            # As in every answer, the secret may be told back; it is hidden before anything is cut.
            came = conceal(self._profile.secret.hidden_in(json.dumps(self._value)))[:80]
        return ApiError(
            f"{self._profile.url} answers {self._asked} in a shape that Proxmox VE does not have: "
            f"{conceal(place)[:80]} is {came}, not {expected}",
            hint="is this address that of a Proxmox VE, and does no proxy between change what it says?",
            # What was asked to be done may have been.
            lost=not self._asked.startswith("GET "),
        )
