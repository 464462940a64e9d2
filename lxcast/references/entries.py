"""The entries of a pin file: where they are in its JSON, and what makes one valid.

The Terraform data source starts with this on every plan, so paths are strings and an entry is a dictionary here:
importing dataclasses, pathlib and typing would double the time to its answer.
"""

import json
import os
from collections.abc import Iterator, Mapping

from lxcast.errors import PinError, UsageError, join_problems
from lxcast.hints import HINTS
from lxcast.identifiers import FORMS, has_form, short, split_volid, volid_problems
from lxcast.references.files import FilePath, read_file

TYPE_CHECKING = False  # importing typing would take 5 ms
if TYPE_CHECKING:
    from lxcast.references.pin_file import Pin
    from lxcast.references.reference import Move

VARIABLE = "lxc_templates"
DEFAULT = "templates.auto.tfvars.json"

KEYS = ("template_id", "version", "sha256", "diff_id", "size", "ostype", "arch")
"""The keys of a record that every entry has."""

OPTIONAL = ("format", "variant")
"""Keys of a record that an entry may have: `format` is missing in entries of older releases."""

HINT = "correct it by hand, or restore it from an older commit"

Entry = dict[str, object]

ANY: Entry = {}
"""What `PinEntry.move` expects if the old value does not matter."""


class PinEntry:
    """The entry of a template in a pin file: a Reference whose value is the entry, None if there is none.

    `variant` None selects the only variant of the name in the file, "" for the template without a variant.
    """

    def __init__(self, path: FilePath, name: str, variant: str | None = None) -> None:
        self.path = path
        self.name = name
        self.variant = variant

    @property
    def address(self) -> str:
        """The entry's address in HCL."""
        key = entry_key(self.name, self.variant)
        return f'{VARIABLE}["{key}"]' if self.variant else f"{VARIABLE}.{key}"

    def read(self) -> Entry:
        """Return the entry, and set `variant` to its own; PinError lists the choices if there is not exactly one."""
        map_keys(self.path)
        try:
            data = read_file(self.path)
        except OSError as error:
            raise PinError(
                f"{self.path}: {error.strerror}",
                hint=f"create it with `lxcast pin write {self.name} --version vN`, or name another pin file",
            ) from error
        return self.find(data)

    def find(self, data: bytes) -> Entry:
        """Return the entry in a file's content; problems of other entries do not matter."""
        key, entry = find_entry(entries_of(load(data, self.path), self.path), self)
        self.variant = key.partition("/")[2]
        return valid(entry, f"{self.path}: {key}")

    def move(self, expected: Entry | None, pin: "Pin", *, write: bool = True) -> "Move":
        """Set the entry, as `Reference.move` does; the expected value becomes the entry's `previous`."""
        from lxcast.references.pin_file import move_entry  # the data source only reads

        return move_entry(self, expected, pin, write=write)


def entry_key(name: str, variant: str | None) -> str:
    """Return the key of an entry. "/" cannot be part of a name, so two templates never share a key."""
    return f"{name}/{variant}" if variant else name


def find_entry(entries: Mapping[str, object], wanted: PinEntry) -> tuple[str, object]:
    """Return the key and the value of the entry that is wanted; PinError lists the choices."""
    name, variant = wanted.name, wanted.variant
    keys = [key for key in entries if key.partition("/")[0] == name]
    found = [key for key in keys if variant is None or key == entry_key(name, variant)]
    if len(found) == 1:
        return found[0], entries[found[0]]
    variants = ", ".join(repr(key.partition("/")[2]) for key in sorted(keys))
    if found:
        raise PinError(
            f"{wanted.path} has pins for several variants of {name!r}: {variants}",
            hint="name one: --variant in a command, `variant` in a query ('' is the template without one)",
        )
    if keys:
        raise PinError(f"{wanted.path} has no pin for the variant {variant!r} of {name!r}", hint=f"it has: {variants}")
    raise PinError(
        f"{wanted.path} has no pin for {name!r}",
        hint=f"it has: {join_problems([', '.join(sorted(entries))])}"
        if entries
        else f"create one: lxcast pin write {name}",
    )


