"""The tree that HCL and its JSON syntax are read into, and the escapes in their strings."""

import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|([$%])\4\{", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class Node(NamedTuple):
    """An expression with its span in the text."""

    kind: str
    """string, number, bool, null, template, heredoc, list, object, reference, access, call, conditional, for, any."""
    start: int
    end: int
    value: str = ""
    """For a literal its text without quotes and escapes; for a call the function's name; for a `for` its kind."""
    parts: tuple["Node", ...] = ()
    """For a template its pieces, for an object keys and values in turn, for a list its items, for a call its arguments.

    For a reference its names and indexes; for an access the value, then names and indexes; for a `for` collection,
    value, key and condition; else everything that is nested in it."""
    names: tuple[str, ...] = ()
    """The variables of a `for`."""


class Body(NamedTuple):
    """A file's or a block's attributes and blocks, in order."""

    items: tuple["Attribute | Block", ...]


class Attribute(NamedTuple):
    """NAME = VALUE."""

    name: str
    value: Node


class Block(NamedTuple):
    """A type with labels, and a body."""

    header: tuple[str, ...]
    body: Body


class HclSyntaxError(ValueError):
    """Text that is not HCL, and where."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position


def unescape(text: str) -> str:
    """Return what a quoted string without interpolations holds (spec.md, "Template Literals")."""
    return _ESCAPE.sub(_unescaped, text) if "\\" in text or "{" in text else text


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or "110000", 16)
    if code < 0x110000:
        return chr(code)
    return match[4] + "{" if match[4] else _ESCAPES.get(match[3], match[0])


def unescape_text(text: str) -> str:
    """Return a piece of a heredoc or of a JSON string: only "$${" and "%%{" are escapes there."""
    return text.replace("$${", "${").replace("%%{", "%{") if "{" in text else text
