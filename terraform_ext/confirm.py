"""A pinned template confirmed by the Proxmox API: its name is listed, with its size."""

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lxcast import settings
from lxcast.errors import ApiError, PinError, StorageError, UsageError
from lxcast.model import Volid
from lxcast.storages.open import open_storage
from terraform_ext.query import Query

DEADLINE = 20
"""Seconds for the whole question; hashicorp/external has no limit of its own (internal/provider/data_source.go)."""

_HINT = 'verify = "pin" answers from the pin alone while Proxmox is out of reach'


def confirm(query: Query, pin: Mapping[str, Any]) -> dict[str, Any]:
    """Return node, ctime and verified of a pin that the node lists.

    Address, token and what to trust come from the environment and the settings file, as for `lxcast publish`. Raises
    PinError where the pin is of another storage, StorageError where the template is missing or has another size,
    ApiError where that cannot be told.
    """
    volid = Volid.parse(pin["template_id"])
    nodes = (query.node,) if query.node else ()
    named = settings.Settings({**settings.load().values, "storage": _storage(query, volid.storage), "nodes": nodes})
    with _by_variables():
        storage = open_storage(settings.select(settings.StorageOptions, named))
    if volid.storage != storage.id:
        raise PinError(
            f"{query.name}: {volid} is pinned, and the query's storage is {storage.location}",
            hint="name the storage of the pin, or pin the template there",
        )
    with _by_variables(), _deadline(storage.location):
        listing = storage.templates()
    found = listing.find(volid.file)
    if found is None:
        others = [each.template_id for each in listing.templates if each.file.startswith(f"{query.name}-")]
        raise StorageError(
            f"{listing.location}: no {volid}, which is pinned",
            hint=f"there are: {', '.join(others)}" if others else "publish it there: `lxcast publish`",
        )
    if found.size != pin["size"]:
        raise StorageError(
            f"{listing.location}: {volid} has {found.size} bytes, {pin['size']} are pinned",
            hint="an upload runs, or was cut off, or something else has that name",
        )
    return {"node": found.node, "ctime": found.ctime, "verified": "size"}


def _storage(query: Query, pinned: str) -> str:
    """Return the storage that a query names by `node` and id (default: the pinned one), or as proxmox:NODE/STORAGE."""
    text = query.storage
    if not text.startswith("proxmox:"):
        text = f"proxmox:{query.node}/{text or pinned}"
    return text


@contextmanager
def _by_variables() -> Iterator[None]:
    """Name variables instead of options of the command line, which the data source does not have."""
    variables = {row.option: row.env for row in settings.SETTINGS}

    def named(text: str) -> str:
        return re.sub(r"--[a-z-]+", lambda match: variables.get(match[0], match[0]), text)

    try:
        yield
    except (UsageError, ApiError) as error:
        raise type(error)(named(error.message), hint=named(error.hint)) from error


@contextmanager
def _deadline(location: str) -> Iterator[None]:
    def end(*_: object) -> None:
        raise ApiError(f"{location}: Proxmox did not answer within {DEADLINE} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(DEADLINE)
    try:
        yield
    except ApiError as error:
        raise ApiError(error.message, hint="; ".join(filter(None, (error.hint, _HINT)))) from error
    finally:
        signal.alarm(0)
