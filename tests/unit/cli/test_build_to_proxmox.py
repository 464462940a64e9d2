import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.tar.member import regular
from lxcast.testing import Cluster, TaskFault
from tests.image_files import docker_archive
from tests.unit.cli.proxmox import access, held, start
from tests.unit.cli.running import COMMAND, archive, environment, lxcast, wait_for
from tests.unit.rootfs.filesystems import minimal_debian, without


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(archive([*minimal_debian(), regular(b"srv", b"x" * 999)]))
    return path


def build(server: Cluster, tmp_path: Path, source: Path, *more: str, **environ: str) -> CompletedProcess[str]:
    words: tuple[str | Path, ...] = (
        "build",
        source,
        "--name",
        "web",
        "--storage",
        "proxmox:pve/local",
        "--records",
        "records",
        *more,
    )
    told = lxcast(*words, cwd=tmp_path, environ=access(server, tmp_path, **environ))
    assert "bug in lxcast" not in told.stderr
    return told


def test_a_build_is_published_in_one_go(server: Cluster, tmp_path: Path, source: Path) -> None:
    told = build(server, tmp_path, source)
    assert (told.returncode, told.stdout) == (0, "local:vztmpl/web-v1.tar.zst\n"), told.stderr
    assert held(server, "web-v1.tar.zst")
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["web-v1.json"]
    record = json.loads((tmp_path / "records/web-v1.json").read_text())
    assert (record["template_id"], record["version"]) == ("local:vztmpl/web-v1.tar.zst", "v1")
    assert build(server, tmp_path, source, "--if-changed").stdout == "local:vztmpl/web-v1.tar.zst\n"
    assert build(server, tmp_path, source).stdout == "local:vztmpl/web-v2.tar.zst\n"


def test_an_image_that_the_storage_has_a_template_of_is_not_sent_again(server: Cluster, tmp_path: Path) -> None:
    image = docker_archive(tmp_path / "saved.tar", [archive(minimal_debian())])
    assert build(server, tmp_path, image).stdout == "local:vztmpl/web-v1.tar.zst\n"
    again = build(server, tmp_path, image)
    assert again.stdout == "local:vztmpl/web-v1.tar.zst\n"
    assert re.search(r"was built from the same docker-archive sha256:\w+ with the same settings", again.stderr)
    assert build(server, tmp_path, image, "--no-reuse").stdout == "local:vztmpl/web-v2.tar.zst\n"
    for number in (1, 2):
        (server.storages["local"].folder("pve") / f"web-v{number}.tar.zst").unlink()
    assert build(server, tmp_path, image).stdout == "local:vztmpl/web-v3.tar.zst\n"


def test_numbers_go_on_from_what_the_storage_lists(server: Cluster, tmp_path: Path, source: Path) -> None:
    (server.storages["local"].folder("pve") / "web-v7.tar.gz").write_bytes(b"of another machine")
    assert build(server, tmp_path, source).stdout == "local:vztmpl/web-v8.tar.zst\n"


def test_the_same_version_again_is_a_success_and_other_content_a_conflict(
    server: Cluster, tmp_path: Path, source: Path
) -> None:
    for _ in (1, 2):
        told = build(server, tmp_path, source, "--version", "v3")
        assert told.stdout == "local:vztmpl/web-v3.tar.zst\n", told.stderr
    other = tmp_path / "other.tar"
    other.write_bytes(archive([*minimal_debian(), regular(b"srv", b"other")]))
    before = held(server, "web-v3.tar.zst")
    told = build(server, tmp_path, other, "--version", "v3")
    assert (told.returncode, told.stdout) == (7, "")
    assert held(server, "web-v3.tar.zst") == before
    assert "lxcast publish" not in told.stderr
    assert "build it again with another --version, or without one for the next number" in told.stderr
    assert build(server, tmp_path, other, "--version", "v5").stdout == "local:vztmpl/web-v5.tar.zst\n"
    assert build(server, tmp_path, other).stdout == "local:vztmpl/web-v6.tar.zst\n"


