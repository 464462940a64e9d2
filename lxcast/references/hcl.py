"""HCL files, and one literal in them replaced with no other byte changed.

python-hcl2 only parses here. Its writer is not used: it drops comments and lays the text out anew, and it rewrites
some escapes (loads and dumps of 8.1.4). A replacement is spliced into the text at the literal's own span, and proven
by parsing the new text: every token outside of the span must be what and where it was.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lxcast.errors import PinError
from lxcast.references.address import below, parse_address
from lxcast.references.resolve import find_origins
from lxcast.references.slots import NUMBER, Slot, body_slots, quote

_MANY = 10


@dataclass(frozen=True)
class Document:
    """A parsed file; `path` is for messages alone."""

    path: Path
    text: str
    tree: Any

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every value that an address can name, in the order of the file."""
        return tuple(body_slots(self.tree.children[0], (), self.text))

    def find(self, address: str) -> Slot:
        """Return the one value of an address; PinError lists the candidates where there is none or more than one."""
        names = parse_address(address)
        found = [slot for slot in self.slots if below(slot.path, names) == ()]
        if len(found) == 1:
            return found[0]
        if found:
            raise PinError(
                f"{self.path}: {address} is ambiguous: {len(found)} values have that address",
                hint="one of these is meant:\n" + self.show(found)
                if len({slot.address for slot in found}) > 1
                else "it is set more than once, which Terraform refuses:\n" + self.show(found),
            )
        inner = [slot for slot in self.slots if below(slot.path, names) is not None]
        if inner:
            raise PinError(
                f"{self.path}: {address} holds {len(inner)} value{'s' if len(inner) > 1 else ''}, name one of them",
                hint=self.show(inner),
            )
        near = difflib.get_close_matches(address, {slot.address for slot in self.slots}, n=5, cutoff=0.5)
        close = [slot for slot in self.slots if slot.address in near] or self.slots
        raise PinError(
            f"{self.path}: there is no value at {address}",
            hint="there are:\n" + self.show(close) if close else "the file holds no values",
        )

    def show(self, slots: Sequence[Slot]) -> str:
        """List values for people, the first ten of them."""
        lines = [f"  {self.path}:{slot.line}: {slot.address} = {_brief(slot.text)}" for slot in slots[:_MANY]]
        return "\n".join([*lines, *([f"  and {len(slots) - _MANY} more"] if len(slots) > _MANY else [])])

    def literal(self, address: str) -> Slot:
        """Return the literal at an address; PinError for anything else, naming the literals that it is built from."""
        slot = self.find(address)
        if slot.is_literal and "\n" not in slot.text:
            return slot
        where = f"{self.path}:{slot.line}:{slot.column}: {slot.address}"
        what = _REFUSED.get(slot.kind, "a text that goes over several lines")
        others = siblings(self.path) if slot.references else ()
        values = [(each.path, value) for each in (self, *others) for value in each.slots]
        origins = [
            f"  {path}:{each.line}: {each.address} = {_brief(each.text)}" for path, each in find_origins(values, slot)
        ]
        raise PinError(
            f"{where} is {what}: {_brief(slot.text)}",
            hint="it is built from these, change one of them instead:\n" + "\n".join(origins)
            if origins
            else "only a literal (a plain quoted text, a number, true or false) is changed; write one there by hand",
        )

    def replace(self, slot: Slot, value: str) -> "Document":
        """Return the file with another value in the place of a literal, of the literal's own kind.

        Raises PinError where the value is of another kind, and where parsing the result does not prove the change.
        """
        literal = quote(value) if slot.kind == "string" else value
        wrong = {
            "string": any(ord(each) < 32 or ord(each) == 127 or 0xD800 <= ord(each) < 0xE000 for each in value)
            or bool(re.search(r"[$%]\{", value)),
            "number": not re.fullmatch(NUMBER, value, re.ASCII),
            "bool": value not in ("true", "false"),
        }[slot.kind]
        if wrong:
            wanted = {"string": "a plain text, without control characters, ${ and %{"}.get(slot.kind, f"a {slot.kind}")
            raise PinError(
                f"{self.path}:{slot.line}: {slot.address} is {slot.text}, and {value!r} is not {wanted}",
                hint="give a value of the kind that stands there",
            )
        end = slot.start + len(slot.text)
        changed = parse_text(self.text[: slot.start] + literal + self.text[end:], self.path)
        shift = len(literal) - len(slot.text)
        same = self.outside(slot.start, end) == changed.outside(slot.start, end + shift, shift)
        written = [each for each in changed.slots if each.start == slot.start and each.path == slot.path]
        if not same or [each.value for each in written] != [value]:
            raise PinError(
                f"{self.path}:{slot.line}: {slot.address}: the file with {literal} in it does not read as it should",
                hint="nothing was changed: edit it by hand, and report it to the project",
            )
        return changed

    def outside(self, start: int, end: int, shift: int = 0) -> list[tuple[str, str, int]]:
        """Return (type, text, place) of each token that does not lie in a span; those after it without the shift."""
        tokens = [token for token in self.tree.scan_values(lambda _: True) if token.start_pos is not None]
        before = [(token.type, str(token), token.start_pos) for token in tokens if token.end_pos <= start]
        after = [(token.type, str(token), token.start_pos - shift) for token in tokens if token.start_pos >= end]
        return before + after


