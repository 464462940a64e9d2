"""The templates of a storage."""

from lxcast.errors import StorageError
from lxcast.forms import suffix_of
from lxcast.http import Client
from lxcast.jobs.publish import read_record
from lxcast.jobs.target import Targets, find_targets
from lxcast.model import DirectoryRef, parse_storage, rfc3339
from lxcast.naming import Pattern
from lxcast.storages.directory import DirectoryStorage, Entry
from lxcast.storages.proxmox import Listed, listing


def list_templates(
    storage: str, *, profile: str = "", ca_file: str = "", fingerprint: str = "", records: str = ""
) -> list[Entry]:
    """Return the templates of a storage, with and without records, by name, version and file.

    The records of a Proxmox storage are this machine's. Raises UsageError
    for a text that names no storage, StorageError where it is not there, and ApiError.
    """
    if storage.startswith("proxmox:"):
        targets = find_targets(storage, profile=profile, ca_file=ca_file, fingerprint=fingerprint, records=records)
        with Client(targets.profile) as client:
            there = targets.refs[0]
            path = f"/nodes/{there.node}/storage/{there.storage}"
            entries = [_entry(each, targets) for each in listing(client, path)]
        return sorted(entries, key=lambda each: (each.name, int(each.version[1:] or 0), each.file))
    ref = parse_storage(storage)
    assert isinstance(ref, DirectoryRef)
    return DirectoryStorage(ref).entries()


def _entry(listed: Listed, targets: Targets) -> Entry:
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
