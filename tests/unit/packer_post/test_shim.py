"""lxcast-packer as a shell-local post-processor runs it: variables in, one line out, a receipt, a status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian

ARGUMENTS = [sys.executable, "-m", "packer_post"]


def environment(**variables: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LXCAST_")}
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return own | path | {"LXCAST_SOURCE": "rootfs.tar", "LXCAST_NAME": "debian-12"} | variables


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(ARGUMENTS, cwd=folder, env=environment(**variables), capture_output=True, text=True)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_line_of_output_and_a_receipt_of_the_same_id(folder: Path) -> None:
    done = run(folder, LXCAST_RECEIPT="output/receipt.json", LXCAST_STORAGE="pve-nfs=./nfs")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "pve-nfs:vztmpl/debian-12-v1.tar.zst\n"
    assert "\r" not in done.stderr
    receipt = json.loads((folder / "output/receipt.json").read_text())
    record = json.loads((folder / "nfs/template/cache/debian-12-v1.json").read_text())
    assert receipt == {**record, "path": str(folder / "nfs/template/cache/debian-12-v1.tar.zst")}
    assert len(names(folder)) == 5, "the export, the receipt, the template, its record and its checksum"


def test_an_unchanged_content_gives_the_id_of_the_template_that_is_there(folder: Path) -> None:
    first = run(folder, LXCAST_IF_CHANGED="true", SOURCE_DATE_EPOCH="0")
    second = run(folder, LXCAST_IF_CHANGED="true", SOURCE_DATE_EPOCH="0")
    assert first.stdout == second.stdout == "local:vztmpl/debian-12-v1.tar.zst\n"


def test_a_failed_check_keeps_the_export_and_drops_an_old_receipt(folder: Path) -> None:
    (folder / "receipt.json").write_text('{"template_id": "of an earlier build"}')
    (folder / "rootfs.tar").write_bytes(
        archive([*minimal_debian(), regular(b"root/.netrc", b"machine a password b\n")])
    )
    done = run(folder, LXCAST_RECEIPT="receipt.json", LXCAST_POLICY="golden")
    assert (done.returncode, done.stdout) == (5, "")
    kept = folder / "rootfs-kept1.tar"
    assert kept.samefile(folder / "rootfs.tar")
    assert f"\n  lxcast build {kept} --name debian-12 --policy golden\n" in done.stderr
    assert names(folder) == ["rootfs-kept1.tar", "rootfs.tar"]


def test_only_what_nobody_allowed_is_a_warning(folder: Path) -> None:
    (folder / "rootfs.tar").write_bytes(
        archive([*minimal_debian(), regular(b"root/.netrc", b"machine a password b\n")])
    )
    assert "lxcast: warning: netrc: /root/.netrc: line 1: a password" in run(folder).stderr
    assert "warning" not in run(folder, LXCAST_ALLOW="netrc=of-the-mirror").stderr


def test_a_wrong_variable_keeps_the_export_too(folder: Path) -> None:
    done = run(folder, LXCAST_POLICY="iron", LXCAST_FORMAT="zip")
    assert (done.returncode, done.stdout) == (2, "")
    assert "iron" in done.stderr
    assert "zip" in done.stderr
    assert (folder / "rootfs-kept1.tar").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_partial(folder: Path, number: int) -> None:
    content = (folder / "rootfs.tar").read_bytes()
    (folder / "rootfs.tar").unlink()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ARGUMENTS, cwd=folder, env=environment(LXCAST_SOURCE="-"), stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin
        # Half an archive, and then nothing: the build is surely at work, with a temporary file in the storage.
        process.stdin.write(content[:4096])
        process.stdin.flush()
        until = time.monotonic() + 120
        while not names(folder):
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5)  # the file is created a moment before the build takes care of its removal
        process.send_signal(number)
        assert process.wait(120) == 128 + number
        assert process.stdout
        assert process.stdout.read() == b""
    assert names(folder) == []


def test_help_names_every_variable() -> None:
    done = subprocess.run([*ARGUMENTS, "--help"], env=environment(), capture_output=True, text=True, check=True)
    for option in ("--source", "--name", "--version", "--receipt", "--storage", "--policy", "--if-changed", "--allow"):
        assert option in done.stdout
