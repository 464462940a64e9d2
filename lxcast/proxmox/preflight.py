"""Checks before the first byte is sent to a Proxmox storage; every problem is reported at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lxcast.errors import ApiError, LxcastError, StorageError
from lxcast.model import ProxmoxRef
from lxcast.progress import amount
from lxcast.proxmox.client import Client
from lxcast.proxmox.nodes import UNKNOWN, node_states

OK, WARNING, ERROR = "ok", "warning", "error"

ROLE = "LxcastPublish"
"""The role of the documentation's `pveum` commands."""


@dataclass(frozen=True, slots=True)
class Row:
    """One result of a check: `state` is ok, warning or error."""

    subject: str
    state: str
    message: str
    hint: str = ""
    api: bool = True
    """Whether an error is an ApiError, else a StorageError."""


@dataclass(slots=True)
class Preflight:
    """The results for one storage of one node."""

    ref: ProxmoxRef
    pull: bool = False
    rows: list[Row] = field(default_factory=list)
    release: str = ""
    nodes: tuple[str, ...] = ()
    """All nodes that are not offline: an upload's task runs on the node that was contacted, whatever its target."""
    shared: bool = False
    sees_tasks: bool = False
    """Whether the token sees the tasks of other users on all of these nodes."""
    confirms: bool = False
    """Whether the token may have the node compare a checksum, or download a file (download-url)."""

    @property
    def errors(self) -> list[Row]:
        """The rows that forbid an upload."""
        return [row for row in self.rows if row.state == ERROR]


def preflight(
    client: Client, ref: ProxmoxRef, *, suffix: str = ".tar.zst", size: int = 0, pull: bool = False
) -> Preflight:
    """Check everything that an upload of `size` bytes under a name with that suffix needs. Never raises ApiError.

    With `pull` the node downloads the file itself.
    """
    found = Preflight(ref, pull=pull)
    for subject, check in _CHECKS.items():
        try:
            found.rows += check(client, found, suffix, size)
        except ApiError as error:
            found.rows.append(Row(subject, ERROR, error.message, error.hint))
            if subject == "api":
                break
    return found


def refuse(found: Sequence[Preflight]) -> LxcastError | None:
    """Return one error that holds every problem of every target once; None if there is none."""
    rows = list(dict.fromkeys(row for each in found for row in each.errors))
    if not rows:
        return None
    kind: Callable[..., LxcastError] = ApiError if any(row.api for row in rows) else StorageError
    hints = list(dict.fromkeys(row.hint for row in rows if row.hint))
    return kind("\n".join(row.message for row in rows), hint="\n".join(hints))


def privileges(client: Client, path: str) -> set[str]:
    """Return the privileges of the token on a path of the permissions tree. Raises ApiError."""
    granted = client.get("/access/permissions", path=path).members()
    return {name for each in granted.values() for name in each.members()}


