"""An OCI archive that lxcast writes is one to the programs of the field, and holds the members of the template."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from lxcast.jobs.diff import diff
from lxcast.progress import Progress
from lxcast.tar.member import LNK, Member, regular
from tests.image_files import Layout
from tests.integration.tools import Program, missing, on_path
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian, without

SPECIAL = [
    Member(b"opt/deep/" + b"x" * 90 + b"/" + b"y" * 120, size=3, body=b"abc", mtime=7),
    Member(b"opt/setuid", mode=0o4755, uid=33, gid=44, size=1, body=b"z"),
    Member(b"opt/user", size=1, body=b"u", xattrs={b"user.note": b"hello"}),
    regular(b"opt/first", b"data"),
    Member(b"opt/second", LNK, link=b"opt/first"),
]


def program(name: str) -> Program:
    found = on_path(name)
    if found is None or os.geteuid() != 0:
        missing(f"no {name}, or no root to unpack as")
    return Program(found)


@pytest.fixture
def template(commands: Path, tmp_path: Path) -> Path:
    made = Layout(tmp_path / "image")
    config = {"Entrypoint": ["/usr/bin/dash"], "Cmd": ["-c", "true"], "Env": ["A=1"], "WorkingDir": "/opt"}
    members = archive([*without(minimal_debian(), b"usr/sbin/init"), *SPECIAL])
    made.add(made.manifest([members], "gzip", config=config))
    options = ("--name", "app", "--output", tmp_path / "out", "--format", "oci-archive")
    return Path(Program(commands / "lxcast").run("build", made.folder, *options).stdout.strip())


def is_oci_for_proxmox(template: Path) -> bool:
    """PVE/LXC/Create.pm, archive_is_oci_format: the three names, as tar lists them."""
    names = subprocess.run(["tar", "-tf", template], capture_output=True, text=True, check=True).stdout.splitlines()
    return (
        template.name.endswith(".tar")
        and {"oci-layout", "index.json"} <= set(names)
        and all(name in ("oci-layout", "index.json") or name.startswith("blobs/") for name in names)
    )


def test_proxmox_recognises_it(template: Path) -> None:
    assert is_oci_for_proxmox(template)


def test_skopeo_reads_its_config_and_umoci_unpacks_its_members(template: Path, tmp_path: Path) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    said = json.loads(skopeo.run("inspect", "--config", f"oci-archive:{template}").stdout)
    assert (said["os"], said["architecture"]) == ("linux", "amd64")
    assert said["config"]["Cmd"] == ["-c", "true"]
    assert said["config"]["WorkingDir"] == "/opt"
    skopeo.run("copy", f"oci-archive:{template}", f"oci:{tmp_path}/copy:v1")
    manifest = json.loads(skopeo.run("inspect", "--raw", f"oci:{tmp_path}/copy:v1").stdout)
    blob = tmp_path / "copy/blobs" / manifest["layers"][0]["digest"].replace(":", "/")
    # umoci 0.4 reads no zstd.
    layer = subprocess.run(["zstd", "-dcq", blob], capture_output=True, check=True).stdout
    made = Layout(tmp_path / "layout")
    made.add(made.manifest([layer]), "v1")
    umoci.run("unpack", "--image", f"{tmp_path}/layout:v1", tmp_path / "bundle")
    differences = diff(str(template), f"rootfs:{tmp_path}/bundle/rootfs", Progress())
    assert [str(each) for each in differences if each.path] == []


def test_python_and_bsdtar_read_every_member(template: Path) -> None:
    listed = program("bsdtar").run("-tf", template).stdout.splitlines()
    with tarfile.open(template, "r:") as tar:
        assert [f"{each.name}{'/' * each.isdir()}" for each in tar] == listed
        assert {each.mtime for each in tar.getmembers()} == {0}
