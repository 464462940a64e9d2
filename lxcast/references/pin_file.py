"""The pin file: a JSON file that Terraform or Packer loads by itself, with the one template in use for each name.

`lxc_templates` maps a template's name to its pin. Terraform loads *.auto.tfvars.json, Packer *.auto.pkrvars.json, and
*.tf.json is Terraform's own syntax as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxcast.errors import PinError
from lxcast.hints import HINTS, PROCESS
from lxcast.references.entries import (
    FORMAT,
    HINT,
    KEYS,
    entries_of,
    find_entry,
    load,
    place_of,
    problems_of,
    valid,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a consumer needs of one template; the keys are the record's."""

    template_id: str
    version: str
    sha256: str
    diff_id: str
    size: int
    ostype: str
    arch: str
    format: str = ""
    """The record's; "" in a pin that was written without."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """Those of the record that make a container of the template."""
    previous: "Pin | None" = None
    """The pin before this one, without one of its own."""

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> "Pin":
        """Return what a pin keeps of a record's keys; `previous` stays empty."""
        hints = {key: value for key, value in known.get("hints", {}).items() if key in HINTS}
        if hints.get("init") != "app":
            hints = {key: value for key, value in hints.items() if key not in PROCESS}
        return cls(**{key: known[key] for key in KEYS}, format=known.get(FORMAT, ""), hints=hints)

    def same(self, other: "Pin") -> bool:
        """Whether both name the same template and tell the same of it, whatever came before."""
        return replace(self, previous=None) == replace(other, previous=None)


def is_pin_file(path: Path) -> bool:
    """Whether a file has a pin file's name."""
    return path.name.endswith((".tfvars.json", ".pkrvars.json", ".tf.json"))


def parse_pins(data: bytes, path: Path) -> dict[str, Pin]:
    """Return the pins of a file by name; PinError names everything in them that is wrong.

    A file without the map, or an empty one, has none.
    """
    entries = entries_of(load(data, path), path)
    problems = [f"{path}: {name}{problem}" for name, entry in entries.items() for problem in problems_of(entry)]
    if problems:
        raise PinError("\n".join(problems), hint=HINT)
    return {name: _pin(entry) for name, entry in entries.items()}


def names(data: bytes, path: Path) -> list[str]:
    """Return the names that a file has entries for."""
    return sorted(entries_of(load(data, path), path))


def find_pin(data: bytes, path: Path, name: str) -> Pin:
    """Return one pin; PinError says which there are. What is wrong with others does not matter."""
    return _pin(find_entry(data, path, name))


def with_pin(data: bytes, path: Path, name: str, pin: Pin) -> bytes:
    """Return the file with one pin set, its `previous` being what stood there; the same bytes where it stands already.

    Keys are sorted; what else the file holds stays, also in the entry. Raises PinError where the file or the entry
    cannot be read, and where the pin has the id of the one that stands there and another digest.
    """
    content: dict[str, Any] = load(data, path)
    entries: Mapping[str, Any] = entries_of(content, path)
    old = _pin(valid(entries[name], f"{path}: {name}")) if name in entries else None
    if old and old.same(pin):
        return data
    if old and old.template_id == pin.template_id and old.sha256 != pin.sha256:
        raise PinError(
            f"{path}: {name}: {old.template_id} is pinned with sha256 {old.sha256}, the storage has {pin.sha256}",
            hint="a published name never changes its bytes: take the next version; where the storage was made anew, "
            "remove the entry first",
        )
    previous = replace(old, previous=None) if old else None
    if old and old.template_id == pin.template_id:
        previous = old.previous  # the same template, told in more detail
    place = content
    for key in place_of(path):
        place = place.setdefault(key, {})
    others = {key: value for key, value in entries.get(name, {}).items() if key != FORMAT}
    place[name] = {**others, **_keys(pin), "previous": _keys(previous) if previous else None}
    try:
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path} cannot be written anew without a loss: {error}", hint=HINT) from error


def _pin(entry: Any) -> Pin:
    """Return a valid entry as a pin."""
    previous = entry.get("previous")
    return replace(Pin.of(entry), previous=Pin.of(previous) if previous else None)


def _keys(pin: Pin) -> dict[str, Any]:
    return {key: getattr(pin, key) for key in (*KEYS, *([FORMAT] if pin.format else []), "hints")}
