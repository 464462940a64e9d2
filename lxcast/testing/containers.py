"""Containers as the API shows them: their configuration is kept, nothing is unpacked or started.

The rules of privileges, locks and volumes are those of pve-container, PVE/API2/LXC.pm and PVE/LXC.pm.
"""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .access import Needs
from .answer import RefusedError, as_json
from .api import Call, Context, Parameter
from .state import Container
from .storage import FILE_BASED, FOLDERS, die, ready, wrong
from .tasks import Task, TaskError

# Create.pm: the name decides how tar is called, in lower case only.
ARCHIVE = re.compile(r".*\.(?:tar|tar\.(?:gz|xz|zst|bz2)|tgz)")
# Parameters of the create call that are no part of the configuration.
ONCE = (
    *("ostemplate", "password", "ssh-public-keys", "start", "storage", "pool", "force", "restore", "unique", "vmid"),
    *("ignore-unpack-errors", "bwlimit", "node", "debug", "skiplock"),
)
DEFAULTS = {"memory": "512", "swap": "512", "arch": "amd64", "ostype": "debian", "unprivileged": "1"}
ROOT = "root@pam"
# PVE/LXC.pm, check_ct_modify_config_perm: the privilege on /vms/ID for each key; the others need VM.Config.Options.
PRIVILEGES = (
    (re.compile("cores|cpuunits|cpulimit"), "VM.Config.CPU"),
    (re.compile(r"rootfs|mp\d+|unused\d+"), "VM.Config.Disk"),
    (re.compile("memory|swap"), "VM.Config.Memory"),
    (re.compile(r"net\d+|nameserver|searchdomain|hostname"), "VM.Config.Network"),
)
MOUNTS = re.compile(r"rootfs|mp\d+")


def asked(context: Context, privilege: str) -> Container:
    """Find the container that a path names; raises RefusedError."""
    vmid, node = context.parameters["vmid"], context.parameters["node"]
    context.require(f"/vms/{vmid}", privilege)
    container = context.cluster.containers.get(int(vmid))
    if container is None or container.node != node:
        raise die(f"Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist")
    return container


def forbidden(message: str) -> RefusedError:
    """Refuse a call that the caller lacks a privilege for."""
    return RefusedError(as_json(403, None, f"Permission check failed ({message})\n"))


def check_changes(context: Context, vmid: int, given: Mapping[str, str], *, unprivileged: bool, pool: str = "") -> None:
    """Refuse settings that the caller may not change (PVE/LXC.pm, check_ct_modify_config_perm).

    A token is never root@pam, also not one of root's.
    """
    if context.token.id == ROOT:
        return
    for key, value in given.items():
        if key == "features":
            if not unprivileged:
                raise forbidden("changing feature flags for privileged container is only allowed for root@pam")
            if any(each.partition("=")[0] != "nesting" for each in value.split(",")):
                raise forbidden("changing feature flags (except nesting) is only allowed for root@pam")
            require_on(context, vmid, pool, "VM.Allocate")
        elif re.fullmatch(r"dev\d+", key) or key == "hookscript" or key == "skiplock":
            raise forbidden(f"{key}: only root@pam can set it")
        elif MOUNTS.fullmatch(key) and value.removeprefix("volume=").startswith("/"):
            raise forbidden(f"mount point type bind is only allowed for root@pam: {key}")
        elif key not in ("unprivileged", *ONCE):
            privilege = next((name for keys, name in PRIVILEGES if keys.fullmatch(key)), "VM.Config.Options")
            require_on(context, vmid, pool, privilege)
        if re.fullmatch(r"net\d+", key):
            bridge = dict(each.partition("=")[::2] for each in value.split(",")).get("bridge", "")
            context.require(f"/sdn/zones/localnetwork/{bridge}", "SDN.Use")


def require_on(context: Context, vmid: int, pool: str, privilege: str) -> None:
    """Refuse a caller without a privilege on a container, which its pool may grant."""
    if not (pool and context.has(f"/pool/{pool}", privilege)):
        context.require(f"/vms/{vmid}", privilege)


