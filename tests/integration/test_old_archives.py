"""What distrobuilder, Incus and hakim wrote becomes templates that boot: with the real programs and the real LXC."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration import proxmox_node
from tests.integration.lxc import boot
from tests.integration.tools import Program, missing, on_path

YAML = "architecture: x86_64\nproperties: {os: debian, release: bookworm, variant: default}\n"


@pytest.fixture(scope="module")
def pair(service_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that distrobuilder leaves, of the service image."""
    folder = tmp_path_factory.mktemp("pair")
    with (folder / "rootfs.tar.xz").open("wb") as file:
        subprocess.run(["xz", "-T0", "-0", "-c", service_export], stdout=file, check=True)
    (folder / "metadata.yaml").write_text(YAML)
    subprocess.run(["tar", "-cJf", "meta.tar.xz", "metadata.yaml"], cwd=folder, check=True)
    (folder / "metadata.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def plain(service_export: Path, commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of the same root filesystem."""
    folder = tmp_path_factory.mktemp("plain")
    return Path(
        Program(commands / "lxcast").run("build", service_export, "--name", "plain", "--output", folder).stdout.strip()
    )


def test_a_hakim_shaped_archive_is_refused_by_check_and_boots_when_it_is_repacked(
    pair: Path, plain: Path, commands: Path, lxc: Path, tmp_path: Path
) -> None:
    lxcast = Program(commands / "lxcast")
    old = tmp_path / "hakim-default-bookworm-amd64.tar.xz"
    subprocess.run(["tar", "-C", pair, "-I", "xz -T0 -0", "-cf", old, "meta.tar.xz", "rootfs.tar.xz"], check=True)
    refused = lxcast.run("check", old, check=False)
    assert refused.returncode == 5
    assert (
        "nested-archive: /rootfs.tar.xz: contains the root filesystem as an archive inside the archive"
        in refused.stdout
    )
    new = Path(lxcast.run("repack", old).stdout.strip())
    assert new == tmp_path / "hakim-default-bookworm-amd64-v1.tar.zst"
    lxcast.run("check", new)
    lxcast.run("diff", plain, new)
    record = json.loads(new.with_name("hakim-default-bookworm-amd64-v1.json").read_text())
    assert record["metadata"]["properties"]["release"] == "bookworm"
    with proxmox_node.storage() as node:
        proxmox_node.unpack(new, node / "old")
        assert proxmox_node.create(node / "old", "old") == "debian"
        with boot(node / "old", "old") as container:
            container.wait_running()


def test_a_squashfs_image_a_unified_archive_and_the_pair_hold_the_same(
    pair: Path, plain: Path, service_export: Path, commands: Path, tmp_path: Path
) -> None:
    maker = on_path("tar2sqfs")
    if maker is None:
        missing("no tar2sqfs")
    image = tmp_path / "rootfs.squashfs"
    with service_export.open("rb") as file:
        subprocess.run([maker, "-q", "-c", "gzip", "-X", "level=1", image], stdin=file, check=True, capture_output=True)
    shutil.copy(pair / "meta.tar.xz", tmp_path / "incus.tar.xz")
    unified = tmp_path / "unified.tar"
    with tarfile.open(unified, "w") as out, tarfile.open(service_export) as tar:
        said = tarfile.TarInfo("metadata.yaml")
        said.size = len(YAML)
        out.addfile(said, io.BytesIO(YAML.encode()))
        for member in tar:
            body = tar.extractfile(member) if member.isreg() else None
            member.name = f"rootfs/{member.name}"
            member.linkname = f"rootfs/{member.linkname}" if member.islnk() else member.linkname
            out.addfile(member, body)
    lxcast = Program(commands / "lxcast")
    for source in (pair, image, unified):
        options = ("--name", source.stem, "--output", tmp_path / "out", "--json")
        record = json.loads(lxcast.run("build", source, *options).stdout)
        assert record["metadata"]["properties"]["os"] == "debian"
        differences = lxcast.run("diff", plain, tmp_path / "out" / record["file"], check=False)
        assert (source.name, differences.stdout) == (source.name, "")
