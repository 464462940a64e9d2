"""The values in a parse tree of python-hcl2, each with its address and its place in the text."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lxcast.references.address import Nth, Step, show_address

Part = str | tuple[str, ...] | None
"""Of a template string: its text, a reference, or an expression that is more than a reference."""

_WRITABLE = ("string", "number", "bool")
NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_REFERENCE = r"\b(?:local|var|data|module)(?:\.[A-Za-z_][\w-]*)+"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that an address names: a literal, or what stands in the place of one."""

    path: tuple[Step, ...]
    kind: str
    """string, number, bool, null, heredoc, template, list, object (the last two empty), or expression."""
    text: str
    """As the file has it."""
    start: int
    """In characters from the start of the file."""
    line: int
    column: int
    value: str = ""
    """Of a literal, without quotes and escapes."""
    parts: tuple[Part, ...] = ()
    """Of a template string; of another expression the references in it."""

    @property
    def address(self) -> str:
        """As it is written in commands."""
        return show_address(self.path)

    @property
    def is_literal(self) -> bool:
        """Whether it can be replaced by another literal."""
        return self.kind in _WRITABLE

    @property
    def references(self) -> tuple[tuple[str, ...], ...]:
        """What it is built from."""
        return tuple(part for part in self.parts if isinstance(part, tuple))


def body_slots(tree: Any, path: tuple[Step, ...], text: str) -> Iterator[Slot]:
    """Yield the values of a body, of its attributes and blocks."""
    blocks = [child for child in tree.children if child.data == "block"]
    count = Counter(map(_header, blocks))
    number: Counter[tuple[str, ...]] = Counter()
    for child in tree.children:
        if child.data == "attribute":
            yield from _value(child.children[-1], (*path, str(child.children[0].children[0])), text)
        elif child.data == "block":
            header = _header(child)
            inner = next(each for each in child.children if getattr(each, "data", "") == "body")
            steps: tuple[Step, ...] = (*header, Nth(number[header], count[header] > 1))
            number[header] += 1
            if not path and header == ("locals",):
                steps = ("local",)
            slots = body_slots(inner, (*path, *steps), text)
            if not path and header[0] == "local" and len(header) == 2:
                # Packer's block for one local, whose value is `expression`, is referred to as local.NAME.
                slots = (_without_expression(slot) for slot in slots)
            yield from slots


def _without_expression(slot: Slot) -> Slot:
    return replace(slot, path=(*slot.path[:2], *slot.path[4:])) if slot.path[3:4] == ("expression",) else slot


def _header(block: Any) -> tuple[str, ...]:
    """Return a block's type and labels."""
    words = [each for each in block.children if getattr(each, "data", "") in _WORDS]
    return tuple(unquote(_source(word)) if word.data == "string" else str(word.children[0]) for word in words)


_WORDS = ("identifier", "keyword", "literal_value", "string")


def _source(tree: Any) -> str:
    return "".join(map(str, tree.scan_values(lambda _: True)))


def _value(tree: Any, path: tuple[Step, ...], text: str) -> Iterator[Slot]:
    """Yield the values of an expression: its own, or those of the list or object that it is."""
    inner = _unwrap(tree)
    if inner.data == "object" and (elements := [each for each in inner.children if _is(each, "object_elem")]):
        for element in elements:
            key = _key(element.children[0])
            if key is not None:
                yield from _value(element.children[-1], (*path, key), text)
    elif inner.data == "tuple" and (items := [each for each in inner.children if _is_expression(each)]):
        for index, item in enumerate(items):
            yield from _value(item, (*path, index), text)
    else:
        yield _slot(inner, path, text)


def _slot(tree: Any, path: tuple[Step, ...], text: str) -> Slot:
    meta = tree.meta
    source = text[meta.start_pos : meta.end_pos]
    kind, value, parts = _KINDS.get(tree.data, "expression"), source, tuple[Part, ...]()
    if kind == "string":
        pieces = [each.children[0] for each in tree.children if _is(each, "string_part")]
        parts = tuple(_piece(each) for each in pieces)
        if all(isinstance(part, str) for part in parts):
            value, parts = unquote(source), ()
        else:
            kind = "template"
    elif source in ("true", "false"):
        kind = "bool"
    elif re.fullmatch(NUMBER, source, re.ASCII):
        kind = "number"
    elif kind == "heredoc":
        parts = tuple(tuple(match.split(".")) for match in re.findall(_REFERENCE, source))
    elif kind == "expression":
        parts = tuple(_references(tree))
    return Slot(path, kind, source, meta.start_pos, meta.line, meta.column, value, parts)


_KINDS = {
    "string": "string",
    "literal_value": "null",
    "heredoc_template": "heredoc",
    "heredoc_template_trim": "heredoc",
    "object": "object",
    "tuple": "list",
}


def _is(tree: Any, name: str) -> bool:
    return bool(getattr(tree, "data", "") == name)


def _is_expression(tree: Any) -> bool:
    return hasattr(tree, "data") and tree.data != "new_line_or_comment"


def _unwrap(tree: Any) -> Any:
    """Return what an expression is without the terms and parentheses around it."""
    while tree.data == "expr_term":
        tree = next(each for each in tree.children if _is_expression(each))
    return tree


def _key(tree: Any) -> str | None:
    """Return the key of an object's element, None where it is computed."""
    key = tree.children[0]
    if key.data == "expr_term" and len(key.children) == 1:
        key = key.children[0]
    if key.data == "string":
        pieces = [_piece(each.children[0]) for each in key.children if _is(each, "string_part")]
        return unquote(_source(key)) if all(isinstance(each, str) for each in pieces) else None
    return str(key.children[0]) if key.data in ("identifier", "keyword", "literal_value", "int_lit") else None


def _piece(tree: Any) -> Part:
    """Return one part of a quoted text."""
    if not hasattr(tree, "data"):
        return unescape(str(tree))
    return _chain(tree.children[1]) if tree.data == "interpolation" else None


def _chain(tree: Any) -> tuple[str, ...] | None:
    """Return a reference such as local.a.b as its names, None for any other expression."""
    tree = _unwrap(tree)
    if tree.data == "identifier":
        return (str(tree.children[0]),)
    if tree.data == "get_attr_expr_term":
        base = _chain(tree.children[0])
        return (*base, _source(tree.children[1]).lstrip(".")) if base else None
    if tree.data == "index_expr_term" and (base := _chain(tree.children[0])):
        index = _source(tree.children[1]).strip("[]. \t")
        return (*base, unquote(index)) if index.startswith('"') else (*base, index)
    return None


def _references(tree: Any) -> Iterator[tuple[str, ...]]:
    """Yield every reference in an expression."""
    if not hasattr(tree, "data"):
        return
    chain = _chain(tree) if tree.data in ("get_attr_expr_term", "index_expr_term") else None
    if chain:
        yield chain
    else:
        for child in tree.children:
            yield from _references(child)


def quote(value: str) -> str:
    """Print a text without control characters and templates as a literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(source: str) -> str:
    """Return what a quoted literal says."""
    return unescape(source[1:-1])


def unescape(text: str) -> str:
    """Return what a quoted text without templates says (HCL native syntax, "Template Literals")."""
    return re.sub(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|([$%])\4\{", _unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or "110000", 16)
    if code < 0x110000:
        return chr(code)
    return match[4] + "{" if match[4] else _ESCAPES.get(match[3], match[0])