def create(context: Context) -> str:
    """Create a container from a template, which must exist."""
    cluster, given, node = context.cluster, context.parameters, context.parameters["node"]
    vmid, pool = int(given["vmid"]), given.get("pool", "")
    unprivileged = given.get("unprivileged", "1") != "0"
    require_on(context, vmid, pool, "VM.Allocate")
    if not unprivileged:
        context.require("/", "Sys.Modify")
    if any(re.fullmatch(r"mp\d+", key) for key in given) and "rootfs" not in given:
        raise wrong(rootfs="mount points configured, but 'rootfs' not set")
    check_changes(context, vmid, {key: value for key, value in given.items() if key not in ONCE},
                  unprivileged=unprivileged, pool=pool)  # fmt: skip
    storage_id, _, volume = given["ostemplate"].partition(":")
    if not volume.startswith("vztmpl/"):
        raise die(f"unable to use volume {given['ostemplate']} - content type needs to be 'vztmpl'")
    context.require(f"/storage/{storage_id}", "Datastore.AllocateSpace", "Datastore.Audit", any=True)
    source = ready(cluster.storages, storage_id, node)
    for bridge in bridges(given):
        if bridge not in cluster.bridges:
            raise die(f"bridge '{bridge}' does not exist")
    configuration = {name: written(name, value, vmid) for name, value in given.items() if name not in ONCE}
    configuration |= dict(new_volumes(context, vmid))
    with cluster.tasks.lock:  # the one claim of an id
        if vmid in cluster.containers:
            owner = cluster.containers[vmid].node
            raise die(f"unable to create CT {vmid} - CT {vmid} already exists on node '{owner}'")
        container = Container(vmid, node, {"hostname": f"CT{vmid}", **DEFAULTS, **configuration, "lock": "create"})
        container.template, container.pool = given["ostemplate"], pool
        cluster.containers[vmid] = container
    file = source.folder(node) / volume.removeprefix("vztmpl/")

    def work(task: Task) -> None:
        try:
            if not file.is_file():
                raise TaskError(f"volume '{given['ostemplate']}' does not exist")
            if not ARCHIVE.fullmatch(file.name):
                raise TaskError(f"file does not look like a template archive: {file}")
        except TaskError as error:
            del cluster.containers[vmid]
            raise TaskError(f"unable to create CT {vmid} - {error}") from error
        task.log += [f"extracting archive '{source.mounted}/{FOLDERS['vztmpl']}/{file.name}'"]
        task.log += [f"Detected container architecture: {DEFAULTS['arch']}"]
        container.configuration |= image_settings(file)
        if not task.fault.killed:
            del container.configuration["lock"]
            container.running = given.get("start") == "1"

    def failed() -> None:
        """Remove what the worker made, as it does itself when it fails."""
        cluster.containers.pop(vmid, None)

    return cluster.tasks.start(node, "vzcreate", str(vmid), context.token.id, work, failed).upid


def bridges(given: Mapping[str, str]) -> Iterator[str]:
    """Yield the bridges of the interfaces."""
    for key, value in given.items():
        if re.fullmatch(r"net\d+", key):
            yield dict(each.partition("=")[::2] for each in value.split(",")).get("bridge", "")


def new_volumes(context: Context, vmid: int) -> Iterator[tuple[str, str]]:
    """Yield the root file system and the mount points that are new volumes, each with its storage's privilege."""
    given, cluster = context.parameters, context.cluster
    for number, key in enumerate(["rootfs", *(each for each in given if re.fullmatch(r"mp\d+", each))]):
        value = given.get(key, "4").removeprefix("volume=")
        if value.startswith("/") or (key != "rootfs" and not re.match(r"[^:,]+:\d+(,|$)", value)):
            continue  # a directory of the node, or an existing volume
        disk, size, options = parse_volume(value, given.get("storage", "local"))
        target = ready(cluster.storages, disk, given["node"])
        if "rootdir" not in target.content:
            raise wrong(storage=f"storage '{disk}' does not support container directories")
        context.require(f"/storage/{disk}", "Datastore.AllocateSpace")
        name = f"vm-{vmid}-disk-{number}"
        volume = f"{vmid}/{name}.raw" if target.type in FILE_BASED else name
        yield key, f"{disk}:{volume}{options},size={size}G"


def image_settings(file: Path) -> dict[str, str]:
    """Return what the image of an OCI archive sets, over what the call gave (PVE/LXC/Create.pm, restore_oci_archive).

    It is recognized by its members, in a file that ends in .tar.
    """
    if not file.name.endswith(".tar") or not tarfile.is_tarfile(file):
        return {}
    with tarfile.open(file) as archive:
        names = archive.getnames()
        if not {"oci-layout", "index.json"} <= {*names}:
            return {}

        def read(name: str) -> Any:
            member = archive.extractfile(name)
            return json.loads(member.read()) if member else {}

        def blob(digest: str) -> Any:
            return read(f"blobs/{digest.replace(':', '/')}")

        config = blob(blob(read("index.json")["manifests"][0]["digest"])["config"]["digest"]).get("config", {})
    process = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    told = {"env": "\0".join(config.get("Env") or []), "entrypoint": " ".join(process)}
    return {key: value for key, value in told.items() if value}


