"""What Terraform is told: a template's record as strings, the same keys every time.

Where the pin alone answers nothing is imported beyond what reads it: that is what Terraform waits for on every plan.
"""

import json
import os

from lxcast.errors import PinError, StorageError
from lxcast.identifiers import SCHEMA, split_volid, suffix_of
from lxcast.references import entries
from terraform_ext.query import Query

UNKNOWN = {
    **dict.fromkeys(("unpacked_size", "members", "compressor", "release", "created", "lxcast", "rules"), ""),
    **dict.fromkeys(("node", "ctime"), ""),
    "source": {"kind": "", "reference": "", "digest": ""},
    "cleanup": {},
    "fit": {},
    "checks": {},
    "hints": {},
    "metadata": {},
}
"""What a pin does not tell. Objects stay objects, so that jsondecode() takes them."""


def answer(query: Query) -> dict[str, str]:
    """Return the record that is asked for, and node, ctime, verified and warnings.

    Numbers are decimal, lists and objects compact JSON with sorted keys. The pin alone is read unless the query names
    a storage or a node: a directory's record answers, a node confirms the pin. Raises UsageError if the storage is
    none, PinError and StorageError where pin, storage and query do not name one template, ApiError where a node does
    not tell.
    """
    file = os.path.abspath(query.pin_file or entries.DEFAULT)  # noqa: PTH100 - pathlib is loaded for storages alone
    pin = _pin(query, file) if query.pinned else None
    place = f"the pin in {file}"
    if query.from_storage and not query.by_api:
        from terraform_ext.recorded import from_record  # 40 ms

        values, place = from_record(query, pin, file)
    else:
        assert pin, "a query without a directory is pinned"
        values = _from_pin(query.name, pin)
        if query.from_storage:
            from terraform_ext.confirm import confirm  # 100 ms, most of it for requests

            values |= confirm(query, pin)
    if query.sha256 and query.sha256 != values["sha256"]:
        raise (PinError if pin else StorageError)(
            f"{query.name}: sha256 is {query.sha256} in the query, {values['sha256']} in {place}",
            hint="review which of them is right: a published name never changes its bytes",
        )
    return {key: _text(value) for key, value in values.items()}


def _pin(query: Query, file: str) -> dict[str, object]:
    """Return the pin, which must be of the query's version, if it has one."""
    pin = entries.PinEntry(file, query.name, query.variant).read()
    if query.version and query.version != pin["version"]:
        raise PinError(
            f"{query.name}: version is {query.version} in the query, {pin['version'] or 'not set'} in {file}",
            hint="leave version out of the query, so that only the pin file sets it",
        )
    return pin


def _from_pin(name: str, pin: dict[str, object]) -> dict[str, object]:
    storage, file = split_volid(str(pin["template_id"]))
    return UNKNOWN | {
        "schema": SCHEMA,
        "name": name,
        "file": file,
        "storage": storage,
        "variant": pin.get("variant", ""),
        "format": pin.get("format") or _format_of(file),
        **{key: pin[key] for key in entries.KEYS},
        "hints": pin.get("hints", {}),
        "verified": "pin",
        "warnings": [],
    }


def _format_of(file: str) -> str:
    """Return the format that a file's suffix tells: a .tar may be an OCI archive, too."""
    suffix = suffix_of(file).rpartition(".")[2]
    return "" if suffix == "tar" else suffix


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
