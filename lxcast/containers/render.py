"""What the user does next with a template: the command for a Proxmox node, and the HCL."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from lxcast.identifiers import one_line
from lxcast.model import IMAGE

if TYPE_CHECKING:
    from lxcast.record import Record


def next_step(record: "Record", path: Path | None) -> str:
    """Return the `pct create` line and, where a storage holds the template, the HCL that makes a container of it.

    What neither has an option for follows as lines of the container's configuration. Without a path it is on a Proxmox
    storage already.
    """
    blocks: list[str] = []
    if path is not None:
        place = path.parent.parent.parent
        copy = f"scp {shlex.quote(str(path))} root@NODE:/var/lib/vz/template/cache/"
        if not record.template_id:
            blocks.append(f"copy it to a storage of the node:\n  {copy}")
        elif place != Path("/var/lib/vz") and place.parent != Path("/mnt/pve"):
            # Where Proxmox has its own storage and mounts the network's (PVE/Storage/Plugin.pm).
            blocks.append(f"unless the node has this folder as its storage {record.storage!r}:\n  {copy}")
    blocks.append(f"make a container of it on the node:\n{pct_create(record)}")
    if path is not None and record.template_id:
        blocks.append(f"or with Terraform:\n{hcl(record, place)}")
    # A line end in a value must not make a line of its own in what people append.
    if raw := [f"  {key}: {one_line(str(value))}" for key, value in _raw(record)]:
        blocks.append("before its first start, append to /etc/pve/lxc/VMID.conf:\n" + "\n".join(raw))
    return "\nNext: " + "\n\n".join(blocks)


def pct_create(record: "Record") -> str:
    """Return the command that makes a container on a node; VMID, the disk's storage and the bridge are the user's."""
    hints = record.hints
    managed = record.ostype not in ("", "unmanaged")
    features = ",".join(hints.get("features") or (["nesting=1"] if hints.get("nesting") else []))
    host_managed = ",host-managed=1" if hints.get("host_managed") else ""
    parts = [
        f"pct create VMID {record.template_id or f'local:vztmpl/{record.file}'}",
        f"--hostname {_hostname(record)} --unprivileged 1",
        *([] if managed else ["--ostype unmanaged"]),
        *([f"--arch {record.arch}"] if record.arch else []),
        *([f"--features {features}"] if features else []),
        *(f"--{name} {hints[name]}" for name in _LIMITS if name in hints),
        f"--rootfs local-lvm:{_disk_gb(record)}",
        *(f"--mp{number} {shlex.quote(mount)}" for number, mount in enumerate(_mount_points(record))),
        f"--net0 name=eth0,bridge=vmbr0,ip=dhcp{host_managed}",
        *([f"--entrypoint {shlex.quote(_entrypoint(record))}"] if _entrypoint(record) else []),
        *(["--ssh-public-keys ~/.ssh/authorized_keys"] if managed and "init" not in hints else []),
    ]
    return "  " + " \\\n    ".join(parts)


_LIMITS = ("cores", "cpulimit", "cpuunits", "memory", "swap", "cmode")
"""Hints that are options of `pct` by the same name."""


def _binds(record: "Record") -> Iterator[tuple[str, str, bool]]:
    """Yield folder of the node, place in the container, and whether it is read-only, of each bind mount."""
    for mount in record.hints.get("mounts", ()):
        options, source = mount.get("options", ()), mount.get("source", "")
        if {"bind", "rbind"} & {*options, mount.get("type")} and source.startswith("/"):
            yield source, mount["destination"], "ro" in options


def _mount_points(record: "Record") -> Iterator[str]:
    for source, place, read_only in _binds(record):
        # Proxmox's own text form has no way to write a comma in a path.
        if "," not in source + place:
            yield f"{source},mp={place}" + (",ro=1" if read_only else "")


def _entrypoint(record: "Record") -> str:
    """Return what Proxmox is to start in the place of an init, "" where there is one."""
    from lxcast.rootfs.init import entrypoint

    process = [*record.hints.get("entrypoint", ()), *record.hints.get("cmd", ())]
    return (entrypoint(process) or "") if _must_be_told(record) else ""


def _must_be_told(record: "Record") -> bool:
    """Whether Proxmox starts a process of which it reads nothing by itself, as it does in an OCI archive."""
    return record.hints.get("init") == "app" and record.format != IMAGE


def _raw(record: "Record") -> Iterator[tuple[str, str]]:
    """Yield the settings of LXC that Proxmox takes in a container's configuration alone (pct.conf(5))."""
    hints = record.hints
    if _must_be_told(record):
        yield from ((f"lxc.init.{key}", hints[key]) for key in ("uid", "gid") if hints.get(key))
        if hints.get("groups"):
            yield "lxc.init.groups", ",".join(map(str, hints["groups"]))
        if hints.get("working_dir", "/") != "/":
            yield "lxc.init.cwd", hints["working_dir"]
        yield "lxc.signal.halt", hints.get("stop_signal", "SIGTERM")
        yield from (("lxc.environment", each) for each in hints.get("env", ()))
    if "cpuset" in hints:
        yield "lxc.cgroup2.cpuset.cpus", hints["cpuset"]
    if "pids" in hints:
        yield "lxc.cgroup2.pids.max", hints["pids"]
    for name, limits in hints.get("rlimits", {}).items():
        yield f"lxc.prlimit.{name.removeprefix('RLIMIT_').lower()}", ":".join(map(str, limits))


