"""What the user does next with a template: the command for a Proxmox node, and the HCL."""

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxcast.record import Record


def next_step(record: "Record", path: Path | None) -> str:
    """Return the `pct create` line and, where a storage holds the template, the HCL that makes a container of it.

    Without a path it is on a Proxmox storage already.
    """
    blocks: list[str] = []
    if path is None:
        return f"\nNext: make a container of it on the node:\n{pct_create(record)}"
    place = path.parent.parent.parent
    copy = f"scp {shlex.quote(str(path))} root@NODE:/var/lib/vz/template/cache/"
    if not record.template_id:
        blocks.append(f"copy it to a storage of the node:\n  {copy}")
    elif place != Path("/var/lib/vz") and place.parent != Path("/mnt/pve"):
        # Where Proxmox has its own storage and mounts the network's (PVE/Storage/Plugin.pm).
        blocks.append(f"unless the node has this folder as its storage {record.storage!r}:\n  {copy}")
    blocks.append(f"make a container of it on the node:\n{pct_create(record)}")
    if record.template_id:
        blocks.append(f"or with Terraform:\n{hcl(record, place)}")
    return "\nNext: " + "\n\n".join(blocks)


def pct_create(record: "Record") -> str:
    """Return the command that makes a container on a node; VMID, the disk's storage and the bridge are the user's."""
    managed = record.ostype != "unmanaged"
    parts = [
        f"pct create VMID {record.template_id or f'local:vztmpl/{record.file}'}",
        f"--hostname {_hostname(record)} --unprivileged 1",
        *([] if managed else ["--ostype unmanaged"]),
        *([f"--arch {record.arch}"] if record.arch else []),
        *(["--features nesting=1"] if record.hints.get("nesting") else []),
        f"--rootfs local-lvm:{_disk_gb(record)}",
        "--net0 name=eth0,bridge=vmbr0,ip=dhcp",
        *(["--ssh-public-keys ~/.ssh/authorized_keys"] if managed else []),
    ]
    return "  " + " \\\n    ".join(parts)


def hcl(record: "Record", place: Path) -> str:
    """Return a container resource of the provider bpg/proxmox, and the data source where the template has a version."""
    label = re.sub(r"[^A-Za-z0-9_-]", "-", record.name)
    label = f"_{label}" if label[0].isdigit() else label
    # HCL's quoted strings are JSON's, but for the two that open a template.
    storage = json.dumps(f"{record.storage}={place}", ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
    data = _DATA.format(label=label, name=record.name, version=record.version, storage=storage)
    return (data if record.version else "") + _RESOURCE.format(
        label=label,
        template=f"data.external.{label}.result.template_id" if record.version else f'"{record.template_id}"',
        ostype=record.ostype or "unmanaged",
        cpu=f'\n\n  cpu {{\n    architecture = "{record.arch}"\n  }}' if record.arch else "",
        features="\n\n  features {\n    nesting = true\n  }" if record.hints.get("nesting") else "",
        disk=_disk_gb(record),
        hostname=_hostname(record),
    )


_DATA = """\
data "external" "{label}" {{
  program = ["lxcast-data"]

  query = {{
    name    = "{name}"
    version = "{version}"
    storage = {storage}
  }}
}}

"""

_RESOURCE = """\
resource "proxmox_virtual_environment_container" "{label}" {{
  node_name    = "NODE"
  unprivileged = true

  operating_system {{
    template_file_id = {template}
    type             = "{ostype}"
  }}{cpu}{features}

  disk {{
    datastore_id = "local-lvm"
    size         = {disk}
  }}

  network_interface {{
    name = "eth0"
  }}

  initialization {{
    hostname = "{hostname}"

    ip_config {{
      ipv4 {{
        address = "dhcp"
      }}
    }}

    user_account {{
      keys = [trimspace(file("~/.ssh/id_ed25519.pub"))]
    }}
  }}
}}"""


def _hostname(record: "Record") -> str:
    return record.name.replace("_", "-")


def _disk_gb(record: "Record") -> int:
    return int(record.hints.get("disk_gb", 4))  # as Proxmox where nothing is said (PVE/API2/LXC.pm)
