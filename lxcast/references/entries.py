"""The JSON of a pin file: where its entries stand, and what is wrong with one.

The Terraform data source starts with this on every plan, so paths are texts and an entry is a dictionary here: the
imports of dataclasses, pathlib and typing alone would double the time to its answer.
"""

import json
import os
from collections.abc import Iterator, Mapping

from lxcast.errors import PinError, UsageError
from lxcast.hints import HINTS
from lxcast.identifiers import FORMS, has_form, short, split_volid, volid_problems

VARIABLE = "lxc_templates"
DEFAULT = "templates.auto.tfvars.json"

KEYS = ("template_id", "version", "sha256", "diff_id", "size", "ostype", "arch")
"""The keys of a record that every entry holds."""

FORMAT = "format"
"""The key that entries hold beside them, unless they were written without: of a .tar it tells what it is."""

HINT = "correct it by hand, or take it from an older commit"

FilePath = str | os.PathLike[str]


def place_of(path: FilePath) -> tuple[str, ...]:
    """Return the keys that lead to the map in a file of that name; UsageError where it is no pin file's."""
    name = os.path.basename(path)  # noqa: PTH119 - see above
    if name.endswith((".tfvars.json", ".pkrvars.json")):
        return (VARIABLE,)
    if name.endswith(".tf.json"):
        return ("locals", VARIABLE)
    raise UsageError(
        f"{path} is no name of a pin file",
        hint=f"{DEFAULT} for Terraform, templates.auto.pkrvars.json for Packer, templates.tf.json for locals; a value "
        "in HCL is named as FILE:ADDRESS",
    )


def find_entry(data: bytes, path: FilePath, name: str) -> dict[str, object]:
    """Return one valid entry; PinError says which there are. What is wrong with others does not matter."""
    entries = entries_of(load(data, path), path)
    if name not in entries:
        raise PinError(
            f"{path} has no pin for {name!r}",
            hint=f"it has: {', '.join(sorted(entries))}" if entries else f"write one: lxcast pin write {name}",
        )
    return valid(entries[name], f"{path}: {name}")


def load(data: bytes, path: FilePath) -> dict[str, object]:
    """Parse a file that may be written again; PinError where that would lose something."""
    if not data:
        return {}
    try:
        content = json.loads(data.decode(), object_pairs_hook=once_each, parse_float=_exact)
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path} is no JSON that can be kept: {error}", hint=HINT) from error
    if not isinstance(content, dict):
        raise PinError(f"{path} holds {type(content).__name__}, not a JSON object", hint=HINT)
    return content


def once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the members of a JSON object, for json's object_pairs_hook; ValueError where a key is given twice."""
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


def entries_of(content: dict[str, object], path: FilePath) -> Mapping[str, object]:
    """Return the map of a parsed file; PinError where something else stands in its place."""
    place = content
    for key in place_of(path):
        inner = place.get(key, {})
        if not isinstance(inner, dict):
            raise PinError(f"{path}: {key} is no object", hint="write it as one object, by the names of the templates")
        place = inner
    return place


def valid(entry: object, where: str) -> dict[str, object]:
    """Return the entry; PinError names everything that is wrong with it."""
    problems = [f"{where}{problem}" for problem in problems_of(entry)]
    if problems or not isinstance(entry, dict):
        raise PinError("\n".join(problems), hint=HINT)
    return entry


def problems_of(entry: object, *, nested: bool = False) -> Iterator[str]:
    """Yield what is wrong with an entry, each to be put behind the place that it stands in."""
    if not isinstance(entry, dict):
        yield " is no object"
        return
    yield from (f": {key} is missing" for key in KEYS if key not in entry)
    yield from (f": {problem}" for key in KEYS if key in entry for problem in _problem(key, entry[key]))
    if FORMAT in entry:
        yield from (f": {problem}" for problem in _problem(FORMAT, entry[FORMAT]))
    hints = entry.get("hints", {})
    if not isinstance(hints, dict):
        yield f": hints is {short(hints)}, not an object"
    else:
        wrong = [key for key in HINTS if key in hints and not _of_kind(key, hints[key])]
        yield from (f": hints: {key} is {short(hints[key])}, not of its kind" for key in wrong)
    if not nested and entry.get("previous") is not None:
        yield from (f": previous{problem}" for problem in problems_of(entry["previous"], nested=True))


def _of_kind(key: str, value: object) -> bool:
    if type(value) not in HINTS[key][0]:  # no bool for a number
        return False
    return not isinstance(value, list) or all(isinstance(each, dict if key == "mounts" else str) for each in value)


def _problem(key: str, value: object) -> Iterator[str]:
    if key == "size":
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"size is {short(value)}, not a whole number"
    elif not isinstance(value, str):
        yield f"{key} is {short(value)}, not a text"
    elif not has_form(key, value):
        yield f"{key} is {short(value)}, not {FORMS[key][1]}"
    elif key == "template_id":
        storage, file = split_volid(value)
        if not file:
            yield f"template_id is {short(value)}, no template's volid"
        elif problems := volid_problems(storage, file):
            yield f"template_id: {'; '.join(problems)}"