def hcl(record: "Record", place: Path) -> str:
    """Return a container resource of the provider bpg/proxmox, and the data source where the template has a version."""
    hints = record.hints
    label = re.sub(r"[^A-Za-z0-9_-]", "-", record.name)
    label = f"_{label}" if label[0].isdigit() else label
    query = {"name": record.name, "version": record.version, "storage": f"{record.storage}={place}"}
    data = _block(
        f'data "external" "{label}"',
        ("program", '["lxcast-data"]'),
        _block("query =", *((key, _text(value)) for key, value in query.items())),
    )
    template = f"data.external.{label}.result.template_id" if record.version else _text(record.template_id)
    cpu = [("architecture", _text(record.arch))] if record.arch else []
    cpu += [(ours, str(hints[key])) for key, ours in _CPU.items() if key in hints]
    memory = [(ours, str(hints[key])) for key, ours in _MEMORY.items() if key in hints]
    features = [(each.partition("=")[0], "true") for each in hints.get("features", ())]
    features = features or ([("nesting", "true")] if hints.get("nesting") else [])
    host_managed = [("host_managed", "true")] if hints.get("host_managed") else []
    keys = _block("user_account", ("keys", '[trimspace(file("~/.ssh/id_ed25519.pub"))]'))
    entrypoint = _entrypoint(record)
    variables = [each.partition("=") for each in hints.get("env", ())] if entrypoint else []
    resource = _block(
        f'resource "proxmox_virtual_environment_container" "{label}"',
        ("node_name", '"NODE"'),
        ("unprivileged", "true"),
        _block("operating_system", ("template_file_id", template), ("type", _text(record.ostype or "unmanaged"))),
        _block("cpu", *cpu) if cpu else "",
        _block("memory", *memory) if memory else "",
        _block("features", *features) if features else "",
        _block("console", ("type", _text(hints["cmode"]))) if "cmode" in hints else "",
        _block("disk", ("datastore_id", '"local-lvm"'), ("size", str(_disk_gb(record)))),
        *(
            _block(
                "mount_point", ("volume", _text(source)), ("path", _text(path)), ("read_only", json.dumps(read_only))
            )
            for source, path, read_only in _binds(record)
        ),
        _block("network_interface", ("name", '"eth0"'), *host_managed),
        _block("environment_variables =", *((_text(key), _text(value)) for key, _, value in variables))
        if variables
        else "",
        _block(
            "initialization",
            ("hostname", _text(_hostname(record))),
            *([("entrypoint", _text(entrypoint))] if entrypoint else []),
            _block("ip_config", _block("ipv4", ("address", '"dhcp"'))),
            keys if "init" not in hints else "",
        ),
    )
    return f"{data}\n\n{resource}" if record.version else resource


_CPU = {"cores": "cores", "cpulimit": "limit", "cpuunits": "units"}
_MEMORY = {"memory": "dedicated", "swap": "swap"}
"""Hint -> the provider's name."""


def _block(head: str, *content: tuple[str, str] | str) -> str:
    """Return a block of HCL as `terraform fmt` writes it: attributes, then the blocks in it; "" is none."""
    attributes = [each for each in content if isinstance(each, tuple)]
    width = max((len(name) for name, _ in attributes), default=0)
    lines = ["\n".join(f"{name:{width}} = {value}" for name, value in attributes)] if attributes else []
    body = "\n\n".join([*lines, *(each for each in content if isinstance(each, str) and each)])
    return f"{head} {{\n{indent(body, '  ')}\n}}"


def _text(value: str) -> str:
    # HCL's quoted strings are JSON's, but for the two that open a template.
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _hostname(record: "Record") -> str:
    return str(record.hints.get("hostname") or record.name.replace("_", "-"))


def _disk_gb(record: "Record") -> int:
    return int(record.hints.get("disk_gb", 4))  # as Proxmox where nothing is said (PVE/API2/LXC.pm)
