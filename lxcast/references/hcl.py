"""Configurations, in HCL and in JSON, and one literal in them replaced with no other byte changed.

A replacement is spliced into the text at the literal's own span and proven by reading the new text: every other value
must be what and where it was. If python-hcl2 reads the file, it must read the result with the same tokens as well. It
only proves: its writer drops comments and reformats the text (loads and dumps of 8.1.4), and its grammar lacks
some of what Terraform accepts.
"""

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from json import dumps
from pathlib import Path

from lxcast.errors import PinError
from lxcast.references.address import below, parse_address
from lxcast.references.grammar import tokens
from lxcast.references.json_syntax import parse_json
from lxcast.references.nodes import Body, HclSyntaxError, Node
from lxcast.references.slots import Place, Slot, body_places, json_body, make_slot, quote, value_places
from lxcast.references.syntax import NUMBER, parse_body

CONFIGURATIONS = (".tf", ".tofu", ".tf.json", ".tofu.json")
PACKER = (".pkr.hcl", ".pkr.json")
VALUES = (".tfvars", ".tfvars.json", ".pkrvars.hcl", ".pkrvars.json")
"""Ends of the names of files that set variables."""
_MANY = 10
_LONGEST = 80
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Document:
    """A parsed file; `path` is for messages alone."""

    path: Path
    text: str
    body: Body | None
    """None for a JSON file that sets variables."""
    values: Node | None
    """The object that such a file is."""
    prefix: bytes = b""
    """A byte order mark, which is kept."""

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every value that an address can name, in the order of the file."""
        return tuple(self.slot(place) for place in self._places())

    @property
    def is_json(self) -> bool:
        """Whether the file is JSON."""
        return self.path.name.endswith(".json")

    def _places(self) -> Iterator[Place]:
        if self.values is not None:
            return value_places(self.values, ())
        assert self.body is not None
        return body_places(self.body)

    def slot(self, place: Place) -> Slot:
        """Return a place with its text, line and column."""
        line, column = self.position(place[1].start)
        return make_slot(place, self.text, line, column)

    def position(self, at: int) -> tuple[int, int]:
        """Return line and column of a character, both from 1."""
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return self.prefix + self.text.encode()

    def find(self, address: str) -> Slot:
        """Return the one value at an address; PinError lists the candidates if there is not exactly one."""
        for names in self._meanings(parse_address(address)):
            found = [slot for slot in self.slots if below(slot.path, names) == ()]
            if len(found) == 1:
                return found[0]
            if found:
                raise PinError(
                    f"{self.path}: {address} is ambiguous: {len(found)} values have that address",
                    hint="name one of them:\n" + self.show(found)
                    if len({slot.address for slot in found}) > 1
                    else "it is set more than once, which Terraform refuses:\n" + self.show(found),
                )
        raise self._not_found(address)

    def _meanings(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Yield the paths that an address may stand for: its own, or that of the value a reference reads."""
        yield names
        if names[0] == "var" and len(names) > 1:
            yield names[1:] if self.path.name.endswith(VALUES) else ("variable", names[1], "default", *names[2:])
        yield ("resource", *names)

    def _not_found(self, address: str) -> PinError:
        for names in self._meanings(parse_address(address)):
            inner = [slot for slot in self.slots if below(slot.path, names) is not None]
            if inner:
                return PinError(
                    f"{self.path}: {address} holds {len(inner)} value{'s' if len(inner) > 1 else ''}, name one of them",
                    hint=self.show(inner),
                )
        near = difflib.get_close_matches(address, list({slot.address for slot in self.slots[:2000]}), n=5, cutoff=0.5)
        close = [slot for slot in self.slots if slot.address in near] or self.slots
        return PinError(
            f"{self.path}: no value at {address}",
            hint="the file has:\n" + self.show(close) if close else "the file has no values",
        )

    def show(self, slots: Sequence[Slot]) -> str:
        """List values for people, the first ten of them."""
        lines = [f"  {self.path}:{slot.line}: {slot.address} = {brief(slot.text)}" for slot in slots[:_MANY]]
        return "\n".join([*lines, *([f"  and {len(slots) - _MANY} more"] if len(slots) > _MANY else [])])

    def replace(self, slot: Slot, value: str) -> "Document":
        """Return the file with another value in place of a literal, of the literal's own type.

        Raises PinError if the value has another type, and if reading the result does not prove the change.
        """
        where = f"{self.path}:{slot.line}: {slot.address}"
        is_invalid = {
            "string": any(ord(each) < 32 or ord(each) == 127 or 0xD800 <= ord(each) < 0xE000 for each in value)
            or bool(re.search(r"[$%]\{", value)),
            "number": not re.fullmatch(NUMBER, value, re.ASCII),
            "bool": value not in ("true", "false"),
        }[slot.kind]
        if is_invalid:
            expected = {"string": "a string without control characters, ${ and %{"}.get(slot.kind, f"a {slot.kind}")
            raise PinError(
                f"{where} is {brief(slot.text)}: expected {expected}, got {brief(repr(value))}",
                hint=f"give a {slot.kind}",
            )
        literal = value if slot.kind != "string" else dumps(value, ensure_ascii=False) if self.is_json else quote(value)
        end = slot.start + len(slot.text)
        text = self.text[: slot.start] + literal + self.text[end:]
        changed = parse_text(text, self.path, self.prefix)
        shift = len(literal) - len(slot.text)
        written = [each for each in changed.slots if each.start == slot.start and each.path == slot.path]
        if [each.value for each in written] != [value] or not self._keeps_others(changed, slot, shift):
            raise PinError(
                f"{where}: the result with {literal} could not be verified",
                hint="nothing was changed: edit it by hand, and report it to the project",
            )
        return changed

    def _keeps_others(self, changed: "Document", slot: Slot, shift: int) -> bool:
        """Whether all other values, and all tokens that python-hcl2 reads, are what and where they were."""

        def others(document: "Document", shift: int) -> list[object]:
            return [
                (each.path, each.text, each.start - (shift if each.start > slot.start else 0))
                for each in document.slots
                if each.start != slot.start
            ]

        if others(self, 0) != others(changed, shift):
            return False
        span = (slot.start, slot.start + len(slot.text))
        before = None if self.is_json else tokens(self.text, span)
        return before is None or before == tokens(changed.text, (slot.start, span[1] + shift), shift)


def parse(data: bytes, path: Path) -> Document:
    """Parse a file's bytes; PinError with line and column if they are not a configuration."""
    prefix = _BOM if data.startswith(_BOM) else b""
    try:
        return parse_text(data[len(prefix) :].decode(), path, prefix)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise PinError(f"{path}:{line}:{column}: the file is not UTF-8", hint="save it as UTF-8") from error


def parse_text(text: str, path: Path, prefix: bytes = b"") -> Document:
    """Parse a text, as JSON if the file's name ends so; PinError with line and column if it is invalid."""
    try:
        if not path.name.endswith(".json"):
            return Document(path, text, parse_body(text), None, prefix)
        if path.name.endswith(VALUES):
            return Document(path, text, None, parse_json(text), prefix)
        return Document(path, text, json_body(parse_json(text, has_templates=True)), None, prefix)
    except HclSyntaxError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        hint = "`terraform fmt` shows whether Terraform accepts it"
        raise PinError(f"{path}:{line}:{column}: {error}", hint=hint) from error


def brief(text: str) -> str:
    """Return the first line of a text, cut for a message."""
    line = text.strip().partition("\n")[0].rstrip("\r")
    return line if line == text.strip() and len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
