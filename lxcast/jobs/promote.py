"""Promotion: a pin moved to a version that the storage has, and moved back."""

import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

from lxcast.errors import LxcastError, PinError, StorageError, UsageError
from lxcast.identifiers import suffix_of
from lxcast.jobs.listing import Access, Contents, find_template, look_into
from lxcast.jobs.options import BuildOptions
from lxcast.jobs.pin import Moved, get_value, set_value
from lxcast.model import Version, Volid
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.references import entries, pin_file
from lxcast.references.address import split_target
from lxcast.references.pin_file import Pin
from lxcast.references.rewriting import edit
from lxcast.references.slots import Slot

FIELDS = ("template_id", "version", "file", "sha256", "diff_id", "size", "ostype", "arch")
"""What of a record a pin may hold."""


def write_pin(
    name: str, version: str, storage: str, file: Path, access: Access | None = None, *, write: bool = True
) -> Moved:
    """Set a template's entry in a pin file to a version, "" for the newest, that the storage has.

    Raises StorageError where it has none, ApiError where it does not tell, PinError where the file cannot be changed.
    """
    record = find_record(name, version, storage, access)
    return _write(file, name, _pin(record), write=write)


def check_pin_file(file: Path, name: str) -> None:
    """Raise UsageError for a name that is no pin file's, PinError where an entry of it could not be changed."""

    def look(data: bytes) -> bytes:
        if name in pin_file.names(data, file):
            pin_file.find_pin(data, file, name)
        return data

    entries.place_of(file)
    edit(file, look, write=False, create=True)


def pin_built(record: Record, options: BuildOptions, progress: Progress) -> None:
    """Set the entry in the pin file that a build was given, if it was, to what it built.

    PinError says that the template is there all the same, and has the command that sets the pin.
    """
    if not options.pin_file or options.dry_run:
        return
    file = Path(options.pin_file)
    try:
        moved = _write(file, record.name, _pin(record), write=True)
    except LxcastError as error:
        words = ["lxcast", "pin", "write", record.name, "--file", options.pin_file, "--storage", str(options.storage)]
        words += ["--version", record.version] if record.version else []
        if options.records:
            words += ["--records", options.records]
        raise PinError(
            f"{record.template_id} is built and stays, but {options.pin_file} does not name it: {error.message}",
            hint=f"{error.hint}\nthen: {shlex.join(words)}".lstrip(),
        ) from error
    progress.say(f"{file}: {moved.address}: {moved.old or 'nothing'} -> {moved.new}")


def promote(
    name: str,
    version: str,
    target: str,
    storage: str,
    progress: Progress,
    field: str = "",
    access: Access | None = None,
    *,
    write: bool = True,
) -> Moved:
    """Set a pin to a version, "" for the newest, that the storage has; `target` is FILE:ADDRESS, or a pin file.

    In HCL the value of the same kind as the one that stands there is written, or the record's `field`.
    """
    file, address = split_target(target)
    if not address:
        if not pin_file.is_pin_file(file):
            raise UsageError(f"--to {target} names no address", hint=f"--to {file}:local.lxc_rootfs_version")
        if field:
            raise UsageError(f"--field {field}: a pin file holds all of them", hint="leave it out")
        return write_pin(name, version, storage, file, access, write=write)

    def choose(slot: Slot) -> str:
        where = f"{file}:{slot.line}: {slot.address}"
        kind = field or kind_of(slot.value)
        if not field and kind == "version" and slot.value.isdigit() and "version" not in slot.address:
            kind = ""  # a size or a count, for all that is known
        if not kind:
            raise PinError(
                f"{where}: {slot.value!r} is no version, volid, file name or digest of a template",
                hint=f"say what belongs there: --field {'|'.join(FIELDS)}",
            )
        if not field and kind == "template_id":
            _same_storage(slot.value, record, storage, where)
        old = slot.value.rpartition("/")[2]
        if suffix_of(old) and not old.startswith(name):
            progress.warn(f"{where} held {slot.value}, which is no {name}")
        value = str(getattr(record, kind))
        if not value:
            raise PinError(f"{record.file} has no {kind}, which {where} needs", hint="take another --field")
        return value.removeprefix("v") if slot.value.isdigit() and kind == "version" else value

    get_value(file, address)  # before the storage is asked: what is wrong with the address is the nearer fault
    record = find_record(name, version, storage, access)
    return set_value(file, address, choose, write=write)


