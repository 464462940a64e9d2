"""Calls on the cluster, its nodes, their tasks, and the caller's own privileges."""

from typing import Any

from .access import Needs
from .api import Call, Context, Counted, Parameter
from .storage import wrong
from .tasks import UPID, Task


def version(context: Context) -> dict[str, str]:
    """Tell the server's version."""
    release = context.cluster.release
    return {"version": release, "release": release.rpartition(".")[0], "repoid": "4b1ac8dd63a1d6e0"}


def state(context: Context, node: str) -> str:
    """Name a node's state; one whose pvestatd does not report is unknown (pve-manager, PVE/API2Tools.pm)."""
    if not context.cluster.is_up(node):
        return "offline"
    return "unknown" if node in context.cluster.faults.unreported else "online"


def nodes(context: Context) -> list[dict[str, Any]]:
    """List the nodes; the fingerprint is that of the certificate which all of them show."""
    return [
        {
            "node": node,
            "type": "node",
            "id": f"node/{node}",
            "status": state(context, node),
            "level": "",
            "ssl_fingerprint": context.cluster.certificate.fingerprint,
        }
        for node in context.cluster.nodes
    ]


def node_status(context: Context) -> dict[str, Any]:
    """Show a node's root file system, which holds /var/tmp, and its version."""
    free = context.cluster.faults.temporary_space
    total = 100 * 2**30
    free = total // 2 if free is None else free
    root = {"total": total, "used": total - free, "free": free, "avail": free}
    return {"rootfs": root, "pveversion": f"pve-manager/{context.cluster.release}/4b1ac8dd63a1d6e0", "uptime": 86400}


def network(context: Context) -> list[dict[str, Any]]:
    """List the bridges of a node that the caller may use (pve-manager, PVE/API2/Network.pm)."""
    cluster = context.cluster
    return [
        {"iface": bridge, "type": "bridge", "active": 1}
        for bridge in cluster.bridges
        if context.has(f"/sdn/zones/localnetwork/{bridge}", "SDN.Use")
        or context.has(f"/sdn/zones/localnetwork/{bridge}", "SDN.Audit")
    ]


def cluster_status(context: Context) -> list[dict[str, Any]]:
    """Show whether the cluster has a quorum."""
    quorate = int(context.cluster.faults.quorate)
    return [{"type": "cluster", "name": "test", "quorate": quorate, "nodes": len(context.cluster.nodes)}]


def resources(context: Context) -> list[dict[str, Any]]:
    """List storages, nodes and containers as one table."""
    cluster, found = context.cluster, []
    for node in cluster.nodes:
        online = cluster.is_up(node)
        found.append({"type": "node", "id": f"node/{node}", "node": node, "status": "online" if online else "offline"})
        for storage in cluster.storages.values():
            may = context.has(f"/storage/{storage.id}", "Datastore.Audit")
            # pve-manager leaves disabled storages out (API2Tools.pm, extract_storage_stats).
            if not may or not storage.enabled or not storage.is_on(node):
                continue
            told: dict[str, Any] = {"type": "storage", "id": f"storage/{node}/{storage.id}", "storage": storage.id}
            told |= {"node": node, "plugintype": storage.type, "content": ",".join(storage.content)}
            told |= {"shared": int(storage.shared), "status": "available" if online else "unknown"}
            if online:
                told |= {"maxdisk": storage.total, "disk": storage.used(node)}
            found.append(told)
    found += [
        {"type": "lxc", "id": f"lxc/{container.vmid}", **container.summary()}
        for container in cluster.containers.values()
        if context.has(f"/vms/{container.vmid}", "VM.Audit")
    ]
    wanted = {"vm": "lxc"}.get(context.parameters.get("type", ""), context.parameters.get("type"))
    return [each for each in found if wanted in (None, each["type"])]


def next_id(context: Context) -> str:
    """Give the lowest free id, as a string."""
    asked = context.parameters.get("vmid")
    if asked:
        if int(asked) in context.cluster.containers:
            raise wrong(vmid=f"VM {asked} already exists")
        return asked
    return str(next(vmid for vmid in range(100, 10**9) if vmid not in context.cluster.containers))


def permissions(context: Context) -> dict[str, dict[str, int]]:
    """Show the caller's privileges: on one path, or on every path of the list."""
    access, path = context.cluster.access, context.parameters.get("path")
    paths = [path] if path else sorted({"/", *(entry.path for entry in access.acl)})
    told = {each: access.privileges(context.token, each) for each in paths}
    return {
        each: {name: int(propagate) for name, propagate in sorted(privileges.items())}
        for each, privileges in told.items()
        if privileges or path
    }


