"""Promotion: a reference moved to a version in the storage, and a pin file's entry moved back."""

import os
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

from lxcast.errors import LxcastError, PinError, StorageError, UsageError, join_problems
from lxcast.identifiers import stem_of, suffix_of
from lxcast.model import Version, Volid
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.references.address import split_target
from lxcast.references.entries import ANY, PinEntry, map_keys, problems_of
from lxcast.references.files import read_file
from lxcast.references.literal import Literal, kind_of
from lxcast.references.pin_file import Pin, is_pin_file, read_entry
from lxcast.references.reference import Move
from lxcast.references.scan import Found, matches
from lxcast.references.search import find_pins
from lxcast.references.slots import Slot
from lxcast.settings import BuildOptions, StorageOptions
from lxcast.storages.open import is_remote, open_storage, spelled_id
from lxcast.storages.storage import Listing


def write_pin(
    name: str,
    version: str,
    storage: StorageOptions,
    file: Path,
    *,
    variant: str | None = None,
    write: bool = True,
) -> Move:
    """Set a template's entry in a pin file to a version in the storage, "" for the newest.

    Raises StorageError if the storage does not have it, ApiError if the storage cannot be listed, PinError if the file
    cannot be changed.
    """
    record = find_record(name, version, storage, variant)
    return PinEntry(file, name, record.variant).move(ANY, make_pin(record), write=write)


def check_pin_file(file: Path, name: str, variant: str = "") -> None:
    """Raise UsageError if the name is not a pin file's, PinError if the template's entry could not be written."""
    map_keys(file)
    if not file.parent.is_dir():
        raise PinError(f"{file}: {file.parent} is not a directory", hint="create the directory first")
    try:
        read_entry(read_file(file), PinEntry(file, name, variant))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PinError(f"{file}: {error.strerror}", hint="name another file (--pin-file)") from error


def pin_built(record: Record, options: BuildOptions, progress: Progress) -> None:
    """Set the entry in the build's pin file, if it has one, to the template that was built.

    PinError states that the template was published, and has the command that sets the pin.
    """
    if not options.pin_file or options.dry_run:
        return
    file, storage = options.pin_file, options.storage
    try:
        move = PinEntry(file, record.name, record.variant).move(ANY, make_pin(record))
    except LxcastError as error:
        words = ["lxcast", "pin", "write", record.name, "--file", str(file), "--storage", storage.storage]
        words += ["--version", record.version] if record.version else []
        words += ["--variant", record.variant] if record.variant else []
        words += ["--records", storage.records] if storage.records else []
        raise PinError(
            f"{record.template_id} was published, but {file} could not be set to it: {error.message}",
            hint=f"{error.hint}\nthen: {shlex.join(words)}".lstrip(),
        ) from error
    progress.say(f"{file}: {move.address}: {move.old or 'nothing'} -> {move.new}")


def promote(
    name: str,
    version: str,
    target: str,
    storage: StorageOptions,
    field: str = "",
    *,
    variant: str | None = None,
    force_name: bool = False,
    write: bool = True,
) -> Move:
    """Move a reference to a version in the storage, "" for the newest; `target` is FILE:ADDRESS, or a pin file.

    A literal gets the value of its own kind, or the record's `field`. A literal that names another template is refused
    without `force_name`.
    """
    file, address = split_target(target)
    if not address:
        if not is_pin_file(file):
            raise UsageError(f"--to {target}: the address is missing", hint=f"--to {file}:local.lxc_rootfs_version")
        if field:
            raise UsageError(f"--field {field}: a pin file holds all fields", hint="leave --field out")
        return write_pin(name, version, storage, file, variant=variant, write=write)
    literal = Literal(file, address, field)
    expected = literal.read()  # before the storage is listed: a wrong address is the nearer fault
    listing = open_storage(storage).templates()
    record = find_record(name, version, storage, variant, listing)
    digest = _digest_kind(literal, expected, record, listing, is_forced=force_name)
    if not force_name:
        _require_same_template(literal, expected, record)
    _require_same_storage(literal, expected, record, storage.storage)
    return replace(literal, digest=digest).move(expected, make_pin(record), write=write)


def rollback(
    name: str,
    file: Path,
    storage: StorageOptions,
    *,
    variant: str | None = None,
    write: bool = True,
) -> Move:
    """Set a pin file's entry to its previous value, which the storage must still have with the same sha256.

    A node keeps no digests: name and size decide there if this machine has no record. The old value becomes the
    previous one, so that a second rollback undoes the first.
    """
    entry = PinEntry(file, name, variant)
    expected = entry.read()
    pin = Pin.of_entry(expected)
    if pin.previous is None:
        raise PinError(
            f"{file}: {name} is at {pin.version or pin.template_id} and has no previous value",
            hint=f"to pin another version: lxcast pin write {name} --version vN",
        )
    _require_stored(pin.previous, open_storage(storage).templates())
    return entry.move(expected, pin.previous, write=write)


def find_record(
    name: str, version: str, storage: StorageOptions, variant: str | None = None, listing: Listing | None = None
) -> Record:
    """Return the record of a template; an id that `storage` spells out (ID=PATH) replaces the record's own."""
    listing = listing or open_storage(storage).templates()
    stored = listing.select(name, Version.parse(version) if version else None, variant)
    record = stored.require_record(listing.location)
    if id := spelled_id(storage.storage):
        record = replace(record, storage=id, template_id=str(Volid.make(id, record.file)))
    if not record.template_id:
        raise StorageError(
            f"{storage.storage}: {record.file} was built outside of a storage and has no volid",
            hint="name the id that Proxmox has for this directory: --storage ID=PATH",
        )
    return record


