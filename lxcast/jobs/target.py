"""The Proxmox storages that a job publishes to, and this machine's records of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lxcast.errors import ApiError, UsageError
from lxcast.http import Client, Profile, load_profile
from lxcast.model import ProxmoxRef, parse_storage
from lxcast.progress import Progress
from lxcast.storages.preflight import WARNING, Preflight, preflight, refuse


@dataclass(frozen=True, slots=True)
class Targets:
    """One storage on one node or several, of one cluster."""

    profile: Profile
    refs: tuple[ProxmoxRef, ...]
    records: Path
    """Where NAME-vN.json lie for what was published there."""

    @property
    def storage(self) -> str:
        """The storage's id, which all of them share."""
        return self.refs[0].storage


def find_targets(
    storage: str,
    *,
    nodes: Sequence[str] = (),
    all_nodes: bool = False,
    profile: str = "",
    ca_file: str = "",
    fingerprint: str = "",
    records: str = "",
) -> Targets:
    """Return the targets that `proxmox:`, or proxmox:NODE/STORAGE, names; `nodes` takes the node's place.

    With `all_nodes` every node of the cluster that has the storage. Raises UsageError and ApiError.
    """
    if nodes and all_nodes:
        raise UsageError("--node and --all-nodes exclude each other")
    known = load_profile(profile, ca_file, fingerprint)
    first = nodes[0] if nodes else known.node or ("all" if all_nodes and storage == "proxmox:" else "")
    ref = parse_storage(storage, first, known.storage)
    if not isinstance(ref, ProxmoxRef):
        raise UsageError(
            f"--storage {storage} is a folder, nothing to publish to", hint="name proxmox:NODE/STORAGE, or proxmox:"
        )
    names = list(dict.fromkeys(nodes)) or [ref.node]
    if all_nodes:
        with Client(known) as client:
            found = client.get("/nodes")
            names = [node for node in sorted(each["node"] for each in found) if _has(client, node, ref.storage)]
        if not names:
            raise UsageError(f"no node of {known.host} has a storage {ref.storage!r}")
    refs = tuple(_ref(node, ref.storage) for node in names)
    return Targets(known, refs, Path(records).expanduser() if records else _state(known, ref.storage))


def diagnose(targets: Targets, progress: Progress, *, suffix: str = ".tar.zst", size: int = 0) -> list[Preflight]:
    """Look at every target; of a shared storage only at the first node that is well: the others see the same files."""
    found: list[Preflight] = []
    with progress.step(f"looking at {targets.profile.host}"), Client(targets.profile) as client:
        for ref in targets.refs:
            if not any(each.shared and not each.errors for each in found):
                found.append(preflight(client, ref, suffix=suffix, size=size))
    return found


def look(targets: Targets, progress: Progress, *, suffix: str = ".tar.zst", size: int = 0) -> list[Preflight]:
    """Look at every target before anything is sent.

    Raises one error with every problem where no target is left to send to.
    """
    found = diagnose(targets, progress, suffix=suffix, size=size)
    if all(each.errors for each in found) and (error := refuse(found)):
        raise error
    for message in dict.fromkeys(row.message for each in found for row in each.rows if row.state == WARNING):
        progress.warn(message)
    return found


def _has(client: Client, node: str, storage: str) -> bool:
    """Tell whether a node has the storage; one that cannot be asked counts, so that it is reported."""
    try:
        return any(each["storage"] == storage for each in client.get(f"/nodes/{node}/storage", patience=0))
    except ApiError:
        return True


def _ref(node: str, storage: str) -> ProxmoxRef:
    ref = parse_storage(f"proxmox:{node}/{storage}")
    assert isinstance(ref, ProxmoxRef)
    return ref


def _state(profile: Profile, storage: str) -> Path:
    """Return the folder of one storage's records: $XDG_STATE_HOME/lxcast/HOST/STORAGE."""
    state = os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.local/state"
    return Path(state, "lxcast", quote(profile.host, safe="[]."), storage)
