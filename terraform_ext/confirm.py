"""A pinned template confirmed by the Proxmox API: its name is listed, with its size."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lxcast import settings
from lxcast.errors import ApiError, PinError, StorageError
from lxcast.http import Client, load_profile
from lxcast.model import ProxmoxRef, Volid
from lxcast.pins.tfvars import Pin
from lxcast.storages.proxmox import Listed, listing

DEADLINE = 20
"""Seconds for the whole question; hashicorp/external has no limit of its own (internal/provider/data_source.go)."""

_HINT = 'verify = "pin" answers from the pin alone while Proxmox is out of reach'


def confirm(name: str, pin: Pin, ref: ProxmoxRef) -> Listed:
    """Return what the node lists for a pin.

    Address, token and what to trust come from the environment and the settings file, as for `lxcast publish`. Raises
    PinError where the pin is of another storage, StorageError where the template is missing or has another size,
    ApiError where that cannot be told.
    """
    if Volid.parse(pin.template_id).storage != ref.storage:
        raise PinError(
            f"{name}: {pin.template_id} is pinned, and the query's storage is {ref}",
            hint="name the storage of the pin, or pin the template there",
        )
    values = settings.load().values
    profile = load_profile(str(values["profile"]), str(values["ca_file"]), str(values["fingerprint"]))
    with _deadline(ref), Client(profile) as client:
        listed = {each.volid: each for each in listing(client, f"/nodes/{ref.node}/storage/{ref.storage}")}
    found = listed.get(pin.template_id)
    if found is None:
        others = [volid for volid in sorted(listed) if f"/{name}-" in volid]
        raise StorageError(
            f"{ref}: no {pin.template_id}, which is pinned",
            hint=f"there are: {', '.join(others)}" if others else "publish it there: `lxcast publish`",
        )
    if found.size != pin.size:
        raise StorageError(
            f"{ref}: {pin.template_id} has {found.size} bytes, {pin.size} are pinned",
            hint="an upload runs, or was cut off, or something else has that name",
        )
    return found


@contextmanager
def _deadline(ref: ProxmoxRef) -> Iterator[None]:
    def end(*_: object) -> None:
        raise ApiError(f"{ref}: Proxmox did not answer within {DEADLINE} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(DEADLINE)
    try:
        yield
    except ApiError as error:
        raise ApiError(error.message, hint="; ".join(filter(None, (error.hint, _HINT)))) from error
    finally:
        signal.alarm(0)
