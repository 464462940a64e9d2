"""What must hold before the first byte is sent to a Proxmox storage: everything that is wrong, at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lxcast.errors import ApiError, LxcastError, StorageError
from lxcast.model import ProxmoxRef
from lxcast.proxmox.client import Client
from lxcast.proxmox.nodes import node_states

OK, WARNING, ERROR = "ok", "warning", "error"

ROLE = "LxcastPublish"
"""The role of the documentation's `pveum` commands."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at: `state` is ok, warning or error."""

    subject: str
    state: str
    message: str
    hint: str = ""
    api: bool = True
    """Whether an error is the API's, not the storage's."""


@dataclass(slots=True)
class Preflight:
    """What was found for one storage of one node."""

    ref: ProxmoxRef
    pull: bool = False
    rows: list[Row] = field(default_factory=list)
    release: str = ""
    nodes: tuple[str, ...] = ()
    """All that are online: an upload's task runs on the one that was spoken to, whatever node it is for."""
    shared: bool = False
    sees_tasks: bool = False
    """Whether the token sees the tasks of other users on all of these nodes."""
    confirms: bool = False
    """Whether the token may have the node compare a checksum, or fetch a file (download-url)."""

    @property
    def errors(self) -> list[Row]:
        """The rows that forbid an upload."""
        return [row for row in self.rows if row.state == ERROR]


def preflight(
    client: Client, ref: ProxmoxRef, *, suffix: str = ".tar.zst", size: int = 0, pull: bool = False
) -> Preflight:
    """Ask everything that an upload of `size` bytes under a name with that suffix needs. Never raises ApiError.

    With `pull` the node shall fetch the file itself.
    """
    found = Preflight(ref, pull=pull)
    for look in (_api, _nodes, _permissions, _storage):
        try:
            found.rows += look(client, found, suffix, size)
        except ApiError as error:
            found.rows.append(Row(look.__name__.strip("_"), ERROR, error.message, error.hint))
            if look is _api:
                break
    return found


def refuse(found: Sequence[Preflight]) -> LxcastError | None:
    """Return one error that holds every problem of every target, each once; None where there is none."""
    rows = list(dict.fromkeys(row for each in found for row in each.errors))
    if not rows:
        return None
    kind: Callable[..., LxcastError] = ApiError if any(row.api for row in rows) else StorageError
    hints = list(dict.fromkeys(row.hint for row in rows if row.hint))
    return kind("\n".join(row.message for row in rows), hint="\n".join(hints))


def privileges(client: Client, path: str) -> set[str]:
    """Return what the token may do on a path of the cluster's permissions. Raises ApiError."""
    told = client.get("/access/permissions", path=path).members()
    return {name for each in told.values() for name in each.members()}


