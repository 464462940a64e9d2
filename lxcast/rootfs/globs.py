"""Anchored path patterns, compiled into one matcher that examines each path once.

A pattern is relative to the root filesystem. `?` and `*` match within one component, `[...]` is a character class,
`**/` matches any number of directories, and `{a,b}` matches either. A pattern matches the path that it names and
everything below it.
"""

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from lxcast.errors import UsageError

Value = TypeVar("Value")

Component = bytes | re.Pattern[bytes] | None
"""A name, an expression that a name must match, or None for any number of directories."""

_State = tuple[int | None, frozenset[tuple[int, int]]]
"""The first pattern that matches a directory, and the positions, (pattern, component), that can continue below it."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_DEAD: _State = (None, frozenset())
_CACHED = 16384  # directories whose state is kept


def literal(path: bytes) -> str:
    """Return the pattern that matches exactly this path and everything below it."""
    return "".join(f"[{char}]" if char in "*?[{" else char for char in path.decode("utf-8", "surrogateescape"))


def _component(text: str) -> Component:
    """Compile one component of a pattern."""
    if text == "**":
        return None
    if not set(text) & set("*?[{"):
        return text.encode("latin-1")
    return re.compile(_expression(text).encode("latin-1"), re.DOTALL)


def _expression(text: str) -> str:
    """Translate a component, or one of the alternatives in its braces, to a regular expression."""
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
                raise UsageError(f"pattern component {text!r}: missing ']' after '['")
            inside = text[at:end].replace("\\", "\\\\").replace("[", "\\[")
            out += f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            at = end + 1
        else:
            out += re.escape(char)
    return out


def _alternatives(pattern: str) -> list[str]:
    """Expand {a/b,c} in a pattern; alternatives within one component stay in its expression, which is tried once."""
    for match in _BRACES.finditer(pattern):
        if "/" in match[1]:
            head, tail = pattern[: match.start()], pattern[match.end() :]
            return [full for choice in match[1].split(",") for full in _alternatives(head + choice + tail)]
    return [pattern]


def _compile(pattern: str) -> tuple[Component, ...]:
    """Compile a pattern. Raises UsageError unless it is a path below the root.

    Patterns are UTF-8 and match bytes, so they are handled as latin-1: one character for each byte.
    """
    parts = pattern.encode("utf-8", "surrogateescape").decode("latin-1").strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or parts[-1] == "**":
        raise UsageError(
            f"invalid pattern {pattern!r}: expected a path below the root filesystem",
            hint="write a path such as etc/foo/*.log, without '.', '..', '//' or a final '**'",
        )
    return tuple(_component(part) for part in parts)


class Matcher(Generic[Value]):
    """Many patterns, each with a value. If several match a path, the first in the mapping's order applies.

    The progress of each pattern in a directory is computed once for the directory, so a file in a directory where no
    pattern continues costs a single dictionary access.
    """

    def __init__(self, patterns: Mapping[str, Value]) -> None:
        rows = [(_compile(full), value) for pattern, value in patterns.items() for full in _alternatives(pattern)]
        self._patterns = [components for components, _ in rows]
        self._values = [value for _, value in rows]
        start = frozenset(position for number in range(len(rows)) for position in self._open(number, 0))
        self._states: dict[bytes, _State] = {}
        self._root: _State = (None, start) if rows else _DEAD

    def find(self, path: bytes) -> Value | None:
        """Return the value of the first pattern that matches `path` (b"etc/passwd"), or None."""
        cut = path.rfind(b"/")
        if cut < 0:
            state = self._root
        else:
            parent = path[:cut]
            state = self._states.get(parent) or self._enter(parent)
        if state is _DEAD:
            return None
        number, _ = self._step(state, path[cut + 1 :])
        return None if number is None else self._values[number]

    def unmatched_prefix(self, path: bytes) -> bytes:
        """Return the directory of `path`, with a final "/", if no pattern matches in or below it; otherwise b"/"."""
        cut = path.rfind(b"/")
        parent = path[: max(cut, 0)]
        state = (self._states.get(parent) or self._enter(parent)) if parent else self._root
        return parent + b"/" if state is _DEAD and parent else b"/"

    def _enter(self, path: bytes) -> _State:
        """Compute the state of a directory from the states of its parents."""
        missing = []
        while path and path not in self._states:
            missing.append(path)
            path = path[: max(path.rfind(b"/"), 0)]
        state = self._states[path] if path else self._root
        if len(self._states) > _CACHED:
            self._states.clear()
        for path in reversed(missing):
            if state is not _DEAD:
                state = self._step(state, path[path.rfind(b"/") + 1 :])
            self._states[path] = state
        return state

    def _step(self, state: _State, name: bytes) -> _State:
        matched, before = state
        after: set[tuple[int, int]] = set()
        for number, at in before:
            component = self._patterns[number][at]
            if component is None:
                after.update(self._open(number, at))
            elif component == name if isinstance(component, bytes) else component.fullmatch(name):
                if at + 1 < len(self._patterns[number]):
                    after.update(self._open(number, at + 1))
                elif matched is None or number < matched:
                    matched = number
        return (matched, frozenset(after)) if after or matched is not None else _DEAD

    def _open(self, number: int, at: int) -> list[tuple[int, int]]:
        """Return a position, and the next one if this component also matches no directory at all."""
        positions = [(number, at)]
        if self._patterns[number][at] is None:
            positions += self._open(number, at + 1)
        return positions
