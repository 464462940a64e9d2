"""The stand-in Proxmox server under the provider that makes real containers from lxcast's templates."""

import hashlib
import http.server
import os
import threading
from functools import partial
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

DOWNLOAD = """
resource "proxmox_virtual_environment_download_file" "template" {
  node_name          = "pve"
  datastore_id       = "local"
  content_type       = "vztmpl"
  file_name          = "pulled-v1.tar.zst"
  url                = "%s/x.tar.zst"
  checksum           = "%s"
  checksum_algorithm = "sha256"
}
"""
PROVIDER = pytest.mark.skipif(
    not any((CACHE / "providers").glob("registry.terraform.io/bpg/proxmox/*")),
    reason="no bpg/proxmox provider in the cache",
)


@PROVIDER
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


@PROVIDER
def test_the_provider_lets_a_node_pull_a_template_by_its_checksum(terraform_like: Program, tmp_path: Path) -> None:
    data = b"template" * 100
    (tmp_path / "x.tar.zst").write_bytes(data)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(tmp_path))
    with Cluster() as server, http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{web.server_address[1]}"
        pull = DOWNLOAD % (url, hashlib.sha256(data).hexdigest())
        (tmp_path / "main.tf").write_text(MAIN.partition('resource "')[0] + pull)
        env = {"PROXMOX_VE_ENDPOINT": server.url}
        env["PROXMOX_VE_API_TOKEN"] = f"{server.token.id}={server.token.secret}"
        try:
            for command in (["init"], ["apply", "-auto-approve"], ["plan", "-detailed-exitcode"]):
                terraform_like.run(*command, "-no-color", "-input=false", cwd=tmp_path, env=env)
        finally:
            web.shutdown()
            thread.join()
        assert (server.storages["local"].folder("pve") / "pulled-v1.tar.zst").read_bytes() == data
