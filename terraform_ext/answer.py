"""What Terraform is told: a template's record as strings, the same keys every time."""

import json
from dataclasses import asdict

from lxcast.errors import StorageError, UsageError
from lxcast.model import ProxmoxRef, Version, Volid, parse_storage
from lxcast.record import Record
from lxcast.storages.directory import DirectoryStorage
from terraform_ext.query import Query


def answer(query: Query) -> dict[str, str]:
    """Return the record that is asked for, and node, ctime, verified and warnings.

    Numbers are decimal, lists and objects compact JSON with sorted keys. Raises UsageError where the storage is none
    that can be read, StorageError where it holds no such template or not the one that the record tells of.
    """
    ref = parse_storage(query.storage)
    if isinstance(ref, ProxmoxRef):
        raise UsageError(
            f"storage {query.storage!a}: a node keeps no records, so there is nothing to answer from",
            hint="name the folder where the template and its record were built: PATH, or ID=PATH for the id that the "
            "node has for it",
        )
    storage = DirectoryStorage(ref)
    record = storage.find(query.name, None if query.version == "latest" else Version.parse(query.version))
    # A record without a template is no entry of the storage, and one that tells of another size is an error there.
    try:
        ctime = int((storage.folder / record.file).stat().st_mtime)
    except OSError as error:
        raise StorageError(f"{storage.folder / record.file}: {error.strerror}") from error
    values = asdict(record) | {
        "node": "",
        "ctime": ctime,
        "verified": "size",
        "warnings": _warnings(query, record),
    }
    # The id that the query spells out wins over the one of the build: one folder may be known to Proxmox by another id.
    if query.storage.startswith(f"{ref.id}="):
        values |= {"storage": ref.id, "template_id": str(Volid.make(ref.id, record.file))}
    return {key: _text(value) for key, value in values.items()}


def _warnings(query: Query, record: Record) -> list[str]:
    if query.version != "latest":
        return []
    pin = f'; version = "{record.version}" pins it' if record.version else ""
    return [
        f'version = "latest" gave {record.file}. The next build gives another template_id, and Terraform then replaces '
        "what was made from this one" + pin
    ]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
