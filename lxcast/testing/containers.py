"""Containers, as a Terraform provider needs them: their configuration is kept, nothing is unpacked or started."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .access import Needs
from .api import Call, Context, Parameter
from .storage import FILE_BASED, FOLDERS, die, ready, wrong
from .tasks import Task, TaskError

# Create.pm: the name decides how tar is called, in lower case only.
ARCHIVE = re.compile(r".*\.(?:tar|tar\.(?:gz|xz|zst|bz2)|tgz)")
# Said when a container is made, and no part of its configuration.
ONCE = (
    *("ostemplate", "password", "ssh-public-keys", "start", "storage", "pool", "force", "restore", "unique", "vmid"),
    *("ignore-unpack-errors", "bwlimit", "node"),
)
DEFAULTS = {"memory": "512", "swap": "512", "arch": "amd64", "ostype": "debian", "unprivileged": "1"}
NUMBERS = ("memory", "swap", "cores", "unprivileged", "onboot", "protection", "tty", "console", "template", "cpuunits")


@dataclass
class Container:
    """A container: its node, whether it runs, and its configuration as strings."""

    vmid: int
    node: str
    configuration: dict[str, str] = field(default_factory=dict)
    running: bool = False
    template: str = ""

    def summary(self) -> dict[str, Any]:
        """Give the fields that every list has."""
        told: dict[str, Any] = {
            "vmid": self.vmid,
            "node": self.node,
            "status": "running" if self.running else "stopped",
        }
        told |= {"name": self.configuration.get("hostname", f"CT{self.vmid}")}
        return told | ({"tags": self.configuration["tags"]} if "tags" in self.configuration else {})

    def show(self) -> dict[str, Any]:
        """Give the configuration as GET config does."""
        text = json.dumps(self.configuration, sort_keys=True)
        shown: dict[str, Any] = {
            name: int(value) if name in NUMBERS else value for name, value in self.configuration.items()
        }
        if "description" in shown:
            # It is kept as comment lines, each with its end (PVE/LXC/Config.pm, parse_pct_config).
            shown["description"] = f"{shown['description'].rstrip()}\n"
        return shown | {"digest": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}


def asked(context: Context, privilege: str) -> Container:
    """Find the container that a path names; raises RefusedError."""
    vmid, node = context.parameters["vmid"], context.parameters["node"]
    context.require(f"/vms/{vmid}", privilege)
    container = context.cluster.containers.get(int(vmid))
    if container is None or container.node != node:
        raise die(f"Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist")
    return container


def create(context: Context) -> str:
    """Make a container from a template that must be there."""
    cluster, given, node = context.cluster, context.parameters, context.parameters["node"]
    vmid = int(given["vmid"])
    if vmid in cluster.containers:
        raise die(f"unable to create CT {vmid} - CT {vmid} already exists on node '{cluster.containers[vmid].node}'")
    if given.get("unprivileged", "1") == "0":
        context.require("/", "Sys.Modify")
    context.require(f"/vms/{vmid}", "VM.Allocate")
    storage_id, _, volume = given["ostemplate"].partition(":")
    if not volume.startswith("vztmpl/"):
        raise die(f"unable to use volume {given['ostemplate']} - content type needs to be 'vztmpl'")
    context.require(f"/storage/{storage_id}", "Datastore.AllocateSpace", "Datastore.Audit", any=True)
    source = ready(cluster.storages, storage_id, node)
    disk, size, options = parse_rootfs(given)
    target = ready(cluster.storages, disk, node)
    if "rootdir" not in target.content:
        raise wrong(storage=f"storage '{disk}' does not support container directories")
    context.require(f"/storage/{disk}", "Datastore.AllocateSpace")
    configuration = {name: written(name, value, vmid) for name, value in given.items() if name not in ONCE}
    volume_name = f"{vmid}/vm-{vmid}-disk-0.raw" if target.type in FILE_BASED else f"vm-{vmid}-disk-0"
    container = Container(
        vmid, node, {**DEFAULTS, **configuration, "rootfs": f"{disk}:{volume_name}{options},size={size}G"}
    )
    container.template = given["ostemplate"]
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
        container.running = given.get("start") == "1"

    return cluster.tasks.start(node, "vzcreate", str(vmid), context.token.id, work).upid


def parse_rootfs(given: Mapping[str, str]) -> tuple[str, str, str]:
    """Take the storage, the size in GiB and the other options (",acl=1") of a root file system that is to be made.

    It is STORAGE:SIZE or SIZE on the default storage, after "volume=" or not; without one, 4 GiB.
    """
    volume, *options = given.get("rootfs", "4").split(",")
    volume = volume.removeprefix("volume=")
    disk, colon, size = volume.partition(":")
    if not colon:
        disk, size = given.get("storage", "local"), volume
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
    container = asked(context, "VM.Config.Options")
    given = {name: value for name, value in context.parameters.items() if name not in (*ONCE, "digest")}
    for name in re.split("[,; ]", given.pop("delete", "")):
        container.configuration.pop(name, None)
    container.configuration |= {name: written(name, value, container.vmid) for name, value in given.items()}


def current(context: Context) -> dict[str, Any]:
    """Show a container's state; sizes in bytes."""
    container = asked(context, "VM.Audit")
    memory, swap = (int(container.configuration[name]) * 2**20 for name in ("memory", "swap"))
    sizes = {"maxmem": memory, "maxswap": swap, "maxdisk": 4 * 2**30, "cpus": 1, "uptime": int(container.running)}
    return container.summary() | sizes | {"type": "lxc"}


def interfaces(context: Context) -> list[dict[str, Any]]:
    """Show the addresses of a container that runs, from its configuration."""
    container = asked(context, "VM.Audit")
    if not container.running:
        raise die(f"CT {container.vmid} not running")
    found = []
    for name, value in container.configuration.items():
        options = dict(each.partition("=")[::2] for each in value.split(",")) if re.fullmatch(r"net\d+", name) else {}
        address, _, prefix = options.get("ip", "").partition("/")
        if prefix:
            told = {"ip-address": address, "prefix": int(prefix), "ip-address-type": "inet"}
            found.append({"name": options["name"], "hardware-address": options["hwaddr"], "ip-addresses": [told]})
    return found


def power(context: Context) -> str:
    """Start or stop a container."""
    container, action = asked(context, "VM.PowerMgmt"), context.parameters["action"]
    if action not in ("start", "stop", "shutdown", "reboot"):
        raise die(f"Method 'POST status/{action}' not implemented")

    def work(task: Task) -> None:
        container.running = action in ("start", "reboot")

    kind = f"vz{action}"
    return context.cluster.tasks.start(container.node, kind, str(container.vmid), context.token.id, work).upid


def destroy(context: Context) -> str:
    """Destroy a container that is stopped, or any with `force`."""
    container = asked(context, "VM.Allocate")
    if container.running and context.parameters.get("force") != "1":
        raise die(f"unable to destroy CT {container.vmid} - container is running")

    def work(task: Task) -> None:
        del context.cluster.containers[container.vmid]

    return context.cluster.tasks.start(container.node, "vzdestroy", str(container.vmid), context.token.id, work).upid


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
    Call("DELETE", f"{LXC}/{{vmid}}", "Destroy it (task vzdestroy)", destroy, needs=ALLOCATE, open=True),
)