def test_what_was_built_for_a_name_that_another_machine_took_is_kept(
    server: Cluster, tmp_path: Path, source: Path
) -> None:
    (server.storages["local"].folder("pve") / "web-v3.tar.zst").write_bytes(b"of another machine")
    told = build(server, tmp_path, source, "--version", "v3")
    assert (told.returncode, "lxcast publish" in told.stderr) == (7, False)
    kept = re.search(r"without one for the next number; the built template was saved as (\S+)", told.stderr)
    assert kept, told.stderr
    copy = (tmp_path / kept[1]).rename(tmp_path / "web-v9.tar.zst")
    published = lxcast("publish", copy, cwd=tmp_path, environ=access(server, tmp_path))
    assert published.stdout == "local:vztmpl/web-v9.tar.zst\n", published.stderr
    assert build(server, tmp_path, source).stdout == "local:vztmpl/web-v10.tar.zst\n"


def test_a_name_without_a_version_that_is_taken_leads_to_another(server: Cluster, tmp_path: Path, source: Path) -> None:
    def dated(pattern: str = "{name}-{timestamp}") -> CompletedProcess[str]:
        return build(server, tmp_path, source, "--pattern", pattern, SOURCE_DATE_EPOCH="0")

    assert dated().returncode == 0
    source.write_bytes(archive([*minimal_debian(), regular(b"srv", b"other")]))
    told = dated()
    assert told.returncode == 7
    assert "build it again with another --name, or with {version} in --pattern" in told.stderr
    assert dated("{name}-{timestamp}-{version}").returncode == 0


def test_a_failing_upload_leaves_the_template_and_the_command_that_goes_on(
    server: Cluster, tmp_path: Path, source: Path
) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(error="import failed: No space left on device")
    system = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    words = ("--ca-file", str(server.ca), "--records", str(tmp_path / "my records"))
    told = build(server, tmp_path, source, *words, **system)
    assert (told.returncode, told.stdout) == (9, "")
    found = re.search("the template was saved, publish it with: lxcast (.*)", told.stderr)
    assert found, told.stderr
    server.faults.tasks.clear()
    again = lxcast(*shlex.split(found[1]), cwd=tmp_path, environ=access(server, tmp_path, **system))
    assert again.stdout == "local:vztmpl/web-v1.tar.zst\n", again.stderr
    assert json.loads((tmp_path / "my records/web-v1.json").read_text())["template_id"] == again.stdout.strip()


def test_what_forbids_the_upload_is_told_before_the_build(server: Cluster, tmp_path: Path, source: Path) -> None:
    server.storages["local"].enabled = False
    told = build(server, tmp_path, source)
    assert told.returncode == 6
    assert "is disabled" in told.stderr
    assert "reading" not in told.stderr
    assert not (tmp_path / "records").exists()


