"""What creating a container on a Proxmox node needs: privileges, and checks before anything is created."""

import re
from collections.abc import Callable, Iterator, Mapping

from lxcast.containers.backend import Finding
from lxcast.containers.spec import ContainerSpec
from lxcast.errors import ApiError
from lxcast.progress import amount
from lxcast.proxmox.client import Client
from lxcast.proxmox.nodes import OFFLINE, UNKNOWN, node_states
from lxcast.proxmox.preflight import privileges

# pve-container, PVE/LXC.pm, check_ct_modify_config_perm; every other parameter needs VM.Config.Options.
_PRIVILEGES = (
    (re.compile("cores|cpulimit|cpuunits"), "VM.Config.CPU"),
    (re.compile(r"rootfs|mp\d+"), "VM.Config.Disk"),
    (re.compile("memory|swap"), "VM.Config.Memory"),
    (re.compile(r"net\d+|nameserver|searchdomain|hostname"), "VM.Config.Network"),
)
# Covered by VM.Allocate, or no part of the configuration.
_FREE = ("features", "pool", "unprivileged", "ssh-public-keys")

_MACHINES = {"amd64": "x86_64", "i386": "x86_64", "arm64": "aarch64", "armhf": "aarch64", "riscv64": "riscv64"}
"""Architecture -> machine of a node that can run it."""

Result = Iterator[Finding]


