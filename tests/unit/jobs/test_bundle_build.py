"""A build from a runtime bundle, by the command: what its container is given, and what is wrong with a bundle."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lxcast.tar.member import Member, regular
from lxcast.testing import Cluster
from tests.image_files import Layout
from tests.unit.cli.proxmox import access
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian, program, without

NO_INIT = [*without(minimal_debian(), b"usr/sbin/init", b"usr/sbin/ifup"), program(b"usr/bin/env")]
CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs.tar"},
    "process": {
        "args": ["/bin/app", "x y"],
        "env": ["A=b", "DB_PASSWORD=hunter2"],
        "cwd": "/srv",
        "user": {"uid": 0, "gid": 0},
    },
    "hostname": "web",
    "mounts": [{"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["ro"]}],
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "network"}],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
        "resources": {
            "memory": {"limit": 100_000_000, "swap": 300_000_000},
            "cpu": {"shares": 512, "quota": 250_000, "period": 100_000, "cpus": "0-1,1,4"},
            "pids": {"limit": 64},
        },
    },
}


def bundle(folder: Path, members: list[Member], **changed: Any) -> Path:
    folder.mkdir()
    (folder / "rootfs.tar").write_bytes(archive(members))
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changed}))
    return folder


def build(folder: Path, source: Path | str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the record or error, and what was said."""
    done = lxcast("build", str(source), "--name", "web", "--output", "out", "--json", *options, cwd=folder)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_bundle_without_an_init_gets_one_and_its_hints(tmp_path: Path) -> None:
    code, record, said = build(tmp_path, bundle(tmp_path / "b", NO_INIT))
    assert code == 0, said
    assert "wrote /usr/sbin/init, which starts app: there was no init" in said
    assert record["fit"]["written-init"] == ["wrote /usr/sbin/init, which starts app: there was no init"]
    assert "network-manager: no network: " not in said
    assert "host-managed=1" in said
    assert record["hints"] == {
        "unprivileged": True,
        "disk_gb": 1,
        "features": ["fuse=1"],
        "hostname": "web",
        "memory": 96,
        "swap": 190,
        "cores": 3,
        "cpulimit": 2.5,
        "cpuunits": 50,
        "cpuset": "0-1,1,4",
        "pids": 64,
        "network": "own",
        "namespaces": ["pid", "network"],
        "mounts": [{"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["ro"]}],
        "init": "auto",
        "cmode": "console",
        "host_managed": True,
        "cmd": ["/bin/app", "x y"],
        "env": ["A=b", "DB_PASSWORD=***"],
        "user": "0:0",
        "working_dir": "/srv",
    }
    checked = lxcast("check", "out/web-v1.tar.zst", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_a_bundle_with_an_init_keeps_it_and_is_the_same_template_either_way(tmp_path: Path) -> None:
    source = bundle(tmp_path / "b", minimal_debian())
    _, auto, said = build(tmp_path, source)
    _, none, _ = build(tmp_path, source, "--init", "none", "--no-reuse")
    assert "written-init" not in auto["fit"]
    assert "there was no init" not in said
    assert auto["diff_id"] == none["diff_id"]
    assert {"init", "cmode", "host_managed"}.isdisjoint(auto["hints"])


@pytest.mark.parametrize(
    ("program", "told"), [("/bin/app", True), ("/sbin/init", False), ("/lib/systemd/systemd", False)]
)
def test_a_program_that_the_init_keeps_from_starting_is_told(tmp_path: Path, program: str, told: bool) -> None:
    process = {**CONFIG["process"], "args": [program]}
    code, _, said = build(tmp_path, bundle(tmp_path / "b", minimal_debian(), process=process))
    assert code == 0
    assert (f"init: /sbin/init: already exists and starts instead of {program}" in said) == told


def test_app_leaves_the_start_to_proxmox(tmp_path: Path) -> None:
    source = bundle(tmp_path / "b", NO_INIT)
    code, record, said = build(tmp_path, source, "--init", "app")
    assert code == 0, said
    assert "warning: init: /sbin/init: is missing: Proxmox VE 9.1 or later must start /bin/app" in said
    assert record["hints"]["init"] == "app"
    assert (record["hints"]["uid"], record["hints"]["gid"]) == (0, 0)
    assert "written-init" not in record["fit"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"args": ["/bin/app", "a\nb"]}, "the command line"),
        ({"args": ["/bin/app", "both \" and '"]}, "the command line"),
        ({"env": ["A=b", "C=\nlxc.hook.pre-start = /x"]}, "the variable C"),
        ({"cwd": "/srv\nlxc.hook.pre-start = /x"}, "the working directory"),
    ],
)
def test_app_tells_what_proxmox_cannot_be_told(tmp_path: Path, changed: dict[str, Any], what: str) -> None:
    process = {**CONFIG["process"], **changed}
    code, error, _ = build(tmp_path, bundle(tmp_path / "b", NO_INIT, process=process), "--init", "app")
    assert code == 5
    assert f"is missing, and Proxmox's entrypoint cannot express {what}" in error["error"]["message"]


