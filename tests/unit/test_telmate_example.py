"""The example for Telmate's provider says only what that provider knows.

The tables are of `proxmox_lxc` in proxmox/resource_lxc.go, the same in v2.9.14 and v3.0.2-rc09 for what stands here.
No Go module proxy serves the provider, so that no test can build it and have `terraform validate` ask it.
"""

import re

import pytest

from lxcast.references.hcl import parse
from lxcast.references.slots import Slot
from tests.documents import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "container-telmate" / "main.tf"
ARGUMENTS = {
    *("arch", "cores", "description", "hostname", "memory", "onboot", "ostemplate", "ostype", "pool", "protection"),
    *("ssh_public_keys", "start", "swap", "tags", "target_node", "unprivileged", "vmid"),
}
BLOCKS = {
    "features": {"fuse", "keyctl", "mknod", "mount", "nesting"},
    "rootfs": {"acl", "quota", "replicate", "ro", "shared", "storage", "size"},
    "network": {"name", "bridge", "firewall", "gw", "gw6", "hwaddr", "ip", "ip6", "mtu", "rate", "tag"},
    "lifecycle": {"ignore_changes"},
}
REQUIRED = {("target_node",), ("rootfs", "storage"), ("rootfs", "size"), ("network", "name")}


def slots(name: str) -> dict[tuple[str, ...], Slot]:
    """The values of a container by the names that lead to them."""
    found = parse(EXAMPLE.read_bytes(), EXAMPLE).slots
    return {
        tuple(step for step in slot.path[3:] if isinstance(step, str)): slot
        for slot in found
        if slot.path[:3] == ("resource", "proxmox_lxc", name)
    }


@pytest.mark.parametrize("name", ["web", "database"])
def test_a_container_has_what_the_provider_requires_and_nothing_that_it_does_not_know(name: str) -> None:
    said = slots(name)
    assert set(said) >= REQUIRED
    for path in said:
        assert path[0] in ARGUMENTS if len(path) == 1 else path[1] in BLOCKS[path[0]], path
    # The provider's own pattern for a size.
    assert re.fullmatch(r"\d+(\.\d+)?(K|M|G)", said["rootfs", "size"].value)


def test_one_container_is_replaced_when_the_pin_moves_and_the_other_kept() -> None:
    """A change of `ostemplate` replaces a container."""
    assert slots("database")["ostemplate",].text == slots("web")["ostemplate",].text == "local.template.template_id"
    assert not any(path[0] == "lifecycle" for path in slots("web"))
    text = EXAMPLE.read_text().partition('resource "proxmox_lxc" "database"')[2]
    assert "ignore_changes = [ostemplate, ostype, ssh_public_keys]" in text
