"""The pin file: a JSON file that Terraform or Packer loads by itself, with the one template in use for each name.

`lxc_templates` maps a template's name to its pin. Terraform loads *.auto.tfvars.json, Packer *.auto.pkrvars.json, and
*.tf.json is Terraform's own syntax as JSON. Standard library only: the data source reads pins on its hot path.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lxcast.errors import PinError, UsageError
from lxcast.model import Volid

VARIABLE = "lxc_templates"
DEFAULT = "templates.auto.tfvars.json"


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
    previous: "Pin | None" = None
    """The pin before this one, without one of its own."""

    def same(self, other: "Pin") -> bool:
        """Whether both name the same template, whatever came before."""
        return replace(self, previous=None) == replace(other, previous=None)


KEYS = tuple(each.name for each in fields(Pin) if each.name != "previous")
"""The keys of a record that a pin holds."""

_FORMS = {
    "version": (r"(v[1-9][0-9]{0,8})?", "v and a number"),
    "sha256": (r"[0-9a-f]{64}", "64 hexadecimal digits"),
    "diff_id": (r"sha256:[0-9a-f]{64}", "sha256: and 64 hexadecimal digits"),
}


def place_of(path: Path) -> tuple[str, ...]:
    """Return the keys that lead to the map in a file of that name; UsageError where it is no pin file's."""
    if path.name.endswith((".tfvars.json", ".pkrvars.json")):
        return (VARIABLE,)
    if path.name.endswith(".tf.json"):
        return ("locals", VARIABLE)
    raise UsageError(
        f"{path} is no name of a pin file",
        hint=f"{DEFAULT} for Terraform, templates.auto.pkrvars.json for Packer, templates.tf.json for locals; a value "
        "in HCL is named as FILE:ADDRESS",
    )


def is_pin_file(path: Path) -> bool:
    """Whether a file has a pin file's name."""
    return path.name.endswith((".tfvars.json", ".pkrvars.json", ".tf.json"))


def parse_pins(data: bytes, path: Path) -> dict[str, Pin]:
    """Return the pins of a file by name; PinError names everything in them that is wrong.

    A file without the map, or an empty one, has none.
    """
    entries = _entries(_load(data, path), path)
    problems: list[str] = []
    pins = {name: _pin(f"{path}: {name}", entry, problems) for name, entry in entries.items()}
    if problems:
        raise PinError("\n".join(problems), hint=_HINT)
    return {name: pin for name, pin in pins.items() if pin}


def names(data: bytes, path: Path) -> list[str]:
    """Return the names that a file has entries for."""
    return sorted(_entries(_load(data, path), path))


def find_pin(data: bytes, path: Path, name: str) -> Pin:
    """Return one pin; PinError says which there are. What is wrong with others does not matter."""
    entries = _entries(_load(data, path), path)
    if name not in entries:
        raise PinError(
            f"{path} has no pin for {name!r}",
            hint=f"it has: {', '.join(sorted(entries))}" if entries else f"write one: lxcast pin write {name}",
        )
    return _one(entries[name], path, name)


def with_pin(data: bytes, path: Path, name: str, pin: Pin) -> bytes:
    """Return the file with one pin set, its `previous` being what stood there; the same bytes where it stands already.

    Keys are sorted; what else the file holds stays, also in the entry. Raises PinError where the file or the entry
    cannot be read, and where the pin has the id of the one that stands there and another digest.
    """
    content = _load(data, path)
    entries = _entries(content, path)
    old = _one(entries[name], path, name) if name in entries else None
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
    place[name] = {**entries.get(name, {}), **_keys(pin), "previous": _keys(previous) if previous else None}
    try:
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path} cannot be written anew without a loss: {error}", hint=_HINT) from error


def _keys(pin: Pin) -> dict[str, Any]:
    return {key: getattr(pin, key) for key in KEYS}


_HINT = "correct it by hand, or take it from an older commit"


def _load(data: bytes, path: Path) -> dict[str, Any]:
    if not data:
        return {}
    try:
        content = json.loads(data.decode(), object_pairs_hook=_once_each, parse_float=_exact)
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path} is no JSON that can be kept: {error}", hint=_HINT) from error
    if not isinstance(content, dict):
        raise PinError(f"{path} holds {type(content).__name__}, not a JSON object", hint=_HINT)
    return content


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object gives one key twice")
    return members


def _exact(text: str) -> float:
    """Return a number that is written again with the same value."""
    from decimal import Decimal  # 5 ms, and numbers with a point are rare

    value = float(text)
    if Decimal(repr(value)) != Decimal(text):
        raise ValueError(f"the number {text[:40]} would be rounded")
    return value


def _entries(content: dict[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the map; PinError where something else stands in its place."""
    place: Any = content
    for key in place_of(path):
        place = place.get(key, {})
        if not isinstance(place, dict):
            raise PinError(f"{path}: {key} is no object", hint="write it as one object, by the names of the templates")
    entries: Mapping[str, Any] = place
    return entries


def _one(entry: object, path: Path, name: str) -> Pin:
    problems: list[str] = []
    pin = _pin(f"{path}: {name}", entry, problems)
    if pin is None:
        raise PinError("\n".join(problems), hint=_HINT)
    return pin


def _pin(where: str, entry: object, problems: list[str], *, nested: bool = False) -> Pin | None:
    """Read an entry; what is wrong with it goes to `problems`."""
    if not isinstance(entry, dict):
        problems.append(f"{where} is no object")
        return None
    found = [f"{where}: {problem}" for problem in _problems(entry)]
    problems += found
    previous = None
    if entry.get("previous") is not None and not nested:
        previous = _pin(f"{where}: previous", entry["previous"], problems, nested=True)
        if previous is None:
            return None
    return None if found else Pin(**{key: entry[key] for key in KEYS}, previous=previous)


def _problems(entry: dict[str, Any]) -> Iterator[str]:
    for key in KEYS:
        value = entry.get(key)
        if key not in entry:
            yield f"{key} is missing"
        elif key == "size":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                yield f"size is {_short(value)}, not a whole number"
        elif not isinstance(value, str):
            yield f"{key} is {_short(value)}, not a text"
        elif key in _FORMS and not re.fullmatch(_FORMS[key][0], value, re.ASCII):
            yield f"{key} is {_short(value)}, not {_FORMS[key][1]}"
        elif key == "template_id":
            try:
                Volid.parse(value)
            except UsageError as error:
                yield f"template_id: {error.message}"


def _short(value: object) -> str:
    return json.dumps(value)[:80]
