"""What the tables make of each golden image's distribution that is not Debian, under the golden policy."""

import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lxcast.tar.member import Member, regular, symlink
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.distributions import ALL, ALPINE, ROCKY, UBUNTU, tree
from tests.unit.rootfs.filesystems import replaced, without

EACH = pytest.mark.parametrize("image", ALL)


def build(members: Iterable[Member], folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "rootfs.tar").write_bytes(archive(members))
    said = ("--name", "golden", "--policy", "golden", "--format", "gz", "--storage", folder / "storage", "--json")
    return lxcast("build", folder / "rootfs.tar", *said)


def built(members: Iterable[Member], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The record, and each member's text, a link's as "-> TARGET"."""
    done = build(members, folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    texts = {}
    with tarfile.open(folder / "storage/template/cache/golden-v1.tar.gz") as opened:
        for member in opened:
            body = opened.extractfile(member) if member.isreg() else None
            path = member.name.removeprefix("./")
            texts[path] = body.read().decode("latin-1") if body else f"-> {member.linkname}"
    return record, texts


def refused(members: Iterable[Member], folder: Path) -> set[str]:
    """The checks that fail."""
    done = build(members, folder)
    assert done.returncode == 5, done.stderr
    text = done.stderr
    names = json.loads(lxcast("operations", "--json").stdout)["checks"]
    return {each["id"] for each in names if each["id"] in text}


@EACH
def test_it_passes_without_a_finding(image: str, tmp_path: Path) -> None:
    record, _ = built(ALL[image].members(), tmp_path)
    assert record["checks"] == {"policy": "golden", "findings": []}
    wanted = {"ubuntu-24.04": ("ubuntu", "24.04"), "alpine": ("alpine", "3.22.1"), "rocky-9": ("centos", "9.6")}
    assert (record["ostype"], record["release"]) == wanted[image]


@EACH
def test_identity_and_docker_are_gone(image: str, tmp_path: Path) -> None:
    _, texts = built(ALL[image].members(), tmp_path)
    assert ".dockerenv" not in texts
    assert not [path for path in texts if path.startswith("etc/ssh/ssh_host_")]
    assert texts.get("etc/machine-id", "") == ""
    assert (texts["etc/hostname"], texts["etc/resolv.conf"]) == ("", "")
    assert texts["etc/hosts"].startswith("127.0.0.1 localhost\n")


def test_ubuntu_keeps_networkd_and_gets_no_interfaces_file(tmp_path: Path) -> None:
    _, texts = built(UBUNTU.members(), tmp_path)
    assert "etc/network/interfaces" not in texts
    assert "systemd-networkd.service" in "".join(texts[path] for path in texts if "system-preset" in path)
    assert "etc/systemd/system/lxcast-ssh-host-keys.service" in texts
    assert not {"usr/sbin/policy-rc.d", "etc/apt/apt.conf.d/docker-clean"} & texts.keys()
    assert "var/lib/apt/lists/archive.ubuntu.com_ubuntu_dists_noble_InRelease" not in texts
    assert "var/lib/dpkg/status" in texts


def test_alpine_gets_an_interfaces_file_and_no_systemd(tmp_path: Path) -> None:
    _, texts = built(ALPINE.members(), tmp_path)
    assert texts["etc/network/interfaces"] == "auto lo\niface lo inet loopback\n"
    assert not [path for path in texts if "systemd" in path]
    assert texts["etc/runlevels/default/sshd"] == "-> /etc/init.d/sshd"
    assert "var/cache/apk/APKINDEX.066df28d.tar.gz" not in texts
    assert {"lib/apk/db/installed", "etc/apk/world"} <= texts.keys()


def test_rocky_makes_its_host_keys_itself_and_keeps_its_databases(tmp_path: Path) -> None:
    _, texts = built(ROCKY.members(), tmp_path)
    assert "etc/systemd/system/lxcast-ssh-host-keys.service" not in texts
    assert "etc/network/interfaces" not in texts
    assert texts["etc/redhat-release"] == "-> rocky-release"
    assert "var/cache/dnf/expired_repos.json" not in texts
    assert {"var/lib/dnf/history.sqlite", "var/lib/rpm/rpmdb.sqlite"} <= texts.keys()


@EACH
def test_what_provisioning_sets_up_is_what_the_policy_wants(image: str, tmp_path: Path) -> None:
    conf = [member.path for member in ALL[image].members() if member.path.endswith(b"-keys-only.conf")]
    assert "ssh-passwords" in refused(without(ALL[image].members(), *conf), tmp_path)


def test_the_user_of_ubuntus_image_is_refused(tmp_path: Path) -> None:
    passwd = b"root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n"
    assert refused(replaced(UBUNTU.members(), regular(b"etc/passwd", passwd)), tmp_path) == {"human-users"}


@pytest.mark.parametrize(
    ("image", "manager"),
    [
        ("ubuntu-24.04", (b"usr/lib/systemd/systemd-networkd",)),
        ("alpine", (b"etc/init.d/networking", b"sbin/ifup", b"sbin/ifupdown")),
        ("rocky-9", (b"usr/sbin/NetworkManager",)),
    ],
)
def test_each_needs_the_manager_that_proxmox_writes_for(image: str, manager: tuple[bytes, ...], tmp_path: Path) -> None:
    assert refused(without(ALL[image].members(), *manager), tmp_path) >= {"network-manager"}


def test_netplan_does_not_take_networkds_place(tmp_path: Path) -> None:
    """As Ubuntu's images for virtual machines have it: netplan writes for networkd, and so does Proxmox."""
    netplan = tree({"usr/sbin/netplan 755": "#!/usr/bin/python3\n", "etc/netplan/": ""})
    record, _ = built(replaced(UBUNTU.members(), *netplan), tmp_path)
    assert record["checks"]["findings"] == []
    alone = without(UBUNTU.members(), b"usr/lib/systemd/systemd-networkd")
    assert "network-manager" in refused(replaced(alone, *netplan), tmp_path)


def test_an_alpine_image_without_openrc_is_refused(tmp_path: Path) -> None:
    bare = without(ALPINE.members(), b"etc/init.d", b"etc/runlevels", b"sbin/ifup", b"sbin/ifupdown")
    assert {"network-manager", "ssh-enabled"} <= refused(bare, tmp_path)


def test_an_absolute_release_link_of_rocky_is_made_relative(tmp_path: Path) -> None:
    absolute = symlink(b"etc/redhat-release", b"/etc/rocky-release")
    _, texts = built(replaced(ROCKY.members(), absolute), tmp_path)
    assert texts["etc/redhat-release"] == "-> rocky-release"