def _check_api(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    version = client.get("/version", patience=3)
    found.release = version["version"].text("") or version["release"].text("")
    # pve-storage 7.0-13 takes .tar.zst and checksums, 9.0.15 (Proxmox VE 9.1) plain .tar.
    needed = (9, 1) if suffix == ".tar" else (7, 1)
    try:
        have = tuple(int(part) for part in found.release.split(".")[:2])
    except ValueError:
        yield Row("api", WARNING, f"{client.profile.host}: unknown Proxmox VE version {found.release!r}")
        return
    if have < needed:
        wanted = ".".join(map(str, needed))
        what = "an OCI archive, or any plain .tar," if suffix == ".tar" else suffix
        yield Row(
            "api",
            ERROR,
            f"{client.profile.host} runs Proxmox VE {found.release}; {what} needs {wanted} or newer",
            "update the node" if needed == (7, 1) else "build another format (--format zst)",
        )
    else:
        yield Row("api", OK, f"Proxmox VE {found.release} at {client.profile.host}, token {client.profile.token_id}")


def _check_nodes(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    states = node_states(client)
    found.nodes = tuple(sorted(name for name, state in states.items() if state in ("online", UNKNOWN, "")))
    node = found.ref.node
    if node not in states:
        yield Row("node", ERROR, f"node {node!r} not found", f"the cluster has: {', '.join(sorted(states))}")
    elif node not in found.nodes:
        yield Row("node", ERROR, f"node {node} is {states[node]}", "start it, or leave it out")
    elif states[node] == UNKNOWN:
        yield Row("node", WARNING, f"node {node} reports no state", f"on {node}: systemctl restart pvestatd")
    else:
        yield Row("node", OK, f"{node} is online")


def _check_permissions(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    path = f"/storage/{found.ref.storage}"
    token, granted = client.profile.token_id, privileges(client, path)
    missing = [] if "Datastore.AllocateTemplate" in granted else ["Datastore.AllocateTemplate (to upload)"]
    if not granted & {"Datastore.Audit", "Datastore.AllocateSpace"}:
        missing.append("Datastore.Audit (to list templates)")
    if missing:
        yield Row(
            "permissions",
            ERROR,
            f"the token {token} lacks {' and '.join(missing)} on {path}",
            f"pveum acl modify {path} --tokens '{token}' --roles {ROLE} (and the same with --users for its user: a "
            "token has no more privileges than its user)",
        )
    else:
        yield Row("permissions", OK, f"the token may upload to {path} and list it")
    on_node = privileges(client, f"/nodes/{found.ref.node}")
    found.sees_tasks = all("Sys.Audit" in privileges(client, f"/nodes/{node}") for node in found.nodes)
    found.confirms = "Sys.AccessNetwork" in on_node or {"Sys.Audit", "Sys.Modify"} <= privileges(client, "/")
    hint = f"pveum acl modify /nodes --tokens '{token}' --roles {ROLE}"
    if not found.sees_tasks:
        yield Row(
            "tasks",
            WARNING,
            f"the token {token} cannot see tasks of other users: another upload of the same name would go unnoticed",
            hint,
        )
    if found.pull and not found.confirms:
        yield Row(
            "fetching",
            ERROR,
            f"the token {token} may not have node {found.ref.node} download a file: it lacks Sys.AccessNetwork",
            hint,
        )
    elif not found.confirms:
        yield Row(
            "checksums",
            WARNING,
            f"the token {token} may not have node {found.ref.node} compare a checksum: if the name already exists, "
            "only a record on this machine can prove that it is the same template",
            hint,
        )


def _check_storage(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    node, id = found.ref.node, found.ref.storage
    if found.nodes and node not in found.nodes:
        return
    storages = {each["storage"].text(): each for each in client.get(f"/nodes/{node}/storage").list()}
    state = storages.get(id)
    where = f"storage {id} on node {node}"
    if state is None:
        names = ", ".join(sorted(storages)) or "none"
        yield Row("storage", ERROR, f"{where} not found, or not visible to the token", f"visible: {names}", api=False)
        return
    found.shared = bool(state["shared"].number(0))
    contents = state["content"].text("").split(",")
    problems = []
    if "vztmpl" not in contents:
        hint = f"pvesm set {id} --content {','.join(sorted({*filter(None, contents), 'vztmpl'}))}"
        problems.append(
            Row("storage", ERROR, f"{where} does not accept templates (content: {','.join(contents)})", hint, False)
        )
    if not state["enabled"].number(1):
        problems.append(Row("storage", ERROR, f"{where} is disabled", f"pvesm set {id} --disable 0", False))
    elif not state["active"].number(1):
        problems.append(
            Row("storage", ERROR, f"{where} is not active", "check that it is mounted and its server is up", False)
        )
    elif (free := state["avail"].number(0)) < size:
        hint = "remove templates that are no longer used, or choose another storage"
        problems.append(Row("storage", ERROR, f"{where} is full: {free} bytes free, {size} needed", hint, False))
    yield from problems or [Row("storage", OK, f"{where}: {state['avail'].number(0)} bytes free, accepts templates")]


def _check_temporary_space(client: Client, found: Preflight, suffix: str, size: int) -> Iterator[Row]:
    """Compare the room for the copy in /var/tmp of the contacted node (AnyEvent.pm, get_upload_filename).

    If it is full the server closes the connection without a reply. /var/tmp is usually on the root file system.
    """
    if found.pull or not size:
        return
    try:
        # Every node answers for "localhost" itself (PVE/HTTPServer.pm); needs Sys.Audit on its path.
        free = client.get("/nodes/localhost/status", patience=0)["rootfs"]["avail"].number()
    except ApiError:
        return
    if free < size:
        yield Row(
            "temporary",
            ERROR,
            f"{client.profile.host} has too little space in /var/tmp: {amount(free)} free on its root file system, "
            f"the upload needs {amount(size)}",
            "free space there, contact another node (PM_API_URL), or let the node download the file (--get-url)",
            False,
        )


_CHECKS: dict[str, Callable[[Client, Preflight, str, int], Iterator[Row]]] = {
    "api": _check_api,
    "nodes": _check_nodes,
    "permissions": _check_permissions,
    "storage": _check_storage,
    "temporary": _check_temporary_space,
}