def _api(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    said = client.get("/version", patience=3)
    found.release = said["version"].text("") or said["release"].text("")
    # pve-storage 7.0-13 takes .tar.zst and checksums, 9.0.15 (Proxmox VE 9.1) plain .tar.
    needed = (9, 1) if suffix == ".tar" else (7, 1)
    try:
        have = tuple(int(part) for part in found.release.split(".")[:2])
    except ValueError:
        yield Row("api", WARNING, f"{client.profile.host}: version {found.release!r} is not known")
        return
    if have < needed:
        wanted = ".".join(map(str, needed))
        what = "an OCI archive, or any plain .tar," if suffix == ".tar" else suffix
        yield Row(
            "api",
            ERROR,
            f"{client.profile.host} is Proxmox VE {found.release}; {what} needs {wanted} or newer",
            "update the node" if needed == (7, 1) else "build another format (--format zst)",
        )
    else:
        yield Row("api", OK, f"Proxmox VE {found.release} at {client.profile.host}, token {client.profile.token_id}")


def _nodes(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    nodes = node_states(client)
    found.nodes = tuple(sorted(name for name, status in nodes.items() if status in ("online", "")))
    node = found.ref.node
    if node not in nodes:
        yield Row("node", ERROR, f"there is no node {node!r}", f"there are: {', '.join(sorted(nodes))}")
    elif node not in found.nodes:
        yield Row("node", ERROR, f"the node {node} is {nodes[node]}", "start it, or leave it out")
    else:
        yield Row("node", OK, f"{node} is online")


def _permissions(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    path = f"/storage/{found.ref.storage}"
    token, there = client.profile.token_id, privileges(client, path)
    lacking = [] if "Datastore.AllocateTemplate" in there else ["Datastore.AllocateTemplate (to upload)"]
    if not there & {"Datastore.Audit", "Datastore.AllocateSpace"}:
        lacking.append("Datastore.Audit (to see what is there)")
    if lacking:
        yield Row(
            "permissions",
            ERROR,
            f"the token {token} lacks {' and '.join(lacking)} on {path}",
            f"pveum acl modify {path} --tokens '{token}' --roles {ROLE} (and the same with --users for its user: a "
            "token has no more than its user)",
        )
    else:
        yield Row("permissions", OK, f"the token may upload to {path} and list it")
    own = privileges(client, f"/nodes/{found.ref.node}")
    found.sees_tasks = all("Sys.Audit" in privileges(client, f"/nodes/{node}") for node in found.nodes)
    found.confirms = "Sys.AccessNetwork" in own or {"Sys.Audit", "Sys.Modify"} <= privileges(client, "/")
    if not found.sees_tasks:
        yield Row(
            "tasks",
            WARNING,
            f"the token {token} does not see other users' tasks: another upload of the same name would go unseen",
            f"pveum acl modify /nodes --tokens '{token}' --roles {ROLE}",
        )
    if found.pull and not found.confirms:
        yield Row(
            "fetching",
            ERROR,
            f"the token {token} may not have node {found.ref.node} fetch a file: it lacks Sys.AccessNetwork",
            f"pveum acl modify /nodes --tokens '{token}' --roles {ROLE}",
        )
    elif not found.confirms:
        yield Row(
            "checksums",
            WARNING,
            f"the token {token} may not have node {found.ref.node} compare a checksum: of a name that is there already "
            "only a record on this machine can show that it is the same template",
            f"pveum acl modify /nodes --tokens '{token}' --roles {ROLE}",
        )


def _storage(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    node, id = found.ref.node, found.ref.storage
    if found.nodes and node not in found.nodes:
        return
    storages = {each["storage"].text(): each for each in client.get(f"/nodes/{node}/storage").list()}
    state = storages.get(id)
    where = f"storage {id} on node {node}"
    if state is None:
        names = ", ".join(sorted(storages)) or "none"
        yield Row(
            "storage", ERROR, f"{where} is not there, or the token may not see it", f"it sees: {names}", api=False
        )
        return
    found.shared = bool(state["shared"].number(0))
    contents = state["content"].text("").split(",")
    problems = []
    if "vztmpl" not in contents:
        hint = f"pvesm set {id} --content {','.join(sorted({*filter(None, contents), 'vztmpl'}))}"
        problems.append(
            Row("storage", ERROR, f"{where} takes no templates (content: {','.join(contents)})", hint, False)
        )
    if not state["enabled"].number(1):
        problems.append(Row("storage", ERROR, f"{where} is disabled", f"pvesm set {id} --disable 0", False))
    elif not state["active"].number(1):
        problems.append(Row("storage", ERROR, f"{where} is not active", "is it mounted, and its server up?", False))
    elif (free := state["avail"].number(0)) < size:
        hint = "remove what is not used any more, or take another storage"
        problems.append(
            Row("storage", ERROR, f"{where} is full: {free} bytes are free, {size} are needed", hint, False)
        )
    yield from problems or [
        Row("storage", OK, f"{where}: {state['avail'].number(0)} bytes are free, templates are taken")
    ]
