"""Anchored path patterns, many of them compiled into one matcher that looks at a path once.

A pattern is relative to the root filesystem. `?` and `*` stay within one component, `[...]` is a class of characters,
`**/` stands for any number of folders, and `{a,b}` for either. A pattern covers the path that it names and all that
lies below it.
"""

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from lxcast.errors import UsageError

Value = TypeVar("Value")

Component = bytes | re.Pattern[bytes] | None
"""A name, an expression that a name must match, or None for any number of folders."""

_Places = tuple[int | None, frozenset[tuple[int, int]]]
"""The first pattern that covers a folder, and the places in patterns, (number, component), that can go on below it."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_NOWHERE: _Places = (None, frozenset())
_REMEMBERED = 16384  # folders whose places are kept


def _component(text: str) -> Component:
    """Compile one component of a pattern."""
    if text == "**":
        return None
    if not set(text) & set("*?[{"):
        return text.encode("latin-1")
    return re.compile(_expression(text).encode("latin-1"), re.DOTALL)


def _expression(text: str) -> str:
    """Translate a component, or one of the choices in its braces, to a regular expression."""
    choices = _BRACES.search(text)
    if choices:
        head, tail = text[: choices.start()], text[choices.end() :]
        return f"{_expression(head)}(?:{'|'.join(map(_expression, choices[1].split(',')))}){_expression(tail)}"
    out, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char in "*?":
            out += ".*" if char == "*" else "."
        elif char == "[":
            end = text.find("]", at + 1)
            if end < 0:
                raise UsageError(f"pattern component {text!r}: the class opened by '[' is never closed")
            inside = text[at:end].replace("\\", "\\\\")
            out += f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            at = end + 1
        else:
            out += re.escape(char)
    return out


def _alternatives(pattern: str) -> list[str]:
    """Expand the {a/b,c} of a pattern; choices within one component are left to its expression, tried but once."""
    for match in _BRACES.finditer(pattern):
        if "/" in match[1]:
            head, tail = pattern[: match.start()], pattern[match.end() :]
            return [full for choice in match[1].split(",") for full in _alternatives(head + choice + tail)]
    return [pattern]


def _compile(pattern: str) -> tuple[Component, ...]:
    """Compile a pattern; UsageError where it is no path below the root.

    Patterns are UTF-8 and match bytes: inside they are latin-1, one character for one byte.
    """
    parts = pattern.encode("utf-8", "surrogateescape").decode("latin-1").strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or parts[-1] == "**":
        raise UsageError(
            f"pattern {pattern!r} is no path below the root filesystem",
            hint="write a path such as etc/foo/*.log, without '.', '..', '//' or a closing '**'",
        )
    return tuple(_component(part) for part in parts)


class Matcher(Generic[Value]):
    """Many patterns, each with a value; where several cover one path, the first in the mapping's order wins.

    How far each pattern has come in a folder is worked out once for the folder: for a file in one where no pattern
    goes on, a single look-up is the answer.
    """

    def __init__(self, patterns: Mapping[str, Value]) -> None:
        rows = [(_compile(full), value) for pattern, value in patterns.items() for full in _alternatives(pattern)]
        self._patterns = [components for components, _ in rows]
        self._values = [value for _, value in rows]
        start = frozenset(place for number in range(len(rows)) for place in self._open(number, 0))
        self._folders: dict[bytes, _Places] = {}
        self._root: _Places = (None, start) if rows else _NOWHERE

    def find(self, path: bytes) -> Value | None:
        """Return the value of the first pattern that covers `path` (b"etc/passwd"), or None."""
        cut = path.rfind(b"/")
        if cut < 0:
            places = self._root
        else:
            folder = path[:cut]
            places = self._folders.get(folder) or self._enter(folder)
        if places is _NOWHERE:
            return None
        number, _ = self._step(places, path[cut + 1 :])
        return None if number is None else self._values[number]

    def silent_below(self, path: bytes) -> bytes:
        """Return the folder of `path`, with a "/", where nothing in or below it is covered; else b"/"."""
        cut = path.rfind(b"/")
        folder = path[: max(cut, 0)]
        places = (self._folders.get(folder) or self._enter(folder)) if folder else self._root
        return folder + b"/" if places is _NOWHERE and folder else b"/"

    def _enter(self, folder: bytes) -> _Places:
        """Work out a folder's places from those of the folders above, however many."""
        unknown = []
        while folder and folder not in self._folders:
            unknown.append(folder)
            folder = folder[: max(folder.rfind(b"/"), 0)]
        places = self._folders[folder] if folder else self._root
        if len(self._folders) > _REMEMBERED:
            self._folders.clear()
        for folder in reversed(unknown):
            if places is not _NOWHERE:
                places = self._step(places, folder[folder.rfind(b"/") + 1 :])
            self._folders[folder] = places
        return places

    def _step(self, places: _Places, name: bytes) -> _Places:
        covered, before = places
        after: set[tuple[int, int]] = set()
        for number, at in before:
            component = self._patterns[number][at]
            if component is None:
                after.update(self._open(number, at))
            elif component == name if isinstance(component, bytes) else component.fullmatch(name):
                if at + 1 < len(self._patterns[number]):
                    after.update(self._open(number, at + 1))
                elif covered is None or number < covered:
                    covered = number
        return (covered, frozenset(after)) if after or covered is not None else _NOWHERE

    def _open(self, number: int, at: int) -> list[tuple[int, int]]:
        """Return a place, and the one behind it where any number of folders may be none."""
        places = [(number, at)]
        if self._patterns[number][at] is None:
            places += self._open(number, at + 1)
        return places
