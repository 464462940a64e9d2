"""Pins of what was published through the API: this machine's records, and what the storage lists."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.references.entries import DEFAULT
from lxcast.testing import Cluster
from tests.unit.cli.proxmox import access
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

STORAGE = ("--storage", "proxmox:pve/local")


@pytest.fixture
def folder(server: Cluster, tmp_path: Path) -> Path:
    """Where web v1 and v2 were built and published from."""
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    for _ in (1, 2):
        told = ask(server, tmp_path, "build", "rootfs.tar", "--name", "web")
        assert told.returncode == 0, told.stderr
    return tmp_path


def ask(server: Cluster, folder: Path, *words: str) -> CompletedProcess[str]:
    return lxcast(*words, *STORAGE, cwd=folder, environ=access(server, folder))


def version(folder: Path) -> object:
    return json.loads((folder / DEFAULT).read_text())["lxc_templates"]["web"]["version"]


def template(server: Cluster, number: int) -> Path:
    return server.storages["local"].folder("pve") / f"web-v{number}.tar.zst"


def test_a_pin_is_written_promoted_listed_and_rolled_back(server: Cluster, folder: Path) -> None:
    assert ask(server, folder, "pin", "write", "web", "--version", "v1").returncode == 0
    (folder / "main.tf").write_text('locals {\n  web = "local:vztmpl/web-v1.tar.zst"\n}\n')
    assert ask(server, folder, "promote", "web", "--to", "main.tf:local.web").returncode == 0
    assert "web-v2.tar.zst" in (folder / "main.tf").read_text()
    assert ask(server, folder, "promote", "web").returncode == 0
    assert version(folder) == "v2"
    template(server, 2).unlink()
    states = [line.split()[-1] for line in ask(server, folder, "pin", "list").stdout.splitlines()]
    assert states == ["STATE", "missing", "missing"]
    assert ask(server, folder, "rollback", "web").returncode == 0
    assert version(folder) == "v1"
    told = ask(server, folder, "rollback", "web")
    assert told.returncode == 6
    assert "web-v2.tar.zst no longer exists" in told.stderr
    assert version(folder) == "v1"


def test_a_template_published_elsewhere_is_compared_by_name_and_size(server: Cluster, folder: Path) -> None:
    for number in ("v1", "v2"):
        assert ask(server, folder, "pin", "write", "web", "--version", number).returncode == 0
    elsewhere = ("--records", "none")
    told = ask(server, folder, "pin", "write", "web", *elsewhere)
    assert told.returncode == 6
    assert "web-v2.tar.zst: it has no record" in told.stderr
    states = [line.split()[-1] for line in ask(server, folder, "pin", "list", *elsewhere).stdout.splitlines()]
    assert states == ["STATE", "present"]
    template(server, 1).write_bytes(b"half")
    told = ask(server, folder, "rollback", "web", *elsewhere)
    assert told.returncode == 6
    assert "got 4" in told.stderr


def test_a_pin_of_another_storage_says_how_to_name_it(server: Cluster, folder: Path) -> None:
    (folder / "main.tf").write_text('locals {\n  web = "nfs:vztmpl/web-v1.tar.zst"\n}\n')
    told = ask(server, folder, "promote", "web", "--to", "main.tf:local.web")
    assert told.returncode == 11
    assert "--storage proxmox:NODE/nfs" in told.stderr


def test_a_server_that_is_down_leaves_the_list_without_a_state(server: Cluster, folder: Path) -> None:
    ask(server, folder, "pin", "write", "web")
    server.stop("pve")
    told = ask(server, folder, "pin", "list")
    assert (told.returncode, [line.split()[-1] for line in told.stdout.splitlines()]) == (0, ["STATE", "unknown"])
    assert "is unknown" in told.stderr
    assert ask(server, folder, "promote", "web", "--version", "v1").returncode == 9