def parse_volume(value: str, default: str) -> tuple[str, str, str]:
    """Return storage, size in GiB and the other options (",acl=1") of a volume that is to be created.

    It is STORAGE:SIZE, or SIZE on the default storage.
    """
    volume, *options = value.split(",")
    disk, colon, size = volume.partition(":")
    if not colon:
        disk, size = default, volume
    return disk, size, "".join(f",{option}" for option in options if not option.startswith("size="))


def written(name: str, value: str, vmid: int) -> str:
    """Return a setting as Proxmox keeps it.

    An interface gets an address and the type; a mount point has the volume first, without its key (PVE/JSONSchema.pm,
    print_property_string).
    """
    if re.fullmatch(r"mp\d+", name):
        options = value.split(",")
        volumes = [each for each in options if each.startswith("volume=") or "=" not in each]
        rest = sorted(each for each in options if each not in volumes)
        return ",".join([*(each.removeprefix("volume=") for each in volumes), *rest])
    if not re.fullmatch(r"net\d+", name):
        return value
    added = (
        "" if "hwaddr=" in value else f",hwaddr=BC:24:11:{vmid >> 16 & 255:02X}:{vmid >> 8 & 255:02X}:{vmid & 255:02X}"
    )
    return value + added + ("" if "type=" in value else ",type=veth")


def containers(context: Context) -> list[dict[str, Any]]:
    """List a node's containers."""
    here = [each for each in context.cluster.containers.values() if each.node == context.parameters["node"]]
    return [each.summary() for each in here if context.has(f"/vms/{each.vmid}", "VM.Audit")]


def config(context: Context) -> dict[str, Any]:
    """Show a container's configuration."""
    return asked(context, "VM.Audit").show()


def change(context: Context) -> None:
    """Change a container's configuration."""
    container = asked(context, "VM.Audit")
    given = {name: value for name, value in context.parameters.items() if name not in (*ONCE, "digest")}
    deleted = [name for name in re.split("[,; ]", given.pop("delete", "")) if name]
    unprivileged = container.configuration.get("unprivileged") == "1"
    check_changes(context, container.vmid, given | dict.fromkeys(deleted, ""), unprivileged=unprivileged,
                  pool=container.pool)  # fmt: skip
    refuse_locked(container)
    for name in deleted:
        container.configuration.pop(name, None)
    container.configuration |= {name: written(name, value, container.vmid) for name, value in given.items()}


def refuse_locked(container: Container) -> None:
    """Refuse to touch a container that a task has locked, or one that was killed."""
    if lock := container.configuration.get("lock"):
        raise die(f"CT is locked ({lock})")


def current(context: Context) -> dict[str, Any]:
    """Show a container's state; sizes in bytes."""
    container = asked(context, "VM.Audit")
    memory, swap = (int(container.configuration[name]) * 2**20 for name in ("memory", "swap"))
    sizes = {"maxmem": memory, "maxswap": swap, "maxdisk": 4 * 2**30, "cpus": 1, "uptime": int(container.running)}
    return container.summary() | sizes | {"type": "lxc"}


def interfaces(context: Context) -> list[dict[str, Any]]:
    """Show the addresses of a running container: those of its configuration, else one that a DHCP server gave."""
    container = asked(context, "VM.Audit")
    if not container.running:
        raise die(f"CT {container.vmid} not running")
    found: list[dict[str, Any]] = []
    for name, value in container.configuration.items():
        options = dict(each.partition("=")[::2] for each in value.split(",")) if re.fullmatch(r"net\d+", name) else {}
        address, _, prefix = options.get("ip", "").partition("/")
        if address == "dhcp" and context.cluster.faults.dhcp:
            address, prefix = f"192.0.2.{container.vmid % 250 + 1}", "24"
        if prefix:
            told = {"ip-address": address, "prefix": int(prefix), "ip-address-type": "inet"}
            found.append({"name": options["name"], "hardware-address": options["hwaddr"], "ip-addresses": [told]})
    return found


