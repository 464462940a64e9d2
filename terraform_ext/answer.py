"""What Terraform is told: a template's record as strings, the same keys every time."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lxcast.errors import PinError, StorageError
from lxcast.model import FORMATS, DirectoryRef, ProxmoxRef, Version, Volid, parse_storage, suffix_of
from lxcast.pins import tfvars
from lxcast.record import SCHEMA
from terraform_ext.query import Query

UNKNOWN = {
    **dict.fromkeys(("unpacked_size", "members", "compressor", "release", "created", "lxcast", "node", "ctime"), ""),
    "source": {"kind": "", "reference": "", "digest": ""},
    "cleanup": {},
    "fit": {},
    "checks": {},
    "hints": {},
}
"""What a pin does not tell. Objects stay objects, so that jsondecode() takes them."""


def answer(query: Query) -> dict[str, str]:
    """Return the record that is asked for, and node, ctime, verified and warnings.

    Numbers are decimal, lists and objects compact JSON with sorted keys. The pin alone is read unless the query names
    a storage: a folder's record answers, a node confirms the pin. Raises UsageError where the storage is none, PinError
    and StorageError where pin, storage and query do not name one template, ApiError where a node does not tell.
    """
    file = Path(query.pin_file or tfvars.DEFAULT).absolute()
    pin = _pin(query, file) if query.pinned else None
    ref = parse_storage(query.storage) if query.storage else None
    place = f"the pin in {file}"
    if isinstance(ref, DirectoryRef) and query.from_storage:
        values = _from_storage(query, ref, pin, file)
        place = f"the template's record in {ref.path}"
    else:
        assert pin, "a query without a folder is pinned"
        values = _from_pin(query.name, pin)
        if isinstance(ref, ProxmoxRef) and query.from_storage:
            from terraform_ext.confirm import confirm  # 100 ms, most of it for requests

            listed = confirm(query.name, pin, ref)
            values |= {"node": ref.node, "ctime": listed.ctime, "verified": "size"}
    if query.sha256 and query.sha256 != values["sha256"]:
        raise (PinError if pin else StorageError)(
            f"{query.name}: sha256 is {query.sha256} in the query, {values['sha256']} in {place}",
            hint="review which of them is right: a published name never changes its bytes",
        )
    return {key: _text(value) for key, value in values.items()}


def _pin(query: Query, file: Path) -> tfvars.Pin:
    """Return the pin, which must be of the version that the query names, where it names one."""
    tfvars.place_of(file)  # a wrong name is told before a missing file
    try:
        data = file.read_bytes()
    except OSError as error:
        others = "" if query.from_storage else ", or name a storage to answer from: storage and version"
        raise PinError(
            f"{file}: {error.strerror}",
            hint=f"write it: `lxcast pin write {query.name} --version vN`; name another as pin_file" + others,
        ) from error
    pin = tfvars.find_pin(data, file, query.name)
    if query.version and query.version != pin.version:
        raise PinError(
            f"{query.name}: version is {query.version} in the query, {pin.version or 'unsaid'} in {file}",
            hint="leave version out of the query, so that the pin file alone tells it",
        )
    return pin


def _from_pin(name: str, pin: tfvars.Pin) -> dict[str, Any]:
    volid = Volid.parse(pin.template_id)
    suffix = suffix_of(volid.file)
    return UNKNOWN | {
        "schema": SCHEMA,
        "name": name,
        "file": volid.file,
        "storage": volid.storage,
        "format": next((row.name for row in FORMATS.values() if row.suffix == suffix), suffix.rpartition(".")[2]),
        **{key: getattr(pin, key) for key in tfvars.KEYS},
        "verified": "pin",
        "warnings": [],
    }


def _from_storage(query: Query, ref: DirectoryRef, pin: tfvars.Pin | None, file: Path) -> dict[str, Any]:
    from lxcast.storages.directory import DirectoryStorage  # not where the pin alone is read

    storage = DirectoryStorage(ref)
    version = pin.version if pin else query.version
    if not version:
        raise PinError(
            f"{file}: the pin of {query.name} has no version, by which a storage could be asked",
            hint='leave storage out, or set verify = "pin"',
        )
    record = storage.find(query.name, None if version == "latest" else Version.parse(version))
    # A record without a template is no entry of the storage, and one that tells of another size is an error there.
    try:
        ctime = int((storage.folder / record.file).stat().st_mtime)
    except OSError as error:
        raise StorageError(f"{storage.folder / record.file}: {error.strerror}") from error
    values = asdict(record) | {
        "node": "",
        "ctime": ctime,
        "verified": "size",
        "warnings": _warnings(version, record.version, record.file),
    }
    # The id that the query spells out wins over the one of the build: one folder may be known to Proxmox by another id.
    if query.storage.startswith(f"{ref.id}="):
        values |= {"storage": ref.id, "template_id": str(Volid.make(ref.id, record.file))}
    if pin:
        _agree(query.name, pin, file, values, ref)
    return values


def _agree(name: str, pin: tfvars.Pin, file: Path, values: dict[str, Any], ref: DirectoryRef) -> None:
    """Raise PinError for what the pin and the record tell differently."""
    problems = [
        f"{name}: {key} is {getattr(pin, key)} in {file}, {values[key]} in the template's record in {ref.path}"
        for key in tfvars.KEYS
        if getattr(pin, key) != values[key]
    ]
    if not problems:
        return
    other_id = Volid.parse(pin.template_id).storage
    if other_id != values["storage"]:
        hint = f"where Proxmox knows the folder as {other_id}: storage = {json.dumps(f'{other_id}={ref.path}')}"
    else:
        hint = "the pin is of another template: restore that one, or pin this one (`lxcast pin write`)"
    raise PinError("\n".join(problems), hint=hint)


def _warnings(asked: str, version: str, file: str) -> list[str]:
    if asked != "latest":
        return []
    pin = f'; version = "{version}" pins it' if version else ""
    return [
        f'version = "latest" gave {file}. The next build gives another template_id, and Terraform then replaces '
        "what was made from this one" + pin
    ]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
