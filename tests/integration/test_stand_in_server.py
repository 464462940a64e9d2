"""The stand-in Proxmox server under the provider that makes real containers from lxcast's templates."""

from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.integration.tools import CACHE, Program

MAIN = """
terraform {
  required_providers {
    proxmox = {
      source = "bpg/proxmox"
    }
  }
}

variable "template" {
  default = "local:vztmpl/debian-12-v1.tar.zst"
}

provider "proxmox" {
  insecure = true
}

resource "proxmox_virtual_environment_container" "web" {
  node_name    = "pve"
  vm_id        = 123
  unprivileged = true
  initialization {
    hostname = "web"
    ip_config {
      ipv4 {
        address = "192.0.2.7/24"
        gateway = "192.0.2.1"
      }
    }
  }
  network_interface {
    name = "eth0"
  }
  disk {
    datastore_id = "local"
    size         = 8
  }
  operating_system {
    template_file_id = var.template
    type             = "debian"
  }
}
"""


@pytest.mark.skipif(
    not any((CACHE / "providers").glob("registry.terraform.io/bpg/proxmox/*")),
    reason="no bpg/proxmox provider in the cache",
)
def test_the_provider_makes_keeps_replaces_and_destroys_a_container(terraform_like: Program, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(MAIN)
    with Cluster() as server:
        for version in ("v1", "v2"):
            (server.storages["local"].folder("pve") / f"debian-12-{version}.tar.zst").touch()
        token = f"{server.token.id}={server.token.secret}"
        env = {"PROXMOX_VE_ENDPOINT": server.url, "PROXMOX_VE_API_TOKEN": token}

        def run(*arguments: str) -> str:
            return terraform_like.run(*arguments, "-no-color", "-input=false", cwd=tmp_path, env=env).stdout

        def made() -> list[tuple[int, str, bool]]:
            return [(each.vmid, each.template, each.running) for each in server.containers.values()]

        run("init")
        run("apply", "-auto-approve")
        assert made() == [(123, "local:vztmpl/debian-12-v1.tar.zst", True)]
        # Exit status 2 would tell of a difference.
        run("plan", "-detailed-exitcode")
        run("apply", "-auto-approve", "-var", "template=local:vztmpl/debian-12-v2.tar.zst")
        ((_, template, running),) = made()
        assert (template, running) == ("local:vztmpl/debian-12-v2.tar.zst", True)
        run("destroy", "-auto-approve")
        assert made() == []
        assert {task.exitstatus for task in server.tasks.all} == {"OK"}