def privileges_of(spec: ContainerSpec, given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the privileges that create, start, verification and removal need, each with its path."""
    vms = f"/pool/{spec.pool}" if spec.pool else f"/vms/{spec.vmid or 'ID'}"
    names = {"VM.Allocate", "VM.Audit", "VM.PowerMgmt"}
    for key in given:
        if key not in _FREE:
            names.add(next((name for keys, name in _PRIVILEGES if keys.fullmatch(key)), "VM.Config.Options"))
    found = [(vms, name) for name in sorted(names)]
    storages = {spec.disk_storage, *(each.volume.partition(":")[0] for each in spec.mounts if not each.is_bind)}
    found += [(f"/storage/{each}", "Datastore.AllocateSpace") for each in sorted(storages)]
    template = spec.ostemplate.partition(":")[0]
    if template not in storages:
        found.append((f"/storage/{template}", "Datastore.Audit"))
    found += [(f"/sdn/zones/localnetwork/{each}", "SDN.Use") for each in sorted({n.bridge for n in spec.networks})]
    if not spec.unprivileged:
        found.append(("/", "Sys.Modify"))
    return found


def root_only(spec: ContainerSpec) -> list[tuple[str, str]]:
    """Return what only root@pam may set, and no token, each with the command for root on the node."""
    id = spec.vmid or "ID"
    found = []
    features = ",".join(spec.features)
    if spec.features and not spec.unprivileged:
        found.append((f"features {features} of a privileged container", f"pct set {id} --features {features}"))
    elif others := [each for each in spec.features if each.partition("=")[0] != "nesting"]:
        found.append((f"features {','.join(others)}", f"pct set {id} --features {features}"))
    for number, each in enumerate(spec.mounts):
        if each.is_bind:
            found.append((f"bind mount of {each.volume}", f"pct set {id} --mp{number} '{each.to_property()}'"))
    lines = [*(spec.process.lxc_settings() if spec.process else ()), *spec.limits]
    for key, value in lines:
        if key not in ("lxc.environment", "lxc.signal.halt"):  # the API sets variables, and a warning names the signal
            found.append((f"{key} = {value}", f"echo '{key}: {value}' >> /etc/pve/lxc/{id}.conf"))
    return found


def preflight(
    client: Client, node: str, spec: ContainerSpec, given: Mapping[str, str], template_size: int
) -> list[Finding]:
    """Check everything that the create needs. A question that the server refuses is reported as unchecked."""
    context = _Context(client, node, spec, given, template_size)
    found: list[Finding] = []
    for subject, check in _CHECKS.items():
        try:
            found += check(context)
        except ApiError as error:
            refused = error.status in (403, 501)
            state = "unchecked" if refused else "error"
            message = f"not checked, the server refuses the question: {error.message}" if refused else error.message
            found.append(Finding(subject, state, message, "" if refused else error.hint))
            if not error.status:
                break  # the server cannot be reached
    return found


class _Context:
    def __init__(
        self, client: Client, node: str, spec: ContainerSpec, given: Mapping[str, str], template_size: int
    ) -> None:
        self.client, self.node, self.spec, self.given = client, node, spec, given
        self.template_size = template_size


def _check_node(context: _Context) -> Result:
    states = node_states(context.client)
    node = context.node
    if node not in states:
        yield Finding("node", "error", f"node {node!r} not found", f"the cluster has: {', '.join(sorted(states))}")
    elif states[node] == OFFLINE:
        yield Finding("node", "error", f"node {node} is offline", "start it, or choose another node")
    elif states[node] == UNKNOWN:
        yield Finding("node", "warning", f"node {node} reports no state", f"on {node}: systemctl restart pvestatd")
    else:
        yield Finding("node", "ok", f"{node} is online")


def _check_quorum(context: _Context) -> Result:
    for each in context.client.get("/cluster/status").list():
        if each["type"].text("") == "cluster" and not each["quorate"].number(1):
            yield Finding("quorum", "error", "the cluster has no quorum", "bring more nodes up: pvecm status")
            return
    yield Finding("quorum", "ok", "the cluster has a quorum, or is a single node")


def _check_arch(context: _Context) -> Result:
    expected = _MACHINES.get(context.spec.arch)
    status = context.client.get(f"/nodes/{context.node}/status").members()
    # pve-manager 8 and newer name the machine.
    machine = status["current-kernel"]["machine"].text("") if "current-kernel" in status else ""
    if expected and machine and machine != expected:
        yield Finding(
            "architecture",
            "error",
            f"the template is for {context.spec.arch}, node {context.node} is {machine}",
            "choose another node, or build the template for that architecture",
        )
    else:
        yield Finding("architecture", "ok", f"{context.spec.arch or 'any'} on {machine or 'an unnamed machine'}")


def _check_permissions(context: _Context) -> Result:
    spec, token = context.spec, context.client.profile.token_id
    granted: dict[str, set[str]] = {}
    missing = []
    for path, name in privileges_of(spec, context.given):
        asked = path.replace("/vms/ID", "/vms/100")  # no ACL is for an id that nobody knows yet
        if path not in granted:
            granted[path] = privileges(context.client, asked)
        either = {"Datastore.Audit", "Datastore.AllocateSpace"} if name == "Datastore.Audit" else {name}
        if not granted[path] & either:
            missing.append((path.replace("/vms/ID", "/vms"), name))
    for path in dict.fromkeys(path for path, _ in missing):
        names = ",".join(name for each, name in missing if each == path)
        yield Finding(
            "permissions",
            "error",
            f"the token {token} lacks {names} on {path}",
            f"pveum role add LxcastCreate --privs '{names}'; pveum acl modify {path} --tokens '{token}' --roles "
            "LxcastCreate (and the same with --users for its user)",
        )
    for what, command in root_only(spec):
        yield Finding(
            "root", "error", f"only root@pam can set this, no token: {what}", f"leave it out, then as root: {command}"
        )
    if spec.process and not spec.is_image:
        yield Finding(
            "signal",
            "warning",
            f"the program gets SIGPWR at shutdown, not {spec.process.stop_signal}",
            f"as root: echo 'lxc.signal.halt: {spec.process.stop_signal}' >> /etc/pve/lxc/{spec.vmid or 'ID'}.conf; or "
            "build the template with --format oci-archive or --init auto",
        )
    if not missing:
        yield Finding("permissions", "ok", f"the token {token} has every privilege")


def _check_storages(context: _Context) -> Result:
    spec = context.spec
    storages = {each["storage"].text(): each for each in context.client.get(f"/nodes/{context.node}/storage").list()}
    needed = {spec.disk_storage: spec.disk_gb}
    for mount in spec.mounts:
        storage, _, size = mount.volume.partition(":")
        if not mount.is_bind and size.isdigit():
            needed[storage] = needed.get(storage, 0) + int(size)
    for name, gb in needed.items():
        where = f"storage {name} on node {context.node}"
        if name not in storages:
            names = ", ".join(sorted(storages)) or "none"
            yield Finding("storage", "error", f"{where} not found, or not visible to the token", f"visible: {names}")
            continue
        state = storages[name]
        if "rootdir" not in state["content"].text("").split(","):
            content = ",".join(sorted({*filter(None, state["content"].text("").split(",")), "rootdir"}))
            yield Finding(
                "storage", "error", f"{where} does not accept containers", f"pvesm set {name} --content {content}"
            )
        elif not state["enabled"].number(1) or not state["active"].number(1):
            yield Finding("storage", "error", f"{where} is disabled or not active", f"pvesm status --storage {name}")
        elif (free := state["avail"].number(0)) < gb << 30:
            yield Finding(
                "storage",
                "error",
                f"{where} is full: {amount(free)} free, {amount(gb << 30)} needed",
                "free space, choose a smaller disk (--rootfs STORAGE:GB), or another storage",
            )
        else:
            yield Finding("storage", "ok", f"{where}: {amount(free)} free, {amount(gb << 30)} needed")


def _check_template(context: _Context) -> Result:
    volid = context.spec.ostemplate
    storage = volid.partition(":")[0]
    path = f"/nodes/{context.node}/storage/{storage}/content"
    listed = {
        each["volid"].text(): each["size"].number(0) for each in context.client.get(path, content="vztmpl").list()
    }
    expected = context.template_size
    if volid not in listed:
        yield Finding(
            "template",
            "error",
            f"template {volid} not found on node {context.node}",
            "publish it there: lxcast publish",
        )
    elif expected and listed[volid] != expected:
        yield Finding(
            "template",
            "error",
            f"template {volid} has {listed[volid]} bytes, expected {expected} as in its record",
            "it was replaced or is still being uploaded; publish a new version",
        )
    else:
        yield Finding("template", "ok", f"{volid}, {amount(listed[volid])}")


def _check_bridges(context: _Context) -> Result:
    listed = context.client.get(f"/nodes/{context.node}/network", type="any_bridge").list()
    bridges = {each["iface"].text() for each in listed}
    for bridge in dict.fromkeys(each.bridge for each in context.spec.networks):
        if bridge in bridges:
            yield Finding("bridge", "ok", f"bridge {bridge} exists")
        else:
            names = ", ".join(sorted(bridges)) or "none"
            yield Finding(
                "bridge", "error", f"bridge {bridge} not found on node {context.node}", f"visible to the token: {names}"
            )


def _check_id(context: _Context) -> Result:
    if context.spec.vmid:
        try:
            context.client.get("/cluster/nextid", vmid=context.spec.vmid)
        except ApiError as error:
            if error.status != 400:
                raise
            yield Finding("id", "error", f"id {context.spec.vmid} is taken", "omit --vmid to use the next free one")


_CHECKS: dict[str, Callable[[_Context], Result]] = {
    "node": _check_node,
    "quorum": _check_quorum,
    "architecture": _check_arch,
    "permissions": _check_permissions,
    "storage": _check_storages,
    "template": _check_template,
    "bridge": _check_bridges,
    "id": _check_id,
}
