"""The templates of a storage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lxcast.errors import StorageError
from lxcast.forms import suffix_of
from lxcast.model import DirectoryRef, Version, parse_storage, rfc3339
from lxcast.naming import Pattern
from lxcast.record import Record
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.entry import Entry, select

if TYPE_CHECKING:
    from lxcast.jobs.target import Targets
    from lxcast.storages.proxmox import Listed

Access = Mapping[str, Any]
"""How a Proxmox storage is reached: `profile`, `api_url`, `ca_file`, `fingerprint`, `records`, as the settings say."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a storage holds."""

    id: str
    """As volids carry it; "" outside of a storage."""
    where: str
    """What messages call it."""
    by_api: bool
    """Whether a node told, which keeps no records: those are this machine's."""
    entries: list[Entry]
    """By name, version and file."""


def look_into(storage: str, access: Access | None = None) -> Contents:
    """Return what a storage holds, with and without records.

    Raises UsageError for a text that names no storage, StorageError where it is not there, and ApiError.
    """
    if not storage.startswith("proxmox:"):
        ref = parse_storage(storage)
        assert isinstance(ref, DirectoryRef)
        return Contents(ref.id, str(ref.path), False, DirectoryStorage(ref).entries())
    from lxcast.http import Client  # 60 ms
    from lxcast.jobs.target import find_targets
    from lxcast.storages.proxmox import listing

    targets = find_targets(storage, **(access or {}))
    there = targets.refs[0]
    with Client(targets.profile) as client:
        listed = listing(client, f"/nodes/{there.node}/storage/{there.storage}")
        entries = [_entry(each, targets) for each in listed]
    return Contents(
        there.storage, str(there), True, sorted(entries, key=lambda each: (each.name, *each.age, each.file))
    )


def find_template(name: str, version: Version | None, storage: str, access: Access | None = None) -> Record:
    """Return the record of a template (None: the newest version); raises what `look_into` does.

    StorageError says what there is instead.
    """
    if storage.startswith("proxmox:"):
        found = look_into(storage, access)
        return select(found.entries, name, version, found.where)
    ref = parse_storage(storage)
    assert isinstance(ref, DirectoryRef)
    return DirectoryStorage(ref).find(name, version)


def _entry(listed: "Listed", targets: "Targets") -> Entry:
    from lxcast.jobs.publish import read_record

    stem = listed.file.removesuffix(suffix_of(listed.file))
    match = Pattern().regex({}).fullmatch(stem)
    name, version = (match["name"], match["version"]) if match else (stem, "")
    record, problem = None, ""
    try:
        record = read_record(targets.records, listed.file)
    except StorageError as error:
        problem = error.message
    if record and (not record.template_id or record.size != listed.size):
        record = None
    if record:
        name, version = record.name, record.version
    return Entry(listed.file, listed.volid, name, version, listed.size, record, problem, rfc3339(listed.ctime))
