"""Single values of configurations, and the pins of a tree."""

from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import ApiError, PinError, StorageError
from lxcast.progress import Progress
from lxcast.references.literal import Literal
from lxcast.references.reference import Move
from lxcast.references.scan import Found, matches
from lxcast.references.search import find_pins
from lxcast.references.slots import Slot
from lxcast.settings import StorageOptions
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Listing


@dataclass(frozen=True, slots=True)
class PinState:
    """A pin in a tree, and what the storage has of it."""

    file: Path
    line: int
    """0 in a pin file."""
    address: str
    value: str
    """The literal there."""
    template: str
    """The volid or file name that it makes up; "*" replaces unknown parts."""
    state: str
    """present, missing, other bytes, other storage, newest (it follows the newest), unresolved, or unknown."""


def get_value(file: Path, address: str) -> Slot:
    """Return the literal at an address; PinError lists candidates if there is none."""
    return Literal(file, address).read()


def set_value(file: Path, address: str, value: str, *, write: bool = True) -> Move:
    """Replace the value of the literal at an address; PinError if that is not possible, and nothing is changed."""
    return Literal(file, address).write(None, value, write=write)


def list_pins(folder: Path, storage: StorageOptions, progress: Progress) -> list[PinState]:
    """Return every pin below a directory, and whether the storage still has its template.

    Warns of files that cannot be read, and of a storage that cannot be listed. Raises PinError if there is no such
    directory, UsageError for an invalid storage.
    """
    if not folder.is_dir():
        raise PinError(f"{folder} is not a directory", hint="name the directory of the configurations")
    listing = None
    try:
        listing = open_storage(storage).templates()
    except (StorageError, ApiError) as error:
        progress.warn(f"{error.message}: whether it has the templates is unknown")
    states = [_state_of(each, listing) for each in find_pins(folder, progress.warn)]
    return [each for each, is_certain in states if is_certain]


def _state_of(found: Found, listing: Listing | None) -> tuple[PinState, bool]:
    """Return a pin with its state, and whether it is one: what only looks like a name must be in the storage."""
    id, _, _ = found.template.rpartition(":vztmpl/")
    state = "unknown"
    if found.value == "latest":
        state = "newest"
    elif not found.is_exact:
        state = "unresolved"
    elif listing and id and id != listing.id:
        state = "other storage"
    elif listing:
        state = _stored_state(found, listing)
    pin = PinState(found.file, found.line, found.address, found.value, found.template, state)
    return pin, found.is_certain or state in ("present", "other storage")


def _stored_state(found: Found, listing: Listing) -> str:
    entries = [each for each in listing.templates if matches(found, each.file, each.name, each.version)]
    if not entries:
        return "missing"
    record = entries[0].record
    if found.sha256 and record:
        return "present" if record.sha256 == found.sha256 else "other bytes"
    return "unknown" if found.sha256 and listing.keeps_records else "present"
