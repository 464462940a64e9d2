"""The pin file: a JSON file that Terraform or Packer loads by itself, with the one template in use for each name.

`lxc_templates` maps a template's name, or NAME/VARIANT, to its pin. Terraform loads *.auto.tfvars.json, Packer
*.auto.pkrvars.json, and *.tf.json is Terraform's own syntax as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxcast.errors import PinError, join_problems
from lxcast.hints import HINTS, PROCESS
from lxcast.model import IMAGE
from lxcast.references.entries import (
    ANY,
    HINT,
    KEYS,
    OPTIONAL,
    Entry,
    PinEntry,
    entries_of,
    entry_key,
    load,
    map_keys,
    problems_of,
    valid,
)
from lxcast.references.files import FilePath
from lxcast.references.reference import Move
from lxcast.references.rewriting import edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a consumer needs to know of one template; the keys are the record's."""

    template_id: str
    version: str
    sha256: str
    diff_id: str
    size: int
    ostype: str
    arch: str
    format: str = ""
    """The record's; "" in a pin of an older release."""
    variant: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """The record's hints that are needed to create a container."""
    previous: "Pin | None" = None
    """The pin before this one, without a previous pin of its own."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Pin":
        """Return the pin of a record's keys or of an entry; `previous` is not read."""
        hints = {key: value for key, value in values.get("hints", {}).items() if key in HINTS}
        # Proxmox starts the process of an image itself, and Terraform must know it to leave it as it is.
        if hints.get("init") != "app" and values.get("format") != IMAGE:
            hints = {key: value for key, value in hints.items() if key not in PROCESS}
        optional = {key: values.get(key, "") for key in OPTIONAL}
        return cls(**{key: values[key] for key in KEYS}, **optional, hints=hints)

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> "Pin":
        """Return the pin of a valid entry."""
        previous = entry.get("previous")
        return replace(cls.of(entry), previous=cls.of(previous) if previous else None)

    @property
    def file(self) -> str:
        """The template's file name."""
        return self.template_id.rpartition("/")[2]

    def same(self, other: "Pin") -> bool:
        """Whether both have the same values, whatever came before."""
        return replace(self, previous=None) == replace(other, previous=None)

    def as_entry(self) -> dict[str, Any]:
        """Return the keys as an entry holds them, without `previous`."""
        optional = [key for key in OPTIONAL if getattr(self, key)]
        return {key: getattr(self, key) for key in (*KEYS, *optional, "hints")}


def is_pin_file(path: Path) -> bool:
    """Whether a file has a pin file's name."""
    return path.name.endswith((".tfvars.json", ".pkrvars.json", ".tf.json", ".tofu.json"))


def parse_pins(data: bytes, path: Path) -> dict[str, Pin]:
    """Return the pins of a file by their keys; PinError lists all problems. A file without the map has none."""
    entries = entries_of(load(data, path), path)
    problems = [f"{path}: {key}{problem}" for key, entry in entries.items() for problem in problems_of(entry)]
    if problems:
        raise PinError(join_problems(problems), hint=HINT)
    return {key: Pin.of_entry(entry) for key, entry in entries.items() if isinstance(entry, dict)}


def read_entry(data: bytes, entry: PinEntry) -> Entry | None:
    """Return the entry of exactly the name and variant, None if there is none; PinError if it is invalid."""
    key = entry_key(entry.name, entry.variant)
    entries = entries_of(load(data, entry.path), entry.path)
    return valid(entries[key], f"{entry.path}: {key}") if key in entries else None


def move_entry(entry: PinEntry, expected: Entry | None, pin: Pin, *, write: bool) -> Move:
    """Set an entry of a pin file, which is created if it does not exist; see `Reference.move`."""
    path = Path(entry.path)
    map_keys(path)

    def make(data: bytes) -> bytes:
        if expected is not ANY and read_entry(data, entry) != expected:
            raise PinError(f"{path}: {entry.address} was changed by another program", hint="review it, then try again")
        return with_pin(data, path, entry_key(entry.name, entry.variant), pin)

    change = edit(path, make, write=write, create=True)
    old = read_entry(change.before, entry)
    return Move(change, entry.address, str(old["template_id"]) if old else "", pin.template_id)


def with_pin(data: bytes, path: FilePath, key: str, pin: Pin) -> bytes:
    """Return a pin file's content with one entry set; the same bytes if it has that value already.

    `previous` becomes the entry's old value. Keys are sorted; everything else in file and entry stays. Raises PinError
    if file or entry cannot be read, and if the entry has the same template id with another digest.
    """
    content: dict[str, Any] = load(data, path)
    entries: Mapping[str, Any] = entries_of(content, path)
    old = Pin.of_entry(valid(entries[key], f"{path}: {key}")) if key in entries else None
    if old and old.same(pin):
        return data
    if old and old.template_id == pin.template_id and old.sha256 != pin.sha256:
        raise PinError(
            f"{path}: {key}: {old.template_id} is pinned with sha256 {old.sha256}, the storage has {pin.sha256}",
            hint="a published name never changes its bytes: publish the next version; if the storage was set up again, "
            "remove the entry first",
        )
    previous = replace(old, previous=None) if old else None
    if old and old.template_id == pin.template_id:
        previous = old.previous  # the same template, with more details
    inner = content
    for each in map_keys(path):
        inner = inner.setdefault(each, {})
    foreign = {name: value for name, value in entries.get(key, {}).items() if name not in OPTIONAL}
    inner[key] = {**foreign, **pin.as_entry(), "previous": previous.as_entry() if previous else None}
    try:
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path} cannot be rewritten without a loss: {error}", hint=HINT) from error
