"""A build that sets the pin of what it built, by the command line and by both ways of Packer."""

import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lxcast.references.entries import DEFAULT
from lxcast.testing import Cluster
from packer_post.install import install
from tests.unit.cli.proxmox import access
from tests.unit.cli.running import archive, lxcast
from tests.unit.packer_post.packer_core import packer_core
from tests.unit.packer_post.test_plugin import export
from tests.unit.packer_post.test_shim import run as lxcast_packer
from tests.unit.rootfs.filesystems import minimal_debian


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    return tmp_path


def build(folder: Path, *more: str, name: str = "debian-12") -> subprocess.CompletedProcess[str]:
    return lxcast("build", "rootfs.tar", "--name", name, "--pin-file", DEFAULT, *more, cwd=folder)


def pins(folder: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((folder / DEFAULT).read_text())["lxc_templates"]
    return found


def test_a_build_pins_what_it_built(folder: Path) -> None:
    told = build(folder)
    assert told.returncode == 0, told.stderr
    record = json.loads((folder / "storage/template/cache/debian-12-v1.json").read_text())
    pin = pins(folder)["debian-12"]
    assert told.stdout.strip() == pin["template_id"] == record["template_id"]
    assert (pin["version"], pin["sha256"], pin["previous"]) == ("v1", record["sha256"], None)
    written = (folder / DEFAULT).read_bytes()
    assert lxcast("pin", "write", "debian-12", cwd=folder).returncode == 0
    assert (folder / DEFAULT).read_bytes() == written


def test_what_was_there_already_is_pinned_and_a_dry_run_pins_nothing(folder: Path) -> None:
    build(folder)
    (folder / DEFAULT).unlink()
    assert build(folder, "--dry-run").returncode == 0
    assert not (folder / DEFAULT).exists()
    assert build(folder, "--if-changed").stdout == "local:vztmpl/debian-12-v1.tar.zst\n"
    assert pins(folder)["debian-12"]["version"] == "v1"


def test_builds_at_once_pin_each_its_own(folder: Path) -> None:
    names = [f"image-{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda name: build(folder, name=name), names))
    assert [each.returncode for each in done] == [0] * 6
    assert {name: pin["template_id"] for name, pin in pins(folder).items()} == {
        name: f"local:vztmpl/{name}-v1.tar.zst" for name in names
    }


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("pins.json", "", "invalid name of a pin file"),
        (DEFAULT, "{", "invalid JSON"),
        ("no/a.tf.json", "", "not a directory"),
    ],
)
def test_a_pin_file_that_could_not_be_written_stops_the_build(folder: Path, file: str, content: str, said: str) -> None:
    if content:
        (folder / file).write_text(content)
    told = lxcast("build", "rootfs.tar", "--name", "debian-12", "--pin-file", file, cwd=folder)
    assert told.returncode in (2, 11)
    assert said in told.stderr
    assert not (folder / "storage").exists()


def another_pin(folder: Path) -> None:
    """Pin other bytes by the id that the next build will give, as after a storage was made anew."""
    build(folder)
    content = json.loads((folder / DEFAULT).read_text())
    content["lxc_templates"]["debian-12"]["template_id"] = "local:vztmpl/debian-12-v2.tar.zst"
    content["lxc_templates"]["debian-12"]["sha256"] = "0" * 64
    (folder / DEFAULT).write_text(json.dumps(content))


def follow(folder: Path, told: str) -> None:
    """Remove the entry, as the message says, and run the command that it has."""
    assert "local:vztmpl/debian-12-v2.tar.zst was published" in told
    (folder / DEFAULT).unlink()
    found = re.search(r"then: lxcast (.*--version v2)", told)
    assert found, told
    assert lxcast(*shlex.split(found[1]), cwd=folder).returncode == 0
    assert pins(folder)["debian-12"]["version"] == "v2"


def test_a_pin_that_fails_after_the_build_says_what_is_there_and_how_to_go_on(folder: Path) -> None:
    another_pin(folder)
    told = build(folder)
    assert (told.returncode, told.stdout) == (11, "")
    follow(folder, told.stderr)


def test_the_shell_local_command_pins_and_keeps_no_export_for_a_failed_pin(folder: Path) -> None:
    another_pin(folder)
    told = lxcast_packer(folder, LXCAST_PIN_FILE=DEFAULT, LXCAST_RECEIPT="receipt.json")
    assert (told.returncode, told.stdout) == (11, "")
    assert "needs no packer build" not in told.stderr
    assert not (folder / "rootfs-kept1.tar").exists()
    assert json.loads((folder / "receipt.json").read_text())["version"] == "v2"
    follow(folder, told.stderr)
    told = lxcast_packer(folder, LXCAST_PIN_FILE=DEFAULT)
    assert told.stdout == "local:vztmpl/debian-12-v3.tar.zst\n", told.stderr
    assert pins(folder)["debian-12"]["version"] == "v3"


def test_the_post_processor_pins_and_keeps_no_export_for_a_failed_pin(folder: Path, tmp_path: Path) -> None:
    another_pin(folder)
    plugin = install(folder=tmp_path / "plugin")
    with packer_core(plugin, cwd=folder) as core:
        core.configure(template_name="debian-12", pin_file=DEFAULT)
        message = core.post_process(export("rootfs.tar"))["Err"]["Message"]
        assert "needs no packer build" not in message
        assert not (folder / "rootfs-kept1.tar").exists()
        follow(folder, message)
        assert core.post_process(export("rootfs.tar"))["Err"] is None
    assert pins(folder)["debian-12"]["version"] == "v3"


def test_a_build_for_a_proxmox_storage_pins_what_it_published(server: Cluster, folder: Path) -> None:
    words = ["build", "rootfs.tar", "--name", "web", "--storage", "proxmox:pve/local", "--pin-file", DEFAULT]
    told = lxcast(*words, cwd=folder, environ=access(server, folder))
    assert (told.returncode, told.stdout) == (0, "local:vztmpl/web-v1.tar.zst\n"), told.stderr
    assert pins(folder)["web"]["template_id"] == "local:vztmpl/web-v1.tar.zst"
