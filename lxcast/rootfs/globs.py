"""Anchored path patterns, many of them compiled into one matcher that looks at a path once.

A pattern is relative to the root filesystem. `?` and `*` stay within one component, `[...]` is a class of characters,
`**/` stands for any number of folders, and `{a,b}` for either. A pattern covers the path that it names and all that
lies below it.
"""

import re
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Generic, TypeVar

from lxcast.errors import UsageError

Value = TypeVar("Value")

_ANY_FOLDERS = "(?:[^/]+/)*"


def _component(text: str) -> str:
    """Translate one component of a pattern, or a choice in braces of one, to a regular expression."""
    choice = re.search(r"\{([^{}]*)\}", text)
    if choice:
        inside = "|".join(map(_component, choice[1].split(",")))
        return f"{_component(text[: choice.start()])}(?:{inside}){_component(text[choice.end() :])}"
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
    """Expand the {a,b} of a pattern that stand in its first component, which is looked up, or hold a "/"."""
    for match in re.finditer(r"\{([^{}]*)\}", pattern):
        head, tail = pattern[: match.start()], pattern[match.end() :]
        if "/" in match[1] or "/" not in head:
            return [full for choice in match[1].split(",") for full in _alternatives(head + choice + tail)]
    return [pattern]


def _translate(pattern: str) -> tuple[bytes, str]:
    """Return the leading literal components, at most two of them (b"var/lib"), and the whole pattern's expression.

    Raises UsageError for a pattern that is no path below the root. Patterns are UTF-8 and match bytes: the expression
    is written in latin-1, one character for one byte.
    """
    parts = pattern.encode().decode("latin-1").strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or parts[-1] == "**":
        raise UsageError(
            f"pattern {pattern!r} is no path below the root filesystem",
            hint="write a path such as etc/foo/*.log, without '.', '..', '//' or a closing '**'",
        )
    literal = list(takewhile(lambda part: not set(part) & set("*?[{"), parts[:2]))
    expression = "".join(_ANY_FOLDERS if part == "**" else _component(part) + "/" for part in parts)
    return "/".join(literal).encode("latin-1"), expression.removesuffix("/") + "(?:/|$)"


class Matcher(Generic[Value]):
    """Many patterns, each with a value; where several cover one path, the first in the mapping's order wins."""

    def __init__(self, patterns: Mapping[str, Value]) -> None:
        rows = [(*_translate(full), value) for pattern, value in patterns.items() for full in _alternatives(pattern)]
        # Grouped by the first two components: most paths are ruled out by a look-up, the rest meet a short expression.
        groups = {head: _compile([row for row in rows if _meets(row[0], head)]) for head, _, _ in rows}
        self._others = groups.pop(b"", None)
        tops = {head.partition(b"/")[0] for head in groups}
        self._tops = {top: (groups, groups.get(top, self._others)) for top in tops}

    def find(self, path: bytes) -> Value | None:
        """Return the value of the first pattern that covers `path` (b"etc/passwd"), or None.

        This runs for every member: the look-ups are written out.
        """
        cut = path.find(b"/")
        top = self._tops.get(path if cut < 0 else path[:cut])
        if top is None:
            group = self._others
        else:
            groups, rest = top
            second = path.find(b"/", cut + 1)
            group = groups.get(path if second < 0 else path[:second], rest)
        if group is None:
            return None
        match, values = group
        found = match(path)
        return values[found.lastindex or 0] if found else None


def _meets(head: bytes, other: bytes) -> bool:
    """Say whether a pattern that begins with `head` may cover a path of the group `other`."""
    return other == head or not head or other.startswith(head + b"/")


def _compile(
    rows: list[tuple[bytes, str, Value]],
) -> tuple[Callable[[bytes], re.Match[bytes] | None], list[Value]] | None:
    """Join expressions so that the number of the group that matched tells the row."""
    if not rows:
        return None
    joined = "|".join(f"{expression}()" for _, expression, _ in rows)
    return re.compile(joined.encode("latin-1"), re.DOTALL).match, [rows[0][2], *(value for _, _, value in rows)]