def test_without_an_init_and_without_a_shell_everything_that_lacks_is_told(tmp_path: Path) -> None:
    static = without(NO_INIT, b"usr/bin/sh", b"usr/bin/env")
    process = {**CONFIG["process"], "user": {"uid": 7, "gid": 7}}
    code, error, _ = build(tmp_path, bundle(tmp_path / "b", static, process=process))
    assert code == 5
    message = error["error"]["message"]
    assert "init: /sbin/init: is missing and cannot be written: /bin/sh is missing" in message
    assert "the program env is missing" in message
    assert "no program can start the command as 7:7" in message
    assert "--init app" in message
    assert build(tmp_path, tmp_path / "b", "--init", "app")[0] == 0


def test_the_written_init_brings_the_network_up_where_that_is_asked(tmp_path: Path) -> None:
    plain = bundle(tmp_path / "plain", NO_INIT)
    code, error, _ = build(tmp_path, plain, "--network", "dhcp")
    assert code == 5
    assert "cannot be written: ifupdown and a DHCP client are missing" in error["error"]["message"]
    client = bundle(tmp_path / "client", [*NO_INIT, program(b"usr/sbin/dhclient")])
    code, record, said = build(tmp_path, client, "--network", "dhcp")
    assert code == 0, said
    assert "host_managed" not in record["hints"]
    text = subprocess.run(
        ["tar", "-xOf", record["file"], "./usr/sbin/init"], cwd=tmp_path / "out", capture_output=True, check=True
    ).stdout
    assert b"dhclient -1 eth0\n" in text


