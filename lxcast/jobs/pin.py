"""Single values of HCL files, and the pins of a tree."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import ApiError, LxcastError, PinError, StorageError
from lxcast.identifiers import suffix_of
from lxcast.progress import Progress
from lxcast.references import pin_file
from lxcast.references.entries import VARIABLE
from lxcast.references.files import read_file
from lxcast.references.hcl import parse
from lxcast.references.literal import Literal
from lxcast.references.reference import Move
from lxcast.references.resolve import Value, find_origins, resolve
from lxcast.references.slots import Slot
from lxcast.settings import StorageOptions
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Listing


@dataclass(frozen=True, slots=True)
class Found:
    """A pin in a tree."""

    file: Path
    line: int
    """0 in a JSON file."""
    address: str
    value: str
    """What stands there."""
    template: str
    """The volid or file name that it comes to."""
    state: str
    """present, missing, other bytes, other storage, newest (it follows the newest), or unknown."""


def get_value(file: Path, address: str) -> Slot:
    """Return the literal at an address; PinError lists candidates if there is none."""
    return Literal(file, address).read()


def set_value(file: Path, address: str, value: str, *, write: bool = True) -> Move:
    """Replace the value of the literal at an address; PinError if that is not possible, and nothing is changed."""
    return Literal(file, address).write(None, value, write=write)


def list_pins(folder: Path, storage: StorageOptions, progress: Progress) -> list[Found]:
    """Return every pin below a folder, and whether the storage still has what it names.

    Files that cannot be read, and a storage that does not tell, are told of as warnings. Raises PinError where the
    folder is none, UsageError for a text that names no storage.
    """
    if not folder.is_dir():
        raise PinError(f"{folder} is no folder", hint="name the folder that the configurations lie in")
    listing = None
    try:
        listing = open_storage(storage).templates()
    except (StorageError, ApiError) as error:
        progress.warn(f"{error.message}: whether it has the templates is not known")
    return [_judged(each, listing) for each in find_pins(folder, progress.warn)]


def find_pins(path: Path, warn: Callable[[str], None], *, previous: bool = False) -> list[Found]:
    """Return the pins of a file, or of every configuration below a folder; `warn` is told which cannot be read.

    Their states are the digests that they tell. With `previous`, what a pin file would roll back to as well.
    """
    found: list[Found] = []
    for files in _configurations(path) if path.is_dir() else [[path]]:
        found += _pins_of(files, warn, previous=previous)
    return found


def _configurations(folder: Path) -> Iterator[list[Path]]:
    """Yield the files that may hold pins, those of one folder together."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))  # .terraform, .git
        files = [Path(root, name) for name in sorted(names)]
        yield [file for file in files if file.name.endswith(_HCL) or pin_file.is_pin_file(file)]


_HCL = (".tf", ".tfvars", ".pkr.hcl", ".pkrvars.hcl")
_HINTS = re.compile(rb"vztmpl/|\.tar\b|lxcast-data|terraform_ext")


def _pins_of(files: Sequence[Path], warn: Callable[[str], None], *, previous: bool) -> Iterator[Found]:
    """Yield the pins of one folder."""
    contents = {}
    for file in files:
        try:
            contents[file] = read_file(file)
        except PinError as error:
            warn(error.message)
        except OSError as error:
            warn(f"{file}: {error.strerror}")
    values: list[Value] = []
    relevant = any(_HINTS.search(data) for file, data in contents.items() if not pin_file.is_pin_file(file))
    for file, data in contents.items():
        try:
            if pin_file.is_pin_file(file):
                yield from _pin_file(file, data, previous=previous)
            elif relevant:
                values += [(file, slot) for slot in parse(data, file).slots]
        except LxcastError as error:
            warn(error.message)
    yield from _pins_in(values)


def _pin_file(file: Path, data: bytes, *, previous: bool) -> Iterator[Found]:
    for name, pin in pin_file.parse_pins(data, file).items():
        address = f"{VARIABLE}.{name}"
        yield Found(file, 0, address, pin.version, pin.template_id, pin.sha256)
        if previous and (old := pin.previous):
            yield Found(file, 0, f"{address}.previous", old.version, old.template_id, old.sha256)


def _pins_in(values: Sequence[Value]) -> Iterator[Found]:
    """Yield the literals that volids, file names and queries of the data source come from."""
    seen = set()
    for value in values:
        _, slot = value
        text, sources = resolve(values, slot), [value]
        if text and _names_template(text):
            if not slot.is_literal:
                origins = find_origins(values, slot)
                sources = [each for each in origins if re.fullmatch(r"v[0-9]+", each[1].value)] or origins
        elif text and slot.path[-2:] == ("query", "version") and slot.path[:2] == ("data", "external"):
            name = _beside(values, value, "name")
            text = f"{name}-{text}" if name else text
            sources = [value] if slot.is_literal else find_origins(values, slot)
        else:
            continue
        for path, source in sources:
            if (path, source.start, text) not in seen:
                seen.add((path, source.start, text))
                yield Found(path, source.line, source.address, source.value, text, "")


def _names_template(text: str) -> bool:
    if ":vztmpl/" in text:
        return bool(suffix_of(text.rpartition("/")[2]))
    return bool(suffix_of(text)) and re.search(r"-v[0-9]+\.tar", text) is not None


def _beside(values: Sequence[Value], value: Value, key: str) -> str:
    """Return the text that stands beside another one in the same object."""
    path, slot = value
    beside = [each for file, each in values if file == path and each.path == (*slot.path[:-1], key)]
    return (resolve(values, beside[0]) or "") if beside else ""


def _judged(found: Found, listing: Listing | None) -> Found:
    """Add what the storage says; until here `state` is the sha256 that the pin tells, or nothing."""
    id, _, file = found.template.rpartition(":vztmpl/")
    if found.value == "latest":
        state = "newest"
    elif listing is None or not (suffix_of(file) or "-v" in file):
        state = "unknown"
    elif id and id != listing.id:
        state = "other storage"
    else:
        named = [each for each in listing.templates if file in (each.file, f"{each.name}-{each.version}")]
        state = "present" if named else "missing"
        record = named[0].record if named else None
        if record and found.state and record.sha256 != found.state:
            state = "other bytes"
        elif named and not record and found.state and listing.keeps_records:
            state = "unknown"
    return Found(found.file, found.line, found.address, found.value, found.template, state)
