"""A container's settings written for the tools that create it: Proxmox's API, `pct`, and Terraform's bpg/proxmox."""

import json
import re
import shlex
from pathlib import Path
from textwrap import indent

from lxcast.containers.spec import ContainerSpec, spec_of
from lxcast.hints import HINTS
from lxcast.identifiers import one_line
from lxcast.record import Record

_SCALARS = ("cores", "cpulimit", "cpuunits", "memory", "swap", "cmode")
"""Fields of a spec that are parameters of Proxmox by the same name, and attributes of bpg/proxmox by HINTS."""


def parameters(spec: ContainerSpec) -> dict[str, str]:
    """Return the parameters of POST /nodes/NODE/lxc for the container, which are the options of `pct create` too.

    The environment is not among them: Proxmox separates its parts with NUL, which a command line cannot hold.
    """
    given: dict[str, str] = {"hostname": spec.hostname, "unprivileged": str(int(spec.unprivileged))}
    given |= {"ostype": spec.ostype, "arch": spec.arch, "features": ",".join(spec.features)}
    given |= {key: str(value) for key in _SCALARS if (value := getattr(spec, key)) not in (None, "")}
    given["rootfs"] = f"{spec.disk_storage}:{spec.disk_gb}"
    mounts = [each for each in spec.mounts if "," not in each.volume + each.path]
    given |= {f"mp{number}": each.to_property() for number, each in enumerate(mounts)}
    given |= {f"net{number}": each.to_property() for number, each in enumerate(spec.networks)}
    given["entrypoint"] = spec.entrypoint
    given |= {key: getattr(spec, key) for key in ("nameserver", "searchdomain", "timezone", "pool", "startup")}
    given |= {key: "1" for key in ("onboot", "protection") if getattr(spec, key)}
    given["tags"] = ";".join(sorted({*spec.tags}))
    return {key: value for key, value in given.items() if value}


def lxc_settings(spec: ContainerSpec) -> list[tuple[str, str]]:
    """Return the settings of LXC that Proxmox takes only in a container's configuration file (pct.conf(5))."""
    return [*(spec.process.lxc_settings() if spec.process else ()), *spec.limits]


def next_step(record: Record, path: Path | None) -> str:
    """Return what to do with a template: the `pct create` line and, if a storage has it, the HCL of a container.

    Settings that have no option follow as lines of the container's configuration. Without a path the template is on a
    Proxmox storage already.
    """
    spec = spec_of(record)
    blocks: list[str] = []
    if path is not None:
        storage = path.parent.parent.parent
        copy = f"scp {shlex.quote(str(path))} root@NODE:/var/lib/vz/template/cache/"
        if not record.template_id:
            blocks.append(f"copy it to a storage of the node:\n  {copy}")
        elif storage != Path("/var/lib/vz") and storage.parent != Path("/mnt/pve"):
            # Proxmox has its own storage there, and mounts network storages below it (PVE/Storage/Plugin.pm).
            blocks.append(f"unless this directory is the node's storage {record.storage!r}:\n  {copy}")
    blocks.append(f"create a container on the node:\n{pct_create(spec)}")
    if path is not None and record.template_id:
        blocks.append(f"or with Terraform:\n{hcl(record, spec, storage)}")
    # A line end in a value must not make a line of its own in what people append.
    if lines := [f"  {key}: {one_line(value)}" for key, value in lxc_settings(spec)]:
        blocks.append("before its first start, append to /etc/pve/lxc/VMID.conf:\n" + "\n".join(lines))
    return "\nNext: " + "\n\n".join(blocks)


def pct_create(spec: ContainerSpec) -> str:
    """Return the command that creates a container on a node, for people, who fill in VMID."""
    options = [f"--{key} {shlex.quote(value)}" for key, value in parameters(spec).items()]
    keys = ["--ssh-public-keys ~/.ssh/authorized_keys"] if spec.takes_keys else []
    return "  " + " \\\n    ".join([f"pct create VMID {spec.ostemplate}", *options, *keys])


def hcl(record: Record, spec: ContainerSpec, storage: Path) -> str:
    """Return a container resource of bpg/proxmox, and the data source if the template has a version."""
    label = re.sub(r"[^A-Za-z0-9_-]", "-", record.name)
    label = f"_{label}" if label[0].isdigit() else label
    query = {"name": record.name, "version": record.version, "storage": f"{record.storage}={storage}"}
    data = _block(
        f'data "external" "{label}"',
        ("program", '["lxcast-data"]'),
        _block("query =", *((key, _string(value)) for key, value in query.items())),
    )
    template = f"data.external.{label}.result.template_id" if record.version else _string(spec.ostemplate)
    scalars: dict[str, list[tuple[str, str]]] = {"cpu": [], "memory": [], "console": []}
    if spec.arch:
        scalars["cpu"].append(("architecture", _string(spec.arch)))
    for key in _SCALARS:
        block, _, attribute = HINTS[key][2].partition(".")
        if (value := getattr(spec, key)) not in (None, ""):
            scalars[block].append((attribute, _string(value) if isinstance(value, str) else str(value)))
    features = [(each.partition("=")[0], "true") for each in spec.features]
    keys = _block("user_account", ("keys", '[trimspace(file("~/.ssh/id_ed25519.pub"))]'))
    process = spec.process if spec.entrypoint else None
    variables = [each.partition("=") for each in process.env] if process else []
    resource = _block(
        f'resource "proxmox_virtual_environment_container" "{label}"',
        ("node_name", '"NODE"'),
        ("unprivileged", json.dumps(spec.unprivileged)),
        _block("operating_system", ("template_file_id", template), ("type", _string(record.ostype or "unmanaged"))),
        *(_block(block, *attributes) for block, attributes in scalars.items() if attributes),
        _block("features", *features) if features else "",
        _block("disk", ("datastore_id", _string(spec.disk_storage)), ("size", str(spec.disk_gb))),
        *(
            _block(
                "mount_point",
                ("volume", _string(each.volume)),
                ("path", _string(each.path)),
                ("read_only", json.dumps(each.read_only)),
            )
            for each in spec.mounts
        ),
        *(
            _block(
                "network_interface",
                ("name", _string(each.name)),
                *([("host_managed", "true")] if each.host_managed else []),
            )
            for each in spec.networks
        ),
        _block("environment_variables =", *((_string(key), _string(value)) for key, _, value in variables))
        if variables
        else "",
        _block(
            "initialization",
            ("hostname", _string(spec.hostname)),
            *([("entrypoint", _string(spec.entrypoint))] if spec.entrypoint else []),
            *(_block("ip_config", _block("ipv4", ("address", _string(each.ip)))) for each in spec.networks),
            keys if "init" not in record.hints else "",
        ),
    )
    return f"{data}\n\n{resource}" if record.version else resource


def _block(head: str, *content: tuple[str, str] | str) -> str:
    """Return a block of HCL as `terraform fmt` writes it: attributes, then the inner blocks; "" is left out."""
    attributes = [each for each in content if isinstance(each, tuple)]
    width = max((len(name) for name, _ in attributes), default=0)
    lines = ["\n".join(f"{name:{width}} = {value}" for name, value in attributes)] if attributes else []
    body = "\n\n".join([*lines, *(each for each in content if isinstance(each, str) and each)])
    return f"{head} {{\n{indent(body, '  ')}\n}}"


def _string(value: str) -> str:
    # HCL's quoted strings are JSON's, except for the two sequences that open a template.
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