def map_keys(path: FilePath) -> tuple[str, ...]:
    """Return the keys that lead to the map of entries in a file of that name; UsageError if it is not a pin file's."""
    name = os.path.basename(path)  # noqa: PTH119 - see above
    if name.endswith((".tfvars.json", ".pkrvars.json")):
        return (VARIABLE,)
    if name.endswith((".tf.json", ".tofu.json")):
        return ("locals", VARIABLE)
    raise UsageError(
        f"invalid name of a pin file: {path}",
        hint=f"{DEFAULT} for Terraform, templates.auto.pkrvars.json for Packer, templates.tf.json for locals; "
        "write FILE:ADDRESS for a literal in HCL",
    )


def load(data: bytes, path: FilePath) -> Entry:
    """Parse a file that may be written again; PinError if that would lose something."""
    if not data:
        return {}
    try:
        content = json.loads(data.decode(), object_pairs_hook=unique_keys, parse_float=_exact)
    except (ValueError, RecursionError) as error:
        raise PinError(f"{path}: invalid JSON: {error}", hint=HINT) from error
    if not isinstance(content, dict):
        raise PinError(f"{path}: expected a JSON object, got {type(content).__name__}", hint=HINT)
    return content


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the members of a JSON object, for json's object_pairs_hook; ValueError if a key is set twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is set twice in one object")
    return members


def _exact(text: str) -> float:
    """Return a number that is written again with the same value."""
    from decimal import Decimal  # 5 ms, and numbers with a point are rare

    value = float(text)
    if Decimal(repr(value)) != Decimal(text):
        raise ValueError(f"the number {text[:40]} would be rounded")
    return value


def entries_of(content: Entry, path: FilePath) -> Mapping[str, object]:
    """Return the map of entries of a parsed file; PinError if it is not an object."""
    inner: object = content
    for key in map_keys(path):
        inner = inner.get(key, {}) if isinstance(inner, dict) else inner
        if not isinstance(inner, dict):
            raise PinError(f"{path}: {key} is not an object", hint="write one object with an entry for each template")
    return inner if isinstance(inner, dict) else {}


def valid(entry: object, where: str) -> Entry:
    """Return the entry; PinError lists all its problems."""
    problems = [f"{where}{problem}" for problem in problems_of(entry)]
    if problems or not isinstance(entry, dict):
        raise PinError(join_problems(problems), hint=HINT)
    return entry


def problems_of(entry: object, *, nested: bool = False) -> Iterator[str]:
    """Yield the problems of an entry, each to follow the entry's place in a message."""
    if not isinstance(entry, dict):
        yield " is not an object"
        return
    yield from (f": {key} is missing" for key in KEYS if key not in entry)
    yield from (f": {problem}" for key in (*KEYS, *OPTIONAL) if key in entry for problem in _problem(key, entry[key]))
    hints = entry.get("hints", {})
    if not isinstance(hints, dict):
        yield f": hints: expected an object, got {short(hints)}"
    else:
        invalid = [key for key in HINTS if key in hints and not _has_hint_type(key, hints[key])]
        yield from (f": hints: invalid {key} {short(hints[key])}" for key in invalid)
    if not nested and entry.get("previous") is not None:
        yield from (f": previous{problem}" for problem in problems_of(entry["previous"], nested=True))


def _has_hint_type(key: str, value: object) -> bool:
    if type(value) not in HINTS[key][0]:  # isinstance() would accept a boolean for a number
        return False
    return not isinstance(value, list) or all(isinstance(each, dict if key == "mounts" else str) for each in value)


def _problem(key: str, value: object) -> Iterator[str]:
    if key == "size":
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"size: expected a whole number, got {short(value)}"
    elif not isinstance(value, str):
        yield f"{key}: expected a string, got {short(value)}"
    elif not has_form(key, value):
        yield f"{key}: expected {FORMS[key][1]}, got {short(value)}"
    elif key == "template_id":
        storage, file = split_volid(value)
        if not file:
            yield f"template_id: expected a template's volid, got {short(value)}"
        elif problems := volid_problems(storage, file):
            yield f"template_id: {'; '.join(problems)}"