def test_failing_checks_leave_nothing(server: Cluster, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(archive(without(minimal_debian(), b"usr/lib/systemd/systemd")))
    assert build(server, tmp_path, broken).returncode == 5
    assert list((tmp_path / "records").iterdir()) == []
    assert server.tasks.all == []


def test_a_listing_shows_what_this_machine_and_others_uploaded(server: Cluster, tmp_path: Path, source: Path) -> None:
    build(server, tmp_path, source)
    (server.storages["local"].folder("pve") / "alpine-3.20_amd64.tar.xz").write_bytes(b"12345")
    words = ("list", "--storage", "proxmox:", "--records", "records", "--json")
    told = lxcast(*words, cwd=tmp_path, environ=access(server, tmp_path))
    first, second = json.loads(told.stdout)["templates"]
    assert (first["template_id"], first["size"]) == ("local:vztmpl/alpine-3.20_amd64.tar.xz", 5)
    assert (second["template_id"], second["version"]) == ("local:vztmpl/web-v1.tar.zst", "v1")
    assert len(second["sha256"]) == 64


def overtaken(server: Cluster, tmp_path: Path, *more: str) -> tuple[int, bytes, bytes]:
    """Build, while another machine takes the number; return exit code, standard output and standard error."""
    log = tmp_path / "log"
    process = subprocess.Popen(
        [*COMMAND, "--log-file", log, "build", "-", "--name", "web", "--storage", "proxmox:", *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(access(server, tmp_path)),
    )
    data = archive(minimal_debian())
    assert process.stdin
    process.stdin.write(data[:-1])  # what it is is told by its content, before the reading begins
    process.stdin.flush()
    wait_for("begin   reading", log, process)
    (server.storages["local"].folder("pve") / "web-v1.tar.zst").write_bytes(b"of another machine")
    out, talk = process.communicate(data[-1:], timeout=240)
    return process.returncode, out, talk


def test_a_number_that_is_taken_meanwhile_is_passed_over(server: Cluster, tmp_path: Path) -> None:
    code, out, talk = overtaken(server, tmp_path, "--records", "records")
    assert (code, out) == (0, b"local:vztmpl/web-v2.tar.zst\n"), talk.decode()
    assert held(server, "web-v1.tar.zst") == b"of another machine"
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["web-v2.json"]


def interrupt_the_upload(server: Cluster, tmp_path: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Build, and send a signal when the upload has begun, to a server that would take it in 80 s."""
    large = tmp_path / "large.tar"
    large.write_bytes(archive([*minimal_debian(), regular(b"srv", os.urandom(400_000))]))
    server.faults.read_rate = 5000.0
    words = ("--log-file", "log", "build", large, "--name", "web", "--storage", "proxmox:")
    process = start(server, tmp_path, *words)
    wait_for("begin   publishing", tmp_path / "log", process)
    while not list(server.temporary("pve").glob("*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, talk = process.communicate(timeout=60)
    server.faults.read_rate = None
    return process.returncode, out, talk


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_upload_leaves_the_template_and_the_command_that_goes_on(
    server: Cluster, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    status, out, talk = interrupt_the_upload(server, tmp_path, number)
    assert (status, out) == (code, "")
    assert held(server, "web-v1.tar.zst") is None
    found = re.search(r"hint: the template was saved, publish it with: lxcast (publish \S+ --storage \S+)", talk)
    assert found, talk
    again = lxcast(*found[1].split(), cwd=tmp_path, environ=access(server, tmp_path))
    assert again.stdout == "local:vztmpl/web-v1.tar.zst\n", again.stderr


def test_a_name_too_long_for_proxmox_is_refused_before_the_build(server: Cluster, tmp_path: Path, source: Path) -> None:
    fits = 255 - len("local:vztmpl/-v1.tar.zst")
    told = build(server, tmp_path, source, "--name", "w" * (fits + 1))
    assert (told.returncode, told.stdout) == (2, "")
    assert "has 256 characters, Proxmox takes at most 255" in told.stderr
    assert "hint: use a shorter" in told.stderr
    assert "reading" not in told.stderr
    assert not (tmp_path / "records").exists()
    assert build(server, tmp_path, source, "--name", "w" * fits).returncode == 0
    here = lxcast("build", source, "--name", "w" * (fits + 1), "--storage", f"local={tmp_path / 'dir'}")
    assert (here.returncode, "reading" in here.stderr) == (2, False), here.stderr


def test_a_number_that_stands_in_the_content_is_not_changed(server: Cluster, tmp_path: Path) -> None:
    code, out, talk = overtaken(server, tmp_path, "--enable", "release")
    assert (code, out) == (7, b""), talk.decode()
    assert b"without one for the next number; the built template was saved as " in talk
    assert held(server, "web-v1.tar.zst") == b"of another machine"
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    assert build(server, tmp_path, source, "--enable", "release").stdout == "local:vztmpl/web-v2.tar.zst\n"


def test_the_next_number_is_above_those_of_every_node(tmp_path: Path, source: Path) -> None:
    with Cluster(("pve", "pve2")) as server:
        (server.storages["local"].folder("pve2") / "web-v7.tar.gz").write_bytes(b"of another machine")
        told = build(server, tmp_path, source, "--all-nodes")
        assert told.stdout == "local:vztmpl/web-v8.tar.zst\n", told.stderr
        assert [held(server, "web-v8.tar.zst", node) is not None for node in server.nodes] == [True, True]


def test_an_interrupt_of_a_builds_fan_out_keeps_the_template(tmp_path: Path, source: Path) -> None:
    with Cluster(("pve", "pve2", "pve3")) as server:
        server.faults.tasks["imgcopy"] = TaskFault(seconds=600)
        words = ("build", source, "--name", "web", "--storage", "proxmox:pve/local", "--all-nodes")
        process = start(server, tmp_path, *words)
        while not server.tasks.all:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, talk = process.communicate(timeout=240)
        assert (process.returncode, out) == (143, "")
        found = re.search(r"the template was saved, publish it with: lxcast publish (\S+) (.*)", talk)
        assert found, talk
        assert Path(found[1]).is_file()
        assert "--all-nodes" in found[2]
