"""The answer from a directory: the record next to a template, which must agree with the pin."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lxcast.errors import PinError, StorageError
from lxcast.model import Version, Volid
from lxcast.references.entries import KEYS, OPTIONAL
from lxcast.storages.open import open_directory, spelled_id
from terraform_ext.query import Query


def from_record(query: Query, pin: Mapping[str, Any] | None, file: str) -> tuple[dict[str, Any], str]:
    """Return the record of the version that query or pin names, and where it was read.

    Raises UsageError where the storage is none, PinError and StorageError where pin and storage do not name one
    template that exists with its size; `file` is the pin's, for messages.
    """
    storage = open_directory(query.storage)
    version = pin["version"] if pin else query.version
    if not version:
        raise PinError(
            f"{file}: the pin of {query.name} has no version, by which a storage could be asked",
            hint='leave storage out, or set verify = "pin"',
        )
    variant = str(pin["variant"]) if pin and "variant" in pin else query.variant
    listing = storage.templates()
    stored = listing.select(query.name, None if version == "latest" else Version.parse(version), variant)
    # A record without a template is not listed, and one with another size is an error.
    record = stored.require_record(listing.location)
    assert stored.path
    try:
        ctime = int(stored.path.stat().st_mtime)
    except OSError as error:
        raise StorageError(f"{stored.path}: {error.strerror}") from error
    values = asdict(record) | {
        "node": "",
        "ctime": ctime,
        "verified": "size",
        "warnings": _warnings(version, record.version, record.file),
    }
    # The id in the query takes precedence over that of the build: Proxmox may know the directory by another id.
    if id := spelled_id(query.storage):
        values |= {"storage": id, "template_id": str(Volid.make(id, record.file))}
    if pin:
        _agree(query.name, pin, file, values, listing.location)
    return values, f"the template's record in {listing.location}"


def _agree(name: str, pin: Mapping[str, Any], file: str, values: Mapping[str, Any], folder: str) -> None:
    """Raise PinError for what the pin and the record tell differently."""
    problems = [
        f"{name}: {key} is {pin[key]} in {file}, {values[key]} in the template's record in {folder}"
        for key in (*KEYS, *OPTIONAL)
        if pin.get(key, values[key]) != values[key]
    ]
    if not problems:
        return
    other_id = Volid.parse(pin["template_id"]).storage
    if other_id != values["storage"]:
        hint = f"if Proxmox knows the directory as {other_id}: storage = {json.dumps(f'{other_id}={folder}')}"
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
