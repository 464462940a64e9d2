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

_ANY_FOLDERS = "(?:[^/]+/)*"


def _component(text: str) -> str:
    """Translate one component of a pattern to a regular expression."""
    out, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char in "*?":
            out += "[^/]" + char.replace("?", "")
        elif char == "[":
            end = text.find("]", at + 1)
            if end < 0:
                raise UsageError(f"pattern component {text!r}: the class opened by '[' is never closed")
            inside = text[at:end].replace("\\", "\\\\")
            out += f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            at = end + 1
        else:
            out += re.escape(char)
    return out


def _alternatives(pattern: str) -> list[str]:
    """Expand every {a,b} of a pattern."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [full for choice in match[1].split(",") for full in _alternatives(head + choice + tail)]


def _translate(pattern: str) -> tuple[bytes | None, str]:
    """Return the first component where it is literal, and the regular expression of the whole pattern.

    Raises UsageError for a pattern that is no path below the root. Patterns are UTF-8 and match bytes: the expression
    is written in latin-1, one character for one byte.
    """
    parts = pattern.encode().decode("latin-1").strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or parts[-1] == "**":
        raise UsageError(
            f"pattern {pattern!r} is no path below the root filesystem",
            hint="write a path such as etc/foo/*.log, without '.', '..', '//' or a closing '**'",
        )
    first = parts[0].encode("latin-1") if not set(parts[0]) & set("*?[") else None
    expression = "".join(_ANY_FOLDERS if part == "**" else _component(part) + "/" for part in parts)
    return first, expression.removesuffix("/") + "(?:/|$)"


class Matcher(Generic[Value]):
    """Many patterns, each with a value; where several cover one path, the first in the mapping's order wins."""

    def __init__(self, patterns: Mapping[str, Value]) -> None:
        rows = [(*_translate(full), value) for pattern, value in patterns.items() for full in _alternatives(pattern)]
        firsts = {first for first, _, _ in rows if first is not None}
        # Grouped by first component: most paths are ruled out by one look-up, the rest meet a short expression.
        self._groups = {first: _compile([row for row in rows if row[0] in (first, None)]) for first in firsts}
        self._others = _compile([row for row in rows if row[0] is None])

    def find(self, path: bytes) -> Value | None:
        """Return the value of the first pattern that covers `path` (b"etc/passwd"), or None."""
        cut = path.find(b"/")
        group = self._groups.get(path if cut < 0 else path[:cut], self._others)
        if group is None:
            return None
        found = group[0].match(path)
        return group[1][found.lastindex or 0] if found else None


def _compile(rows: list[tuple[bytes | None, str, Value]]) -> tuple[re.Pattern[bytes], list[Value]] | None:
    """Join expressions so that the number of the group that matched tells the row."""
    if not rows:
        return None
    joined = "|".join(f"{expression}()" for _, expression, _ in rows)
    return re.compile(joined.encode("latin-1"), re.DOTALL), [rows[0][2], *(value for _, _, value in rows)]
