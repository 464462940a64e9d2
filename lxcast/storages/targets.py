"""The Proxmox storages that a job publishes to, and this machine's records of them."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lxcast.errors import ApiError, ConflictError, LxcastError, StorageError, UsageError
from lxcast.model import ProxmoxRef, parse_storage
from lxcast.progress import Progress
from lxcast.proxmox.client import PATIENCE, ApiValue, Client, Profile, Relay, load_profile
from lxcast.proxmox.nodes import node_states
from lxcast.proxmox.preflight import WARNING, Preflight, preflight, refuse
from lxcast.settings import BY_NAME, StorageOptions, in_groups
from lxcast.storages.proxmox import TAKEN


@dataclass(frozen=True, slots=True)
class Targets:
    """One storage on one node or several, of one cluster."""

    profile: Profile
    refs: tuple[ProxmoxRef, ...]
    records: Path
    """Where NAME-vN.json lie for what was published there."""
    all_nodes: bool = False
    """Whether `refs` stands for every node that has the storage."""
    relay: Relay | None = None
    """What the nodes fetch templates from; None where each is sent to."""
    access: tuple[str, ...] = ()
    """The command line's options that say how the cluster is reached, and where its records are."""

    @property
    def storage(self) -> str:
        """The storage's id, which all of them share."""
        return self.refs[0].storage

    @property
    def words(self) -> str:
        """The command line's options that name and reach them; what is fetched from where may be a password."""
        nodes = [word for ref in self.refs if len(self.refs) > 1 for word in ("--node", ref.node)]
        return shlex.join(
            ["--storage", str(self.refs[0]), *(["--all-nodes"] if self.all_nodes else nodes), *self.access]
        )


def find_targets(options: StorageOptions) -> Targets:
    """Return the targets that `proxmox:`, or proxmox:NODE/STORAGE, names; `nodes` takes the node's place.

    With `all_nodes` every node of the cluster that has the storage. Nothing is asked yet. Raises UsageError.
    """
    nodes, storage = options.nodes, options.storage
    if nodes and options.all_nodes:
        raise UsageError("--node and --all-nodes exclude each other")
    relay = Relay.of(options.put_url, options.get_url)
    known = load_profile(options.profile, options.api_url, options.ca_file, options.fingerprint)
    first = nodes[0] if nodes else known.node or ("all" if options.all_nodes and storage == "proxmox:" else "")
    ref = parse_storage(storage, first, known.storage)
    if not isinstance(ref, ProxmoxRef):
        raise UsageError(
            f"--storage {storage} is a folder, nothing to publish to", hint="name proxmox:NODE/STORAGE, or proxmox:"
        )
    names = list(dict.fromkeys(nodes)) or [ref.node]
    refs = tuple(_ref(node, ref.storage) for node in names)
    folder = Path(options.records).expanduser() if options.records else _state(known, ref.storage)
    written = ((BY_NAME[name].option, getattr(options, name)) for name in in_groups("access"))
    words = tuple(word for option, value in written if value for word in (option, value))
    return Targets(known, refs, folder, options.all_nodes, relay, words)


def diagnose(targets: Targets, progress: Progress, *, suffix: str = ".tar.zst", size: int = 0) -> list[Preflight]:
    """Look at every target; of a shared storage only at the first node that is well: the others see the same files."""
    found: list[Preflight] = []
    with progress.step(f"looking at {targets.profile.host}"), _Asked(targets.profile) as client:
        for ref in places(client, targets):
            if not any(each.shared and not each.errors for each in found):
                found.append(preflight(client, ref, suffix=suffix, size=size, pull=targets.relay is not None))
    return found


class _Asked(Client):
    """A client that asks nothing twice: of forty nodes most answers are the same."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._known: dict[str, ApiValue] = {}

    def get(self, path: str, /, *, patience: float = PATIENCE, **parameters: str | int) -> ApiValue:
        """Return the data of a GET as Client does, or what it was when it was asked for before."""
        key = f"{path}?{sorted(parameters.items())}"
        if key not in self._known:
            self._known[key] = super().get(path, patience=patience, **parameters)
        return self._known[key]


def places(client: Client, targets: Targets) -> Sequence[ProxmoxRef]:
    """Return the storage of each node that is meant; with `all_nodes` the cluster is asked.

    Raises ApiError, and StorageError where no node has it.
    """
    if not targets.all_nodes:
        return targets.refs
    storage = targets.storage
    nodes = sorted(node_states(client))
    refs = [_ref(node, storage) for node in nodes if _has(client, node, storage)]
    if not refs:
        raise StorageError(
            f"no node of {targets.profile.host} has a storage {storage!r}, or the token may not see it",
            hint=f"`lxcast doctor --storage proxmox:{''.join(nodes[:1])}/{storage}` tells what the token lacks",
        )
    return refs


def failed_nodes(failed: Mapping[str, LxcastError], among: int) -> LxcastError:
    """Return the one error of the nodes that failed `among` those that were asked; of a single one its own."""
    if among == 1:
        return next(iter(failed.values()))
    lines = "\n".join(f"{node}: {error}" for node, error in failed.items())
    told = f"{len(failed)} of {among} nodes failed\n{lines}"
    taken = [node for node, error in failed.items() if isinstance(error, ConflictError)]
    if len(taken) == among:
        return ConflictError(told, hint=TAKEN)
    hint = "the same command again completes the rest"
    if taken:
        hint += f", but not {', '.join(taken)}, where the name is taken: publish another name or version everywhere"
    return ApiError(told, hint=hint)


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
        there = client.get(f"/nodes/{node}/storage", patience=0).list()
        return any(each["storage"].text() == storage for each in there)
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