def test_an_image_is_a_base_unless_it_is_asked_to_be_run(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    config = {"Entrypoint": ["/bin/app"], "Cmd": ["x"], "StopSignal": "SIGINT"}
    made.add(made.manifest([archive(NO_INIT)], "gzip", config=config))
    code, error, _ = build(tmp_path, tmp_path / "image")
    assert code == 5
    assert "--init auto" in error["error"]["message"]
    assert "--init app" in error["error"]["message"]
    code, record, said = build(tmp_path, tmp_path / "image", "--init", "auto")
    assert code == 0, said
    assert record["hints"]["init"] == "auto"
    assert record["hints"]["stop_signal"] == "SIGINT"


def test_a_source_that_names_no_process_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar").write_bytes(archive(NO_INIT))
    code, error, _ = build(tmp_path, tmp_path / "rootfs.tar", "--init", "auto")
    assert code == 5
    assert "is missing, and the source names no command to start instead" in error["error"]["message"]
    assert "process.args of a runtime bundle" in error["error"]["message"]
    assert "--init auto" not in error["error"]["message"]


def test_the_row_can_be_turned_off(tmp_path: Path) -> None:
    code, error, _ = build(tmp_path, bundle(tmp_path / "b", NO_INIT), "--disable", "written-init")
    assert code == 5
    assert "init: /sbin/init: is missing" in error["error"]["message"]


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda b: (b / "config.json").unlink(), 3, "config.json is missing"),
        (lambda b: (b / "config.json").write_text("{"), 3, "invalid JSON"),
        (lambda b: (b / "config.json").write_text('{"ociVersion": "x"}'), 3, "ociVersion: expected"),
        (lambda b: (b / "rootfs.tar").unlink(), 3, "does not exist"),
        (lambda b: (b / "rootfs.tar").write_bytes(b""), 4, "is empty"),
        (lambda b: (b / "rootfs.tar").write_bytes(bytes(10240)), 5, "few-members: the archive has 1 members"),
        (lambda b: (b / "rootfs.tar").write_bytes(archive(NO_INIT)[:5000]), 4, "is truncated"),
        (lambda b: [(b / "rootfs.tar").unlink(), (b / "rootfs.tar").mkdir()], 3, "is empty"),
    ],
)
@pytest.mark.parametrize("place", [("--output", "out"), ("--storage", "./storage")])
def test_a_wrong_bundle_is_told_and_leaves_nothing(
    tmp_path: Path, spoil: Any, code: int, said: str, place: tuple[str, str]
) -> None:
    source = bundle(tmp_path / "b", NO_INIT)
    spoil(source)
    done = lxcast("build", f"bundle:{source}", "--name", "web", *place, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert [path for path in (tmp_path / place[1]).rglob("*") if path.is_file()] == []
    assert lxcast("build", "bundle:./gone", "--name", "web", *place, cwd=tmp_path).returncode == 3


def test_files_of_the_bundle_stay_as_they_are(tmp_path: Path) -> None:
    source = bundle(tmp_path / "b", [*NO_INIT, regular(b"srv/x", b"y")])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.iterdir()}
    assert build(tmp_path, source)[0] == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.iterdir()} == before


def test_check_says_what_a_build_of_the_bundle_would(tmp_path: Path) -> None:
    (tmp_path / "b/rootfs").mkdir(parents=True)
    (tmp_path / "rootfs.tar").write_bytes(archive(NO_INIT))
    with tarfile.open(tmp_path / "rootfs.tar") as tar:
        tar.extractall(tmp_path / "b/rootfs", filter="tar")
    (tmp_path / "b/config.json").write_text(json.dumps({**CONFIG, "root": {"path": "rootfs"}}))
    done = lxcast("check", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "warning  init: /sbin/init: is missing: `lxcast build` writes one that starts /bin/app" in done.stdout
    done = lxcast("check", "b", "--init", "none", cwd=tmp_path)
    assert done.returncode == 5
    assert "error    init: /sbin/init: is missing" in done.stdout


def test_check_and_publish_take_what_proxmox_is_to_start(tmp_path: Path) -> None:
    assert build(tmp_path, bundle(tmp_path / "b", NO_INIT), "--init", "app")[0] == 0
    done = lxcast("check", "out/web-v1.tar.zst", cwd=tmp_path)  # the record says that Proxmox starts the program
    assert done.returncode == 0
    assert "Proxmox VE 9.1 or later must start the program of its entrypoint" in done.stdout
    with Cluster() as cluster:
        environ = access(cluster, tmp_path)
        done = lxcast("publish", "out/web-v1.tar.zst", "--storage", "proxmox:", cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr


def test_check_and_diff_read_the_platform_that_is_asked_for(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    manifests = [
        made.manifest([archive(minimal_debian(arch))], architecture=arch)
        | {"platform": {"os": "linux", "architecture": arch}}
        for arch in ("amd64", "arm64")
    ]
    index = {"schemaVersion": 2, "manifests": manifests}
    made.add(made.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json"))
    for arch in ("amd64", "arm64"):
        (tmp_path / f"{arch}.tar").write_bytes(archive(minimal_debian(arch)))
    for arch in ("amd64", "arm64"):
        done = lxcast("check", "image", "--platform", f"linux/{arch}", "--json", cwd=tmp_path)
        assert json.loads(done.stdout)["arch"] == arch
        for other in ("amd64", "arm64"):
            done = lxcast("diff", "image", f"{other}.tar", "--platform", f"linux/{arch}", cwd=tmp_path)
            assert done.returncode == int(arch != other), done.stderr