def rollback(name: str, file: Path, storage: str, access: Access | None = None, *, write: bool = True) -> Moved:
    """Set a pin file's entry to its previous value, which the storage must still have with the same sha256.

    Of a node, which keeps no digests, name and size must do where this machine has no record.

    What stood there becomes the previous one, so that a second rollback takes the first one back.
    """
    moved: list[Pin] = []

    def make(data: bytes) -> bytes:
        present = pin_file.find_pin(data, file, name)
        if present.previous is None:
            raise PinError(
                f"{file}: {name} is at {present.version or present.template_id} and has no previous value",
                hint=f"to pin another version: lxcast pin write {name} --version vN",
            )
        _confirm(present.previous, look_into(storage, access))
        moved[:] = [present, present.previous]
        return pin_file.with_pin(data, file, name, present.previous)

    change = edit(file, make, write=write)
    return Moved(change, f"{entries.VARIABLE}.{name}", moved[0].template_id, moved[1].template_id)


def find_record(name: str, version: str, storage: str, access: Access | None = None) -> Record:
    """Return the record of a template; its id is of the storage that `storage` spells out (ID=PATH), else its own."""
    record = find_template(name, Version.parse(version) if version else None, storage, access)
    if id := _spelled_out(storage):
        record = replace(record, storage=id, template_id=str(Volid.make(id, record.file)))
    if not record.template_id:
        raise StorageError(
            f"{storage}: {record.file} was built outside of a storage and has no volid",
            hint="name the id that Proxmox has for this folder: --storage ID=PATH",
        )
    return record


def kind_of(text: str) -> str:
    """Return the field of a record that a text looks like: version, volid, file name or digest; "" for none."""
    if suffix_of(text.rpartition(":vztmpl/")[2]):
        return "template_id" if ":vztmpl/" in text else "file"
    return next((field for pattern, field in _LIKE.items() if re.fullmatch(pattern, text, re.ASCII)), "")


_LIKE = {"v?[0-9]{1,9}": "version", "[0-9a-f]{64}": "sha256", "sha256:[0-9a-f]{64}": "diff_id"}


def _spelled_out(storage: str) -> str:
    """Return the ID of ID=PATH, "" for any other storage."""
    id, equals, _ = storage.partition("=")
    return id if equals and "/" not in id and not storage.startswith("proxmox:") else ""


def _same_storage(old: str, record: Record, storage: str, where: str) -> None:
    """Raise PinError where a volid would move to another storage, unless that one is spelled out."""
    id = old.partition(":")[0]
    if id != record.storage and _spelled_out(storage) != record.storage:
        folder = "" if storage.startswith("proxmox:") else f", or the id that Proxmox has for the folder: {id}=PATH"
        raise PinError(
            f"{where}: the pin is on the storage {id!r}, {record.file} on {record.storage!r}",
            hint=f"name the pin's storage: --storage proxmox:NODE/{id}{folder}",
        )


def _pin(record: Record) -> Pin:
    """Return the pin of a record; StorageError where that holds what no pin may."""
    known = asdict(record)
    if problems := [f"{record.file}: the record{problem}" for problem in entries.problems_of(known)]:
        raise StorageError("\n".join(problems), hint="restore the record from where the template was built")
    return Pin.of(known)


def _write(file: Path, name: str, pin: Pin, *, write: bool) -> Moved:
    old: list[str] = []

    def make(data: bytes) -> bytes:
        pins = pin_file.names(data, file)
        old[:] = [pin_file.find_pin(data, file, name).template_id if name in pins else ""]
        return pin_file.with_pin(data, file, name, pin)

    entries.place_of(file)
    change = edit(file, make, write=write, create=True)
    return Moved(change, f"{entries.VARIABLE}.{name}", old[0], pin.template_id)


def _confirm(pin: Pin, contents: Contents) -> None:
    """Raise StorageError unless the storage has what a pin names, by id, size and, where it is known, sha256."""
    volid = Volid.parse(pin.template_id)
    if volid.storage != contents.id:
        raise StorageError(
            f"{volid} lies on the storage {volid.storage!r}, and {contents.where} is {contents.id!r}",
            hint=f"name it: --storage {volid.storage}=PATH, or proxmox:NODE/{volid.storage}",
        )
    entry = next((each for each in contents.entries if each.file == volid.file), None)
    if entry is None:
        raise StorageError(
            f"{contents.where}: {volid.file} is not there any longer", hint="pin a version that is: lxcast list"
        )
    if entry.record is None and not contents.by_api:
        raise StorageError(
            f"{contents.where}: {entry.problem or f'{volid.file} has no record, so that its sha256 is not known'}",
            hint="restore the record from where the template was built",
        )
    sha256 = entry.record.sha256 if entry.record else pin.sha256
    if (entry.size, sha256) != (pin.size, pin.sha256):
        raise StorageError(
            f"{contents.where}: {volid.file} has {entry.size} bytes and sha256 "
            f"{entry.record.sha256 if entry.record else 'unknown'}, the pin says {pin.size} and {pin.sha256}",
            hint="it is not what was pinned: find out who replaced it",
        )
