"""A build from what distrobuilder and Incus write, run as a user runs it."""

import io
import json
import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest

from lxcast.tar.member import Member, directory, regular
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

YAML = b"""\
architecture: x86_64
properties: {os: debian, release: bookworm, variant: cloud}
templates:
  /etc/motd: {when: [create], template: motd.tpl}
  /etc/hostname: {when: [create, copy], template: hostname.tpl}
  /etc/seed: {when: [create], template: seed.tpl}
  /bin/sh: {when: [create], template: motd.tpl}
  /usr: {when: [create], template: motd.tpl}
"""
META = [
    regular(b"metadata.yaml", YAML),
    regular(b"templates/hostname.tpl", b"{{ container.name }}\n"),
    regular(b"templates/motd.tpl", b"{{ image.os }} {{ image.release }}\n"),
    regular(b"templates/seed.tpl", b"{{ container.name }}\n"),
]
PATTERN = "hakim-{variant}-{release}-{arch}"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """The folder that distrobuilder leaves."""
    folder = tmp_path / "built"
    folder.mkdir()
    root = [*minimal_debian(), regular(b"etc/motd", b"old\n")]
    (folder / "rootfs.tar.xz").write_bytes(lzma.compress(archive(root)))
    (folder / "meta.tar.xz").write_bytes(lzma.compress(archive(META)))
    return folder


def content(template: Path, name: str) -> bytes:
    plain = subprocess.run(["zstd", "-dcq", template], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        found = tar.extractfile(name)
        assert found is not None
        return found.read()


def test_the_output_is_named_as_hakim_names_it_and_keeps_the_metadata(pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = lxcast("build", pair, "--name", "debian", "--output", out, "--pattern", PATTERN)
    assert done.returncode == 0, done.stderr
    template = out / "hakim-cloud-bookworm-amd64.tar.zst"
    assert done.stdout == f"{template}\n"
    assert (out / "hakim-cloud-bookworm-amd64.meta.tar.xz").read_bytes() == (pair / "meta.tar.xz").read_bytes()
    record = json.loads((out / "hakim-cloud-bookworm-amd64.json").read_text())
    assert record["metadata"]["properties"] == {"os": "debian", "release": "bookworm", "variant": "cloud"}
    again = lxcast("build", template, "--name", "again", "--output", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "again-v1.json").read_text())["metadata"] == record["metadata"], again


def test_templates_are_honoured_where_proxmox_has_no_equivalent(pair: Path, tmp_path: Path) -> None:
    done = lxcast("build", pair, "--name", "debian", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    template = tmp_path / "out/debian-v1.tar.zst"
    assert content(template, "./etc/motd") == b"debian bookworm\n"
    assert content(template, "./etc/hostname") == b""
    assert "the template of '/etc/seed' was left out: what 'container.name' is" in done.stderr
    assert "left out a template of the image: /usr is a directory" in done.stderr


def test_an_addition_wins_over_a_template(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("mine\n")
    add = f"{tmp_path / 'motd'}:/etc/motd"
    lxcast("build", pair, "--name", "debian", "--output", tmp_path / "out", "--add", add)
    assert content(tmp_path / "out/debian-v1.tar.zst", "./etc/motd") == b"mine\n"


def test_in_a_storage_the_metadata_lies_in_the_record_alone(pair: Path, tmp_path: Path) -> None:
    done = lxcast("build", pair, "--name", "debian", "--storage", tmp_path / "storage")
    assert done.returncode == 0, done.stderr
    cache = tmp_path / "storage/template/cache"
    assert {path.name for path in cache.iterdir()} == {
        f"debian-v1.{end}" for end in ("tar.zst", "tar.zst.sha256", "json")
    }
    assert json.loads((cache / "debian-v1.json").read_text())["metadata"]["architecture"] == "x86_64"


def test_a_pattern_without_a_version_is_refused_for_a_storage(pair: Path, tmp_path: Path) -> None:
    done = lxcast("build", pair, "--name", "debian", "--storage", tmp_path / "storage", "--pattern", PATTERN)
    assert done.returncode == 2
    assert "{version}" in done.stderr
    assert not (tmp_path / "storage").exists()


def unified(members: list[Member]) -> bytes:
    moved = [each.changed(path=b"rootfs/" + each.path if each.path else b"rootfs") for each in members]
    return archive([META[0], *moved, directory(b"templates"), *META[1:]])


def test_a_unified_archive_is_refused_by_check_and_repacked_with_its_metadata_beside(
    pair: Path, tmp_path: Path
) -> None:
    old = tmp_path / "debian.tar.xz"
    old.write_bytes(lzma.compress(unified(minimal_debian())))
    told = lxcast("check", old)
    assert told.returncode == 5
    assert "run `lxcast repack FILE`, which extracts it" in told.stdout
    done = lxcast("repack", old)
    assert done.stdout == f"{tmp_path / 'debian-v1.tar.zst'}\n", done.stderr
    assert lxcast("check", tmp_path / "debian-v1.tar.zst").returncode == 0
    assert lxcast("diff", tmp_path / "debian-v1.tar.zst", pair).returncode == 1
    kept = tarfile.open(tmp_path / "debian-v1.meta.tar.xz")  # noqa: SIM115 - closed below
    with kept:
        assert kept.getnames() == [f"./{each.path.decode()}" for each in META]


def test_check_takes_a_folder(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "root", "-xJf", pair / "rootfs.tar.xz"], check=True)
    done = lxcast("check", tmp_path / "root")
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_takes_the_folder_of_a_pair(pair: Path) -> None:
    done = lxcast("check", pair)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "debian amd64" in done.stdout