def make_pin(record: Record) -> Pin:
    """Return the pin of a record; StorageError if the record holds what a pin may not."""
    values = asdict(record)
    if problems := [f"{record.file}: the record{problem}" for problem in problems_of(values)]:
        raise StorageError(join_problems(problems), hint="restore the record from where the template was built")
    return Pin.of(values)


def _digest_kind(literal: Literal, slot: Slot, record: Record, listing: Listing, *, is_forced: bool) -> str:
    """Return which digest of a template a literal holds, "" if it is none or unknown.

    Raises PinError if it is that of another template, unless that is forced.
    """
    digest = slot.value.removeprefix("sha256:")
    holders: dict[str, str] = {}
    for other in [each.record for each in listing.templates if each.record]:
        kinds = [kind for kind in (kind_of(slot), "sha256", "diff_id") if kind]
        kind = next((kind for kind in kinds if str(getattr(other, kind)).removeprefix("sha256:") == digest), "")
        if kind and (other.name, other.variant) == (record.name, record.variant):
            return kind
        if kind:
            holders[other.file] = kind
    if holders and not is_forced:
        raise _other_template(literal, slot, next(iter(holders)), record)
    return ""


def _require_same_template(literal: Literal, slot: Slot, record: Record) -> None:
    """Raise PinError if a literal names another template, by itself or in the values that are built from it."""
    file = slot.value.rpartition("/")[2]
    if suffix_of(file):
        if not _is_version_of(file, record):
            raise _other_template(literal, slot, file, record)
        return
    directory = Path(os.path.abspath(literal.path.parent))  # noqa: PTH100 - keeps links
    used = [
        found
        for found in find_pins(directory, lambda _: None, recursive=False)
        if found.is_certain
        and (found.file.name, found.line, found.address) == (literal.path.name, slot.line, slot.address)
        and found.file.parent == directory
    ]
    others = [found for found in used if not _may_name(found, record)]
    if others and len(others) == len(used):
        raise _other_template(literal, slot, others[0].template.rpartition("/")[2], record)


def _may_name(found: Found, record: Record) -> bool:
    if not found.is_exact:
        of_any_version = replace(found, template=_VERSION.sub("*", found.template))
        return matches(of_any_version, record.file, record.name, record.version)
    return _is_version_of(found.template.rpartition("/")[2], record)


def _other_template(literal: Literal, slot: Slot, file: str, record: Record) -> PinError:
    return PinError(
        f"{literal.place(slot)} is {slot.value}, which names {file}, and not a version of {record.name}",
        hint="name the literal of that template; to overwrite this one: --force-name",
    )


def _require_same_storage(literal: Literal, slot: Slot, record: Record, storage: str) -> None:
    """Raise PinError if a volid would move to another storage that was not spelled out."""
    id = slot.value.partition(":")[0]
    if not literal.field and kind_of(slot) == "template_id" and record.storage not in (id, spelled_id(storage)):
        path = "" if is_remote(storage) else f", or the id that Proxmox has for the directory: {id}=PATH"
        raise PinError(
            f"{literal.place(slot)}: the pin is on the storage {id!r}, {record.file} on {record.storage!r}",
            hint=f"name the pin's storage: --storage proxmox:NODE/{id}{path}",
        )


def _is_version_of(file: str, record: Record) -> bool:
    """Whether a file name is one of the template's: equal but for the version, or of the same name without one."""
    if not record.version:
        return file.startswith(f"{record.name}-")
    return _series(file) == _series(record.file)


def _series(file: str) -> str:
    """Return what the file names of all versions of a template share."""
    return _VERSION.sub("*", stem_of(file))


_VERSION = re.compile(r"(?<![A-Za-z0-9])(v[0-9]+|latest)(?![A-Za-z0-9])")


def _require_stored(pin: Pin, listing: Listing) -> None:
    """Raise StorageError unless the storage has a pin's template, by id, size and, if known, sha256."""
    volid = Volid.parse(pin.template_id)
    if volid.storage != listing.id:
        raise StorageError(
            f"{volid} is on the storage {volid.storage!r}, and {listing.location} is {listing.id!r}",
            hint=f"name it: --storage {volid.storage}=PATH, or proxmox:NODE/{volid.storage}",
        )
    entry = listing.find(volid.file)
    if entry is None:
        raise StorageError(
            f"{listing.location}: {volid.file} no longer exists", hint="pin a version that does: lxcast list"
        )
    if entry.record is None and listing.keeps_records:
        raise StorageError(
            f"{listing.location}: {entry.problem or f'{volid.file} has no record, so its sha256 is unknown'}",
            hint="restore the record from where the template was built",
        )
    facts: dict[str, tuple[object, object]] = {"size": (pin.size, entry.size)}
    if entry.record:
        facts["sha256"] = (pin.sha256, entry.record.sha256)
    problems = [f"{key}: expected {old}, got {new}" for key, (old, new) in facts.items() if old != new]
    if problems:
        raise StorageError(
            f"{listing.location}: {volid.file}: {'; '.join(problems)}",
            hint="it is not the template that was pinned: find out who replaced it",
        )
