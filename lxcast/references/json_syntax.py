"""JSON as the same tree as HCL: Terraform's JSON syntax, and the JSON files of variables."""

import re
from json.decoder import scanstring  # type: ignore[attr-defined]

from lxcast.references.nodes import HclSyntaxError, Node
from lxcast.references.syntax import parse_template

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"true|false|null|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DEEPEST = 200


def parse_json(text: str, *, has_templates: bool = False) -> Node:
    """Parse a JSON text; HclSyntaxError says where it is invalid, or nested too deeply.

    With `has_templates` strings may hold interpolations, as Terraform evaluates them in *.tf.json.
    """
    node, end = _Reader(text, has_templates).value(_skip(text, 0), 0)
    if _skip(text, end) < len(text):
        raise HclSyntaxError(end, "expected the end of the file")
    return node


class _Reader:
    def __init__(self, text: str, has_templates: bool) -> None:
        self.text = text
        self.has_templates = has_templates

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        """Return the value at a position, and where it ends."""
        if depth > _DEEPEST:
            raise HclSyntaxError(at, "nested too deeply")
        text = self.text
        character = text[at : at + 1]
        if character == '"':
            return self._string(at)
        if character == "{":
            return self._object(at, depth)
        if character == "[":
            return self._list(at, depth)
        match = _SCALAR.match(text, at)
        if match is None:
            raise HclSyntaxError(at, f"expected a value, got {character or 'the end of the file'}")
        kind = {"t": "bool", "f": "bool", "n": "null"}.get(character, "number")
        return Node(kind, at, match.end(), match[0]), match.end()

    def _string(self, at: int) -> tuple[Node, int]:
        value, end = self._text(at)
        if self.has_templates and ("${" in value or "%{" in value):
            try:
                node = parse_template(value)
            except HclSyntaxError as error:
                raise HclSyntaxError(at, f"in a template: {error}") from error
            return Node(node.kind, at, end, node.value, node.parts), end
        return Node("string", at, end, value), end

    def _text(self, at: int) -> tuple[str, int]:
        try:
            value, end = scanstring(self.text, at + 1, True)
        except ValueError as error:
            raise HclSyntaxError(at, f"invalid string: {error}") from error
        return value, end

    def _object(self, at: int, depth: int) -> tuple[Node, int]:
        start, text, parts = at, self.text, list[Node]()
        at = _skip(text, at + 1)
        while not text.startswith("}", at):
            if not text.startswith('"', at):
                raise HclSyntaxError(at, "expected a key in double quotes")
            key, end = self._text(at)
            colon = _skip(text, end)
            if not text.startswith(":", colon):
                raise HclSyntaxError(colon, 'expected ":"')
            value, after = self.value(_skip(text, colon + 1), depth + 1)
            parts += (Node("string", at, end, key), value)
            at = self._separator(after, "}")
        return Node("object", start, at + 1, parts=tuple(parts)), at + 1

    def _list(self, at: int, depth: int) -> tuple[Node, int]:
        start, text, items = at, self.text, list[Node]()
        at = _skip(text, at + 1)
        while not text.startswith("]", at):
            item, after = self.value(at, depth + 1)
            items.append(item)
            at = self._separator(after, "]")
        return Node("list", start, at + 1, parts=tuple(items)), at + 1

    def _separator(self, at: int, closing: str) -> int:
        """Return where the next member starts, or where the closing bracket is."""
        at = _skip(self.text, at)
        if self.text.startswith(closing, at):
            return at
        if not self.text.startswith(",", at):
            raise HclSyntaxError(at, f'expected "," or "{closing}"')
        at = _skip(self.text, at + 1)
        if self.text.startswith(closing, at):
            raise HclSyntaxError(at, "expected another member")
        return at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
