"""Values of an API reply, read as what they should be: the only code that allows for a reply of another shape."""

import json
import re
from typing import Any, TypeVar

from lxcast.errors import ApiError
from lxcast.identifiers import NODE
from lxcast.model import conceal
from lxcast.proxmox.profile import Profile

Value = TypeVar("Value")

_MISSING = object()
_REQUIRED: Any = object()
_MAX = 2**63 - 1
"""The largest number that Proxmox itself uses: bytes, seconds, counts, ids."""


class ApiValue:
    """A JSON value of the reply to `request`, at a path in it such as data[0].node.

    Every method raises ApiError, which names the server, the request, the path, the value and what was expected.
    `default` is returned for a value that is null or missing, which is an error without it.
    """

    __slots__ = ("_path", "_profile", "_request", "_value")

    def __init__(self, value: object, request: str, profile: Profile, path: tuple[str | int, ...] = ()) -> None:
        self._value, self._request, self._profile, self._path = value, request, profile, path

    def __getitem__(self, key: str) -> "ApiValue":
        """Return a member of an object; a missing one is an error when it is read."""
        if not isinstance(self._value, dict):
            raise self._unexpected("an object")
        return self._at(key, self._value.get(key, _MISSING))

    def list(self) -> "list[ApiValue]":
        """Return the elements of a list."""
        if not isinstance(self._value, list):
            raise self._unexpected("a list")
        return [self._at(index, each) for index, each in enumerate(self._value)]

    def members(self) -> "dict[str, ApiValue]":
        """Return the members of an object."""
        if not isinstance(self._value, dict):
            raise self._unexpected("an object")
        return {key: self._at(key, each) for key, each in self._value.items()}

    def text(self, default: str = _REQUIRED) -> str:
        """Return a string; Perl writes one that was used as a number without quotes."""
        value = self._value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str):
            return value.encode(errors="replace").decode()  # half a surrogate pair cannot be written anywhere
        return self._or(default, "a string")

    def number(self, default: int = _REQUIRED) -> int:
        """Return an integer of 0 or more, which Perl may write as a string, and a large one with an exponent."""
        value = self._value
        if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value, re.ASCII):
            value = int(value)
        if isinstance(value, int | float) and 0 <= value <= _MAX and value == int(value):
            return int(value)
        return self._or(default, "an integer")

    def node(self) -> str:
        """Return the name of a node, which becomes part of API paths."""
        name = self._value
        if isinstance(name, str) and re.fullmatch(NODE, name, re.ASCII):
            return name
        raise self._unexpected("the name of a node")

    def _at(self, part: str | int, value: object) -> "ApiValue":
        return ApiValue(value, self._request, self._profile, (*self._path, part))

    def _or(self, default: Value, expected: str) -> Value:
        if default is _REQUIRED or self._value not in (None, _MISSING):
            raise self._unexpected(expected)
        return default

    def _unexpected(self, expected: str) -> ApiError:
        path = "data" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self._path)
        got = "nothing"
        if self._value is not _MISSING:
            # A reply may repeat the secret; it is hidden before anything is cut off.
            got = conceal(self._profile.secret.hidden_in(json.dumps(self._value)))[:80]
        return ApiError(
            f"{self._profile.url}: unexpected reply to {self._request}: expected {expected} at "
            f"{conceal(path)[:80]}, got {got}",
            hint="check that this is the address of Proxmox VE, and that no proxy changes its replies",
            # The request itself may have been carried out.
            lost=not self._request.startswith("GET "),
        )