def asked_task(context: Context) -> Task:
    """Find the task that a path names, of the caller's own or with Sys.Audit."""
    upid, node = context.parameters["upid"], context.parameters["node"]
    if not UPID.fullmatch(upid):
        raise wrong(upid="unable to parse worker upid")
    task = context.cluster.tasks.find(upid)
    if task is None or task.node != node:
        raise wrong(upid="no such task")
    if not task.belongs_to(context.token):
        context.require(f"/nodes/{node}", "Sys.Audit")
    return task


def task_status(context: Context) -> dict[str, Any]:
    """Show a task's state; exitstatus is there once it stopped."""
    task = asked_task(context)
    stopped = task.done.is_set()
    return task.describe() | (
        {"status": "stopped", "exitstatus": task.exitstatus} if stopped else {"status": "running"}
    )


def task_log(context: Context) -> Counted:
    """Show lines of a task's log, 50 where no limit is given and all for 0."""
    lines = [*asked_task(context).log]
    start, limit = (int(context.parameters.get(name, default)) for name, default in (("start", 0), ("limit", 50)))
    shown = [{"n": number, "t": text} for number, text in enumerate(lines, 1)][start:]
    return Counted((shown[:limit] if limit else shown) or [{"n": 1, "t": "no content"}], len(lines))


def task_list(context: Context) -> Counted:
    """List a node's tasks, the newest first: ended ones where no source is given."""
    asked, node = context.parameters, context.parameters["node"]
    auditor = context.has(f"/nodes/{node}", "Sys.Audit")
    found = [
        task
        for task in context.cluster.tasks.listed(node, asked.get("source", "archive"))
        if (auditor or task.belongs_to(context.token))
        and asked.get("typefilter", task.type) == task.type
        and asked.get("userfilter", "").lower() in task.owner()["user"].lower()
        and asked.get("vmid", task.id) == task.id
        and int(asked.get("since", 0)) <= task.starttime <= int(asked.get("until", task.starttime))
        and not (asked.get("errors") == "1" and task.exitstatus == "OK")
    ]
    start, limit = (int(asked.get(name, default)) for name, default in (("start", 0), ("limit", 50)))
    shown = [
        task.describe()
        | ({"endtime": task.endtime, "status": task.exitstatus} if task.done.is_set() else {"status": "RUNNING"})
        for task in found[start : start + limit]
    ]
    return Counted(shown, len(found))


WHOLE = r"\d+"
AUDIT = Needs("/nodes/{node}", ("Sys.Audit",))
PAGE = (Parameter("start", pattern=WHOLE), Parameter("limit", pattern=WHOLE))
CALLS = (
    Call("GET", "/version", "The server's version", version),
    Call("GET", "/nodes", "The nodes", nodes),
    Call("GET", "/nodes/{node}/status", "A node's state", node_status, needs=((AUDIT,),)),
    Call(
        "GET",
        "/cluster/resources",
        "Storages, nodes and containers",
        resources,
        parameters=(Parameter("type", choices=("vm", "storage", "node", "sdn")),),
    ),
    Call("GET", "/nodes/{node}/network", "A node's bridges", network, parameters=(Parameter("type"),)),
    Call("GET", "/cluster/status", "The cluster's quorum", cluster_status, needs=((Needs("/", ("Sys.Audit",)),),)),
    Call("GET", "/cluster/nextid", "A free id", next_id, parameters=(Parameter("vmid", pattern=WHOLE),)),
    Call(
        "GET",
        "/access/permissions",
        "The caller's privileges",
        permissions,
        parameters=(Parameter("path", pattern="/.*"),),
    ),
    Call(
        "GET",
        "/nodes/{node}/tasks",
        "A node's tasks",
        task_list,
        parameters=(
            *PAGE,
            Parameter("since", pattern=WHOLE),
            Parameter("until", pattern=WHOLE),
            Parameter("source", choices=("archive", "active", "all")),
            *map(Parameter, ("typefilter", "userfilter", "vmid", "errors")),
        ),
    ),
    Call("GET", "/nodes/{node}/tasks/{upid}/status", "A task's state", task_status),
    Call("GET", "/nodes/{node}/tasks/{upid}/log", "A task's log", task_log, parameters=PAGE),
)
