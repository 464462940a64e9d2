"""A literal in a configuration as a reference: its address, its value, and the value of another template for it."""

import re
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import PinError
from lxcast.identifiers import suffix_of
from lxcast.references.files import read_file
from lxcast.references.hcl import Document, brief, parse
from lxcast.references.pin_file import Pin
from lxcast.references.reference import Move
from lxcast.references.rewriting import edit
from lxcast.references.search import find_origins
from lxcast.references.slots import Slot

FIELDS = ("template_id", "version", "file", "sha256", "diff_id", "size", "ostype", "arch")
"""The keys of a record whose value a literal may hold."""

_DIGESTS = ("sha256", "diff_id")
_PATTERNS = {"v?[0-9]{1,9}": "version", "[0-9a-f]{64}": "sha256", "sha256:[0-9a-f]{64}": "diff_id"}


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal in a configuration: a Reference whose value is the literal with its place.

    `field` is the record's key whose value it holds, "" for the kind of value that it has; `digest` is sha256 or
    diff_id if it is known which of the two digests it holds.
    """

    path: Path
    address: str
    field: str = ""
    digest: str = ""

    def read(self) -> Slot:
        """Return the literal; PinError lists candidates if the address is missing, ambiguous or computed."""
        try:
            return find_literal(parse(read_file(self.path), self.path), self.address)
        except OSError as error:
            raise PinError(f"{self.path}: {error.strerror}", hint="name an HCL file") from error

    def move(self, expected: Slot, pin: Pin, *, write: bool = True) -> Move:
        """Write the pin's value of the literal's kind; see `Reference.move`."""
        return self.write(expected, self.value_of(expected, pin), write=write)

    def write(self, expected: Slot | None, value: str, *, write: bool = True) -> Move:
        """Replace the literal's value; `expected` None for any."""

        def make(data: bytes) -> bytes:
            document = parse(data, self.path)
            slot = find_literal(document, self.address)
            if expected is not None and slot.text != expected.text:
                raise PinError(
                    f"{self.path}:{slot.line}: {self.address} was changed by another program",
                    hint="review it, then try again",
                )
            return document.replace(slot, value).encode()

        change = edit(self.path, make, write=write)
        old = parse(change.before, self.path).find(self.address)
        return Move(change, old.address, old.value, value)

    def value_of(self, slot: Slot, pin: Pin) -> str:
        """Return the value of a template that replaces the literal; PinError if its kind is unknown."""
        kind = self.field or kind_of(slot)
        if not kind:
            raise PinError(
                f"{self.place(slot)}: {slot.value!r} is not a version, volid, file name or digest of a template",
                hint=f"name the value to write: --field {'|'.join(FIELDS)}",
            )
        if not self.field and kind in _DIGESTS:
            prefix = "sha256:" if slot.value.startswith("sha256:") else ""
            return prefix + str(getattr(pin, self.digest or kind)).removeprefix("sha256:")
        value = str(getattr(pin, kind))
        if not value:
            raise PinError(f"{pin.file} has no {kind}, which {self.place(slot)} needs", hint="use another --field")
        return value.removeprefix("v") if slot.value.isdigit() and kind == "version" else value

    def place(self, slot: Slot) -> str:
        """Return where the literal is, for messages."""
        return f"{self.path}:{slot.line}: {slot.address}"


def find_literal(document: Document, address: str) -> Slot:
    """Return the literal at an address; PinError for anything else, with the literals that it is built from."""
    slot = document.find(address)
    if slot.is_literal and "\n" not in slot.text:
        return slot
    where = f"{document.path}:{slot.line}:{slot.column}: {slot.address}"
    origins = [
        f"  {path}:{each.line}: {each.address} = {brief(each.text)}" for path, each in find_origins(document, slot)
    ]
    raise PinError(
        f"{where} is {_KINDS.get(slot.kind, 'a string of several lines')}: {brief(slot.text)}",
        hint="it is built from these, change one of them instead:\n" + "\n".join(origins)
        if origins
        else "only a literal (a quoted string, a number, true or false) can be changed; write one there by hand",
    )


_KINDS = {
    "template": "a template string, which Terraform fills in",
    "heredoc": "a heredoc",
    "expression": "an expression, which Terraform computes",
    "null": "null, which has no type",
    "list": "an empty list",
    "object": "an empty object",
}


def kind_of(slot: Slot) -> str:
    """Return the record's key whose kind of value a literal has: version, volid, file name or digest; "" for none."""
    if suffix_of(slot.value.rpartition(":vztmpl/")[2]):
        return "template_id" if ":vztmpl/" in slot.value else "file"
    kind = next((field for pattern, field in _PATTERNS.items() if re.fullmatch(pattern, slot.value, re.ASCII)), "")
    if kind == "version" and slot.value.isdigit() and "version" not in slot.address:
        return ""  # as likely a size or a count
    return kind
