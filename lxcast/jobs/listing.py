"""The templates of a storage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxcast.errors import ApiError, LxcastError, StorageError
from lxcast.identifiers import stem_of
from lxcast.model import DirectoryRef, ProxmoxRef, StorageRef, Version, parse_storage
from lxcast.naming import parts_of
from lxcast.record import Record
from lxcast.settings import StorageOptions
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.entry import Entry, select

if TYPE_CHECKING:
    from lxcast.proxmox.client import Client
    from lxcast.proxmox.usage import Uses
    from lxcast.storages.proxmox import Listed
    from lxcast.storages.targets import Targets


@dataclass(frozen=True, slots=True)
class Contents:
    """What a storage holds; of a storage of Proxmox one node's."""

    ref: StorageRef
    entries: list[Entry]
    """By name, version and file."""
    targets: "Targets | None" = None
    """How a Proxmox storage is reached; None for a folder."""
    uses: "Uses | None" = None
    """None where nobody asked, or the storage is a folder, which knows nothing of containers."""
    error: ApiError | None = None
    """Why the node told nothing."""

    @property
    def id(self) -> str:
        """As volids carry it; "" outside of a storage."""
        return self.ref.storage if isinstance(self.ref, ProxmoxRef) else self.ref.id

    @property
    def node(self) -> str:
        """The node that told; "" for a folder."""
        return self.ref.node if isinstance(self.ref, ProxmoxRef) else ""

    @property
    def where(self) -> str:
        """What messages call it."""
        return str(self.ref if isinstance(self.ref, ProxmoxRef) else self.ref.path)

    @property
    def by_api(self) -> bool:
        """Whether a node told, which keeps no records: those are this machine's."""
        return isinstance(self.ref, ProxmoxRef)


def look_into(options: StorageOptions) -> Contents:
    """Return what a storage holds, with and without records; of a Proxmox storage on the first node that is named.

    Raises UsageError for a text that names no storage, StorageError where it is not there, and ApiError.
    """
    if not options.storage.startswith("proxmox:"):
        ref = parse_storage(options.storage)
        assert isinstance(ref, DirectoryRef)
        return Contents(ref, DirectoryStorage(ref).entries())
    from lxcast.proxmox.client import Client  # 60 ms
    from lxcast.storages.targets import find_targets

    targets = find_targets(options)
    with Client(targets.profile) as client:
        return Contents(targets.refs[0], _list(client, targets.refs[0], targets), targets)


def look_everywhere(options: StorageOptions, warn: Callable[[str], None]) -> list[Contents]:
    """Return what a storage holds on each node that is named, and which containers were made of it; a shared one once.

    A node that does not answer is told of by its `error`, where none does by ApiError; what is not known of containers
    is told to `warn`. Else it raises what `look_into` does.
    """
    if not options.storage.startswith("proxmox:"):
        return [look_into(options)]
    from lxcast.proxmox.client import Client
    from lxcast.proxmox.nodes import OFFLINE, node_states
    from lxcast.proxmox.usage import find_made, is_shared, uses_in
    from lxcast.storages.targets import find_targets, places

    targets = find_targets(options)
    found: list[Contents] = []
    with Client(targets.profile) as client:
        refs = places(client, targets)
        made = find_made(client, warn)
        states = node_states(client)
        for ref in refs:
            try:
                if states.get(ref.node) == OFFLINE:
                    raise ApiError(f"the node {ref.node} is offline", hint="start it, or leave it out")
                shared = is_shared(client, ref)
                uses = uses_in(client, ref, made, shared=shared)
                contents = Contents(ref, _list(client, ref, targets), targets, uses)
            except ApiError as error:
                found.append(Contents(ref, [], targets, error=error))
                continue
            if shared:
                return [contents]  # the others see the same files
            found.append(contents)
    if all(each.error for each in found) and (error_of_all := failure(found)):
        raise error_of_all
    return found


def failure(places: Sequence[Contents], others: Mapping[str, LxcastError] | None = None) -> LxcastError | None:
    """Return the one error of the nodes that told nothing, and of `others` that failed; None where there is none."""
    failed: dict[str, LxcastError] = {each.node: each.error for each in places if each.error}
    failed |= others or {}
    if not failed:
        return None
    from lxcast.storages.targets import failed_nodes

    return failed_nodes(failed, len(places))


def find_template(name: str, version: Version | None, options: StorageOptions, variant: str | None = None) -> Record:
    """Return the record of a template (None: the newest version; any single variant); raises what `look_into` does.

    StorageError lists the choices.
    """
    if options.storage.startswith("proxmox:"):
        found = look_into(options)
        return select(found.entries, name, version, found.where, variant)
    ref = parse_storage(options.storage)
    assert isinstance(ref, DirectoryRef)
    return DirectoryStorage(ref).find(name, version, variant)


def _list(client: "Client", ref: ProxmoxRef, targets: "Targets") -> list[Entry]:
    from lxcast.storages.proxmox import listing

    entries = [_entry(each, targets) for each in listing(client, f"/nodes/{ref.node}/storage/{ref.storage}")]
    return sorted(entries, key=lambda each: (each.name, *each.rank, each.file))


def _entry(listed: "Listed", targets: "Targets") -> Entry:
    from lxcast.jobs.publish import read_record

    name, version = parts_of(stem_of(listed.file))
    record, problem = None, ""
    try:
        record = read_record(targets.records, listed.file)
    except StorageError as error:
        problem = error.message
    if record and (not record.template_id or record.size != listed.size):
        record = None
    if record:
        name, version = record.name, record.version
    return Entry(listed.file, listed.volid, name, version, listed.size, record, problem, listed.ctime)
