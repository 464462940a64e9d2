"""Containers that `lxcast create` makes on this machine: by the real LXC, in namespaces of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import proxmox_node
from tests.integration.tools import UNIQUE, missing
from tests.unit.cli.running import environment

PREPARE = """\
umount -R -l /sys/fs/cgroup
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for file in /etc/subuid /etc/subgid; do
  test ! -e $file || mount --bind "$1/ids" $file
done
ip link set lo up
ip link add vmbr0 type bridge
ip address add 10.55.0.1/24 dev vmbr0
ip link set vmbr0 up
echo ready
exec sleep infinity
"""
PROGRAM = """\
#!/bin/sh
printf '%s|' "$@" > args
env | sort > environ
echo "$(id -u):$(id -g)" > ids
trap 'echo TERM > signal; exit 7' TERM
echo ready > state
while :; do sleep 0.1; done
"""
ARGUMENTS = ["two words", "", "*"]
NET = "bridge=vmbr0,ip=10.55.0.2/24"
TOOLS = ("sh", "env", "mount", "mkdir", "ip", "su", "cat", "sleep", "kill", "id", "sort", "rm")


class Host:
    """A host of containers: namespaces with a bridge, cgroup v2, and a directory of its own for LXC."""

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder, self.lxc = folder, folder / "lxc"
        self.enter = ["nsenter", "--mount", "--net", "--target", str(holder), f"--wd={folder}", "--"]
        self.env = environment({"HOME": str(folder), "LXCPATH": str(self.lxc)})

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [*self.enter, sys.executable, "-m", "lxcast", *map(str, words)]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300)

    def inside(self, name: str, *words: str) -> str:
        command = [*self.enter, "lxc-attach", "-P", str(self.lxc), "-n", name, "--clear-env", "--", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def containers(self) -> list[str]:
        return sorted(each.name for each in self.lxc.iterdir()) if self.lxc.exists() else []


@pytest.fixture
def host(lxc: Path) -> Iterator[Host]:
    with proxmox_node.storage() as folder:
        (folder / "ids").write_text("root:100000:65536\n")
        command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", PREPARE, "sh", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"ready\n"
            made = Host(folder, holder.pid)
            try:
                yield made
            finally:
                for name in made.containers():
                    stop = [*made.enter, "lxc-stop", "-P", str(made.lxc), "-n", name, "--kill"]
                    subprocess.run(stop, capture_output=True)
                holder.kill()


def busybox(folder: Path) -> Path:
    """Write a bundle whose only tool is BusyBox, and whose program is /opt/app."""
    found = shutil.which("busybox")
    if found is None or subprocess.run(["ldd", found], capture_output=True).returncode == 0:
        missing("no static busybox (Debian's busybox-static)")
    root = folder / "rootfs"
    for each in ("bin", "opt", "srv/work", "etc", "scratch"):
        (root / each).mkdir(parents=True)
    shutil.copy(found, root / "bin/busybox")
    for name in TOOLS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\napp:x:1000:\n")
    (root / "opt/app").write_text(PROGRAM)
    (root / "opt/app").chmod(0o755)
    os.chown(root / "srv/work", 1000, 1000)
    process = {
        "args": ["/opt/app", *ARGUMENTS],
        "env": ["PATH=/bin", "GREETING=hello world"],
        "cwd": "/srv/work",
        "user": {"uid": 1000, "gid": 1000},
    }
    config = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": process}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def wait_for(path: Path, seconds: float = 30) -> str:
    end = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, f"{path} was never written"
        time.sleep(0.1)
    return path.read_text()


@pytest.mark.parametrize("mapped", [True, False], ids=["unprivileged", "privileged"])
def test_a_bundle_of_a_plain_program_runs_in_lxc_as_the_bundle_says(host: Host, mapped: bool) -> None:
    bundle = busybox(host.folder / "bundle")
    name = f"web-{UNIQUE}"
    words: list[str | Path] = ["create", bundle, "--name", name, "--backend", "lxc", "--net", NET]
    (host.folder / "shared").mkdir(mode=0o777)
    (host.folder / "shared").chmod(0o777)
    words += ["--mount", f"{host.folder}/shared,mp=/scratch", *([] if mapped else ["--no-unprivileged"])]
    told = host.run(*words)
    assert (told.returncode, told.stdout) == (0, f"{name}\n"), told.stderr
    work = host.lxc / name / "rootfs/srv/work"
    assert wait_for(work / "state") == "ready\n"
    assert (work / "args").read_text() == "".join(f"{each}|" for each in ARGUMENTS)
    assert "GREETING=hello world" in (work / "environ").read_text().splitlines()
    assert (work / "ids").read_text() == "1000:1000\n"
    assert (work.stat().st_uid, (host.lxc / name / "rootfs/bin/busybox").stat().st_uid) == (
        (101_000, 100_000) if mapped else (1000, 0)
    )
    assert "10.55.0.2" in host.inside(name, "ip", "address", "show", "eth0")
    host.inside(name, "sh", "-c", "echo here > /scratch/file")
    assert (host.folder / "shared/file").read_text() == "here\n"
    again = host.run(*words)
    assert (again.returncode, again.stdout) == (0, f"{name}\n"), again.stderr
    record = json.loads(next((host.folder / ".local/state").rglob(f"{name}.json")).read_text())
    assert (record["state"], record["addresses"]) == ("verified", ["10.55.0.2"])
    removed = host.run("destroy", name, "--apply")
    assert removed.returncode == 0, removed.stderr
    assert host.containers() == []


@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize("mapped", [True, False], ids=["unprivileged", "privileged"])
@pytest.mark.parametrize("init", ["auto", "app"])
def test_a_bundle_of_a_plain_program_runs_in_an_oci_runtime(host: Host, runtime: str, mapped: bool, init: str) -> None:
    if shutil.which(runtime) is None:
        missing(f"no {runtime}")
    name, bundle = f"web-{UNIQUE}", busybox(host.folder / "bundle")
    host.env |= {"LXCAST_BUNDLES": str(host.folder / "bundles"), "LXCAST_INIT": init}
    (host.folder / "shared").mkdir()
    (host.folder / "shared").chmod(0o777)
    words: list[str | Path] = ["create", bundle, "--name", name, "--backend", runtime]
    words += ["--mount", f"{host.folder}/shared,mp=/scratch", *([] if mapped else ["--no-unprivileged"])]
    try:
        told = host.run(*words)
        assert (told.returncode, told.stdout) == (0, f"{name}\n"), told.stderr
        work = host.folder / "bundles" / name / "rootfs/srv/work"
        assert wait_for(work / "state") == "ready\n"
        assert (work / "args").read_text() == "".join(f"{each}|" for each in ARGUMENTS)
        assert "GREETING=hello world" in (work / "environ").read_text().splitlines()
        assert (work / "ids").read_text() == "1000:1000\n"
        assert work.stat().st_uid == (101_000 if mapped else 1000)
        again = host.run(*words)
        assert (again.returncode, again.stdout) == (0, f"{name}\n"), again.stderr
        subprocess.run([*host.enter, runtime, "kill", name, "TERM"], check=True)
        assert wait_for(work / "signal") == "TERM\n"
        removed = host.run("destroy", name, "--apply")
        assert removed.returncode == 0, removed.stderr
        assert [*(host.folder / "bundles").iterdir()] == []
        assert subprocess.run([*host.enter, runtime, "state", name], capture_output=True).returncode != 0
    finally:
        subprocess.run([*host.enter, runtime, "delete", "--force", name], capture_output=True)


def test_a_container_that_does_not_start_is_removed_and_its_log_shown(host: Host) -> None:
    bundle = busybox(host.folder / "bundle")
    (bundle / "rootfs/opt/app").write_text("#!/bin/sh\nexit 3\n")
    name = f"bad-{UNIQUE}"
    told = host.run("create", bundle, "--name", name, "--backend", "lxc", "--net", "none")
    assert told.returncode == 12, told.stderr
    assert "stopped right after its start" in told.stderr or "does not start" in told.stderr
    assert host.containers() == []
    assert not [*(host.folder / ".local/state").rglob("*.json")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_nothing_or_what_the_next_run_removes(host: Host, number: signal.Signals) -> None:
    bundle = busybox(host.folder / "bundle")
    host.lxc.mkdir()
    (host.lxc / "other").mkdir()
    (host.lxc / "other/config").write_text("lxc.uts.name = other\n")
    name = f"web-{UNIQUE}"
    words = ["create", str(bundle), "--name", name, "--backend", "lxc", "--net", "none"]
    for delay in (0.6, 0.9, 1.2):
        command = [*host.enter, sys.executable, "-m", "lxcast", *words]
        process = subprocess.Popen(command, cwd=host.folder, env=host.env, stderr=subprocess.PIPE)
        time.sleep(delay)
        process.send_signal(number)
        process.communicate()
        if number != signal.SIGKILL and process.returncode:
            assert host.containers() == ["other"]
    told = host.run(*words)
    assert told.returncode == 0, told.stderr
    assert host.containers() == ["other", name]
    assert host.run("destroy", name, "--apply").returncode == 0
    assert host.containers() == ["other"]
