"""Version files behind links, and checks that use the record next to a template."""

import json
from pathlib import Path

import pytest

from lxcast.tar.member import Member, directory, regular, symlink
from tests.unit.cli.running import archive, lxcast
from tests.unit.cli.test_oci_archive import image
from tests.unit.rootfs.filesystems import minimal_debian, program, without

BASE = without(minimal_debian(), b"etc/debian_version")
VERSION = b"12.7\n"

LINKED = {
    "target before the link": [
        regular(b"usr/lib/debian_version", VERSION),
        symlink(b"etc/debian_version", b"../usr/lib/debian_version"),
    ],
    "link before the target": [
        symlink(b"etc/debian_version", b"../opt/release/number"),
        directory(b"opt/release"),
        regular(b"opt/release/number", VERSION),
    ],
    "through a directory link": [
        directory(b"usr/share/release"),
        symlink(b"usr/etc", b"share/release"),
        regular(b"usr/share/release/debian_version", VERSION),
        symlink(b"etc/debian_version", b"../usr/etc/debian_version"),
    ],
    "dot-dot after a directory link": [
        directory(b"opt/deep"),
        directory(b"opt/deep/er"),
        symlink(b"jump", b"opt/deep/er"),
        regular(b"opt/deep/[version]", VERSION),
        symlink(b"etc/debian_version", b"../jump/../[version]"),
    ],
    "a chain of links": [
        regular(b"usr/lib/v", VERSION),
        symlink(b"usr/lib/w", b"v"),
        symlink(b"etc/debian_version", b"../usr/lib/w"),
    ],
}


@pytest.mark.parametrize("members", LINKED.values(), ids=LINKED)
def test_a_version_file_is_read_wherever_a_relative_link_leads(members: list[Member], tmp_path: Path) -> None:
    source = tmp_path / "x.tar"
    source.write_bytes(archive([*BASE, *members]))
    checked = lxcast("check", source, "--policy", "golden", "--json")
    assert not [each for each in json.loads(checked.stdout)["findings"] if each["check"] == "distribution-version"]
    built = lxcast("build", source, "--name", "x", "--output", tmp_path / "out", "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["release"] == "12"


def test_a_version_file_is_not_found_through_a_link_that_leaves_the_root(tmp_path: Path) -> None:
    source = tmp_path / "x.tar"
    away = symlink(b"etc/debian_version", b"../../../usr/lib/debian_version")
    source.write_bytes(archive([*BASE, regular(b"usr/lib/debian_version", VERSION), away]))
    assert "distribution-version" in lxcast("check", source).stdout


def test_check_accepts_a_template_whose_program_proxmox_starts(tmp_path: Path) -> None:
    members = [*without(minimal_debian(), b"usr/sbin/init", b"usr/lib/systemd"), program(b"usr/bin/app")]
    source = image(tmp_path / "image", members, {"Cmd": ["/usr/bin/app"]})
    built = lxcast("build", source, "--name", "app", "--init", "app", "--output", tmp_path / "out")
    assert built.returncode == 0, built.stderr
    template = built.stdout.strip()
    checked = lxcast("check", template)
    assert checked.returncode == 0, checked.stdout
    (tmp_path / "out" / "app-v1.json").unlink()
    assert "init: /sbin/init: is missing" in lxcast("check", template).stdout