def power(context: Context) -> str:
    """Start or stop a container."""
    container, action = asked(context, "VM.PowerMgmt"), context.parameters["action"]
    if action not in ("start", "stop", "shutdown", "reboot"):
        raise die(f"Method 'POST status/{action}' not implemented")
    refuse_locked(container)
    if action == "start" and container.running:
        raise die(f"CT {container.vmid} already running")
    debug = context.parameters.get("debug") == "1"

    def work(task: Task) -> None:
        container.running = action in ("start", "reboot") and not context.cluster.faults.exits

    def failed() -> None:
        """Nothing is left to clean up; with `debug` LXC's log is part of the task's."""

    kind = f"vz{action}"
    task = context.cluster.tasks.start(container.node, kind, str(container.vmid), context.token.id, work, failed)
    if debug:
        task.log.insert(0, f"lxc-start: {container.vmid}: ../src/lxc/start.c: lxc_init: log of a start with debug")
    return task.upid


def destroy(context: Context) -> str:
    """Destroy a container that is stopped, or any with `force`."""
    container = asked(context, "VM.Allocate")
    if container.configuration.get("protection") == "1":
        raise die(f"can't remove CT {container.vmid} - protection mode enabled")
    refuse_locked(container)
    if container.running and context.parameters.get("force") != "1":
        raise die(f"unable to destroy CT {container.vmid} - container is running")

    def work(task: Task) -> None:
        del context.cluster.containers[container.vmid]

    return context.cluster.tasks.start(container.node, "vzdestroy", str(container.vmid), context.token.id, work).upid


def move_volume(context: Context) -> str:
    """Move a volume to another container of the node; both are stopped (PVE/API2/LXC.pm, move_volume)."""
    container, given = asked(context, "VM.Config.Disk"), context.parameters
    if "target-vmid" not in given:
        raise wrong(**{"target-vmid": "moving to another storage is not part of the stand-in"})
    target = context.cluster.containers.get(int(given["target-vmid"]))
    context.require(f"/vms/{given['target-vmid']}", "VM.Config.Disk")
    key, target_key = given["volume"], given.get("target-volume", given["volume"])
    if target is None or target.node != container.node:
        raise die(f"Configuration file 'nodes/{container.node}/lxc/{given['target-vmid']}.conf' does not exist")
    for each in (container, target):
        refuse_locked(each)
        if each.running:
            raise die(f"CT {each.vmid} must be shut down to move a volume")
    if not re.fullmatch(r"mp\d+", key) or key not in container.configuration:
        raise die(f"volume '{key}' is not usable or does not exist")
    if container.configuration[key].startswith("/"):
        raise die("bind mounts cannot be moved")
    if target_key in target.configuration:
        raise die(f"target volume key '{target_key}' is already in use")

    def work(task: Task) -> None:
        value = container.configuration.pop(key)
        moved = re.sub(rf"^([^:]+:)(?:\d+/)?vm-{container.vmid}-", rf"\g<1>vm-{target.vmid}-", value)
        target.configuration[target_key] = moved

    id = str(container.vmid)
    return context.cluster.tasks.start(container.node, "move_volume", id, context.token.id, work).upid


LXC = "/nodes/{node}/lxc"
ALLOCATE = ((Needs("/vms/{vmid}", ("VM.Allocate",)),),)
CALLS = (
    Call("GET", LXC, "A node's containers", containers),
    Call(
        "POST",
        LXC,
        "Make a container (task vzcreate)",
        create,
        parameters=(
            Parameter("vmid", required=True, pattern=r"\d{3,9}"),
            Parameter("ostemplate", True, max_length=255),
        ),
        open=True,
    ),
    Call("GET", f"{LXC}/{{vmid}}/config", "A container's configuration", config),
    Call("PUT", f"{LXC}/{{vmid}}/config", "Change it", change, open=True),
    Call("GET", f"{LXC}/{{vmid}}/status/current", "A container's state", current),
    Call("GET", f"{LXC}/{{vmid}}/interfaces", "A container's addresses", interfaces),
    Call("POST", f"{LXC}/{{vmid}}/status/{{action}}", "Start or stop it", power, open=True),
    Call(
        "POST",
        f"{LXC}/{{vmid}}/move_volume",
        "Move a volume to another container (task move_volume)",
        move_volume,
        parameters=(Parameter("volume", required=True), *map(Parameter, ("target-vmid", "target-volume", "digest"))),
    ),
    Call("DELETE", f"{LXC}/{{vmid}}", "Destroy it (task vzdestroy)", destroy, needs=ALLOCATE, open=True),
)
