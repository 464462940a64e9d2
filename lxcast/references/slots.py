"""The values of a configuration, each with its address and its place in the text."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lxcast.references.address import Nth, Step, show_address
from lxcast.references.nodes import Attribute, Block, Body, Node

_LITERALS = ("string", "number", "bool")
_KINDS = {*_LITERALS, "null", "template", "heredoc", "list", "object"}
LABELS = {
    **dict.fromkeys(("resource", "data", "ephemeral", "source"), 2),
    **dict.fromkeys(("locals", "terraform", "moved", "import", "removed", "build", "packer", "variables"), 0),
}
"""How many labels a block of Terraform's JSON syntax has; one if it is not listed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that an address names: a literal, or an expression instead of one."""

    path: tuple[Step, ...]
    kind: str
    """string, number, bool, null, heredoc, template, list, object (the last two empty), or expression."""
    text: str
    """As the file has it."""
    start: int
    """In characters from the start of the file."""
    line: int
    column: int
    node: Node

    @property
    def value(self) -> str:
        """The text of a literal without quotes and escapes."""
        return self.node.value

    @property
    def address(self) -> str:
        """As it is written in commands."""
        return show_address(self.path)

    @property
    def is_literal(self) -> bool:
        """Whether it can be replaced by another literal."""
        return self.kind in _LITERALS


def reference_nodes(node: Node) -> Iterator[Node]:
    """Yield the references in an expression."""
    if node.kind == "reference":
        yield node
    for part in node.parts:
        yield from reference_nodes(part)


Place = tuple[tuple[Step, ...], Node]


def body_places(body: Body, path: tuple[Step, ...] = ()) -> Iterator[Place]:
    """Yield the path and the expression of each value of a body, of its attributes and blocks."""
    count = Counter(item.header for item in body.items if isinstance(item, Block))
    number: Counter[tuple[str, ...]] = Counter()
    for item in body.items:
        if isinstance(item, Attribute):
            yield from value_places(item.value, (*path, item.name))
            continue
        header = item.header
        steps: tuple[Step, ...] = (*header, Nth(number[header], count[header] > 1))
        number[header] += 1
        if not path and header == ("locals",):
            steps = ("local",)
        places: Iterable[Place] = body_places(item.body, (*path, *steps))
        if not path and header[0] == "local" and len(header) == 2:
            # Packer's block for one local, whose value is `expression`, is referred to as local.NAME.
            places = ((_without_expression(inner), node) for inner, node in places)
        yield from places


def _without_expression(path: tuple[Step, ...]) -> tuple[Step, ...]:
    return (*path[:2], *path[4:]) if path[3:4] == ("expression",) else path


def value_places(node: Node, path: tuple[Step, ...]) -> Iterator[Place]:
    """Yield the places of an expression: its own, or those of the list or object that it is."""
    if node.kind == "object" and node.parts:
        for key, value in zip(node.parts[::2], node.parts[1::2], strict=True):
            if key.kind == "string":
                yield from value_places(value, (*path, key.value))
    elif node.kind == "list" and node.parts:
        for index, item in enumerate(node.parts):
            yield from value_places(item, (*path, index))
    else:
        yield path, node


def json_body(node: Node) -> Body:
    """Return the blocks of Terraform's JSON syntax as they would be in HCL."""
    items: list[Attribute | Block] = []
    for name, value in _members(node):
        for header, body in _labelled((name,), value, LABELS.get(name, 1)):
            items.append(Block(header, body))
    return Body(tuple(items))


def _labelled(header: tuple[str, ...], node: Node, labels: int) -> Iterator[tuple[tuple[str, ...], Body]]:
    if labels:
        for name, value in _members(node):
            yield from _labelled((*header, name), value, labels - 1)
    else:
        bodies = node.parts if node.kind == "list" else (node,)
        yield from ((header, Body(tuple(Attribute(name, value) for name, value in _members(each)))) for each in bodies)


def _members(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the members of an object, or of each object in a list."""
    if node.kind == "list":
        for item in node.parts:
            yield from _members(item)
    elif node.kind == "object":
        pairs = zip(node.parts[::2], node.parts[1::2], strict=True)
        yield from ((key.value, value) for key, value in pairs if key.value != "//")


def make_slot(place: Place, text: str, line: int, column: int) -> Slot:
    """Return a place with its text."""
    path, node = place
    kind = node.kind if node.kind in _KINDS else "expression"
    return Slot(path, kind, text[node.start : node.end], node.start, line, column, node)


def quote(value: str) -> str:
    """Return a string without control characters and interpolations as a literal of HCL."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