_REFUSED = {
    "template": "a template string, which Terraform fills in",
    "heredoc": "a heredoc",
    "expression": "an expression, which Terraform computes",
    "null": "null, which does not tell what kind of value belongs there",
    "list": "an empty list",
    "object": "an empty object",
}


def parse(data: bytes, path: Path) -> Document:
    """Parse a file's bytes; PinError with line and column where they are no HCL that python-hcl2 reads."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise PinError(
            f"{path}:1:1: it starts with a byte order mark, which is no part of HCL as python-hcl2 reads it",
            hint=f"save it as UTF-8 without one: sed -i '1s/^\\xef\\xbb\\xbf//' {path}",
        )
    try:
        return parse_text(data.decode(), path)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise PinError(f"{path}:{line}:{column}: it is not UTF-8", hint="save it as UTF-8") from error


def parse_text(text: str, path: Path) -> Document:
    """Parse a text; PinError with line and column where it is no HCL that python-hcl2 reads."""
    import hcl2  # 60 ms
    from lark.exceptions import LarkError

    try:
        tree = hcl2.parses_to_tree(text)
    except LarkError as error:
        line, column = getattr(error, "line", -1), getattr(error, "column", -1)
        if line < 1:  # the text ended too early
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        rows = text.split("\n")
        row = rows[line - 1].strip() if line <= len(rows) else ""
        raise PinError(
            f"{path}:{line}:{column}: python-hcl2 cannot read it there: {_brief(row) or 'the file ends'}",
            hint="`terraform fmt` tells whether it is HCL; comments within an expression and names with letters beyond "
            "ASCII are HCL that python-hcl2 does not read",
        ) from error
    if _is_deeper(tree, _DEEPEST):
        raise PinError(
            f"{path}: its values are nested too deeply", hint="it is deeper than any configuration that people write"
        )
    return Document(path, text, tree)


_DEEPEST = 400
"""Levels of the parse tree, about four to one of the text's: below the interpreter's limit on recursion."""


def _is_deeper(tree: Any, limit: int) -> bool:
    level = [tree]
    for _ in range(limit):
        level = [child for each in level for child in getattr(each, "children", ())]
    return bool(level)


def siblings(path: Path) -> Iterator[Document]:
    """Read the other files of a configuration, with its variables' values; those that cannot be read are left out."""
    wanted = next((each for each in _CONFIGURATIONS if path.name.endswith(each)), ())
    for file in sorted(path.parent.iterdir()):
        if file.name != path.name and file.name.endswith(wanted) and file.is_file():
            try:
                yield parse(file.read_bytes(), file)
            except (PinError, OSError):
                continue


_CONFIGURATIONS = ((".tf", ".tfvars"), (".pkr.hcl", ".pkrvars.hcl"))
"""The endings of the files that one configuration is made of."""


def _brief(text: str) -> str:
    line = text.strip().partition("\n")[0].rstrip("\r")
    return line if line == text.strip() and len(line) <= 80 else f"{line[:77]}..."
