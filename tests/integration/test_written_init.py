"""A bundle of a plain program, without an init and without a flag, becomes a container that runs it as the bundle says.

Once with BusyBox, which changes the user by su, and once with Debian, which has setpriv.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lxcast.containers.render import next_step
from lxcast.record import parse_record
from tests.integration import proxmox_node
from tests.integration.lxc import Container, boot
from tests.integration.tools import UNIQUE, Program, missing, on_path

ARGUMENTS = ["two words", "", 'it\'s "quoted" $HOME `id` \\', "line\nbreak", "*", "é"]
ENVIRONMENT = ["PATH=/usr/bin:/bin", "EMPTY=", "QUOTED='a' \"b\" $c", "dotted.name=x y", "LINES=one\ntwo"]
USER, GROUP = 1000, 1000

TOOLS = ("sh", "env", "mount", "mkdir", "ip", "su", "cat", "sleep", "kill", "id", "true", "rm", "udhcpc")

PROGRAM = """\
#!/bin/sh
printf '%s\\0' "$@" > args
cat /proc/$$/environ > environ
echo "$(id -u):$(id -g):$(id -G)" > ids
trap 'echo TERM > signal; exit 7' TERM
sh -c 'sleep 0.2 & exec true'
echo ready > state
while :; do sleep 0.1; done
"""


def _config(root: str) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "root": {"path": root},
        "process": {
            "args": ["/opt/app", *ARGUMENTS],
            "env": ENVIRONMENT,
            "cwd": "/srv/work",
            "user": {"uid": USER, "gid": GROUP},
        },
        "mounts": [{"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]}],
    }


def _furnish(root: Path) -> None:
    for folder in ("opt", "srv/work"):
        (root / folder).mkdir(parents=True)
    (root / "opt/app").write_text(PROGRAM)
    (root / "opt/app").chmod(0o755)
    os.chown(root / "srv/work", USER, GROUP)


def _busybox(folder: Path) -> Path:
    """Write a bundle whose only tool is BusyBox; return its root filesystem."""
    found = shutil.which("busybox")
    if found is None or subprocess.run(["ldd", found], capture_output=True).returncode == 0:
        missing("no static busybox (Debian's busybox-static; its busybox needs the libraries of the host)")
    root = folder / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(found, root / "bin/busybox")
    for name in TOOLS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\napp:x:{USER}:{GROUP}::/srv:/bin/false\n")
    (root / "etc/group").write_text(f"root:x:0:\napp:x:{GROUP}:\n")
    _furnish(root)
    # What LXC would start on this machine, and what a conversion on the host would write through.
    (root / "sbin").mkdir()
    (root / "sbin/init").symlink_to("/lib/systemd/systemd")
    (folder / "config.json").write_text(json.dumps(_config("rootfs")))
    return root


def _debian(folder: Path, engine: Program, image: str) -> None:
    """Export the image with the program in it, as the archive that root.path names."""
    _furnish(folder / "added")
    name = f"lxcast-test-init-{UNIQUE}"
    engine.run("create", "--name", name, image, "/bin/sh")
    try:
        engine.run("cp", "--archive", f"{folder}/added/.", f"{name}:/")
        engine.run("export", "--output", folder / "rootfs.tar", name)
    finally:
        engine.run("rm", name)
    (folder / "config.json").write_text(json.dumps(_config("rootfs.tar")))


@pytest.fixture(scope="module")
def node(lxc: Path) -> Iterator[Path]:
    with proxmox_node.storage() as folder:
        yield folder


@pytest.fixture(scope="module", params=["busybox", "debian"])
def root(request: pytest.FixtureRequest, node: Path, commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The container's root filesystem, as Proxmox unpacks the template."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "busybox":
        _busybox(folder)
    else:
        _debian(folder, request.getfixturevalue("engine"), request.getfixturevalue("base_image"))
    built = Program(commands / "lxcast").run("build", folder, "--name", "app", "--output", folder / "out")
    assert "wrote /" in built.stderr
    assert "which starts app: there was no init" in built.stderr
    template = folder / "out/app-v1.tar.zst"
    unpacked = node / str(request.param)
    proxmox_node.unpack(template, unpacked)
    proxmox_node.create(unpacked, "app")
    return unpacked


@contextmanager
def started(root: Path) -> Iterator[Container]:
    work = root / "srv/work"
    for file in work.iterdir():
        file.unlink()
    with boot(root, "app") as container:
        _wait(lambda: (work / "state").exists(), "the program did not start")
        yield container


def _wait(holds: Callable[[], bool], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_the_program_runs_as_the_bundle_says(root: Path) -> None:
    work = root / "srv/work"
    with started(root) as container:
        assert (work / "args").read_bytes().decode().split("\0")[:-1] == ARGUMENTS
        environ = (work / "environ").read_bytes().decode().split("\0")[:-1]
        home = "HOME=/srv" if root.name == "busybox" else "HOME=/"
        assert sorted({*environ} - {"_=/opt/app"}) == sorted([*ENVIRONMENT, home])
        assert (work / "ids").read_text().split(":")[:2] == [str(USER), str(GROUP)]
        assert (work / "ids").read_text().split(":")[2].split() == [str(GROUP)]
        mounts = container.run(["cat", "/proc/self/mounts"]).stdout
        assert " /scratch tmpfs " in mounts
        assert " /dev/shm tmpfs " in mounts


def test_orphans_are_reaped(root: Path) -> None:
    with started(root) as container:
        time.sleep(0.5)

        def states() -> str:
            return container.run(["sh", "-c", "cat /proc/[0-9]*/status"], check=False).stdout

        assert "State:" in states()
        _wait(lambda: "(zombie)" not in states(), "an orphan that ended stays", 60)


@pytest.mark.parametrize("how", ["TERM to init", "shutdown"])
def test_sigterm_reaches_the_program(root: Path, how: str) -> None:
    """Proxmox's shutdown sends SIGPWR, as lxc-stop does."""
    with started(root) as container:
        if how == "TERM to init":
            container.run(["sh", "-c", "kill -TERM 1"])
            _wait(lambda: (root / "srv/work/signal").exists(), "no SIGTERM reached the program")
    assert (root / "srv/work/signal").read_text() == "TERM\n"


def test_the_hosts_systemd_is_not_touched(commands: Path, tmp_path: Path) -> None:
    """/sbin/init of the bundle is an absolute link to it."""
    host = Path("/lib/systemd/systemd")
    if not host.exists():
        missing("no systemd on this machine")
    before = host.read_bytes(), host.stat()
    _busybox(tmp_path)
    assert (tmp_path / "rootfs/sbin/init").resolve() == host.resolve()
    Program(commands / "lxcast").run("build", tmp_path, "--name", "app", "--output", tmp_path / "out")
    after = host.read_bytes(), host.stat()
    assert after[0] == before[0]
    for name in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns"):
        assert getattr(after[1], name) == getattr(before[1], name)
    assert (tmp_path / "rootfs/sbin/init").readlink() == host
    listed = subprocess.run(
        ["tar", "-tvf", tmp_path / "out/app-v1.tar.zst", "./sbin/init"], capture_output=True, text=True, check=True
    ).stdout
    assert listed.startswith("-rwx")


def test_the_network_is_brought_up_by_dhcp_where_that_is_asked(node: Path, commands: Path, tmp_path: Path) -> None:
    """The container's eth0 ends in a network namespace where BusyBox' udhcpd hands out one address."""
    root = _busybox(tmp_path)
    script = root / "etc/udhcpc/default.script"  # where Debian's BusyBox looks for it
    script.parent.mkdir()
    script.write_text('#!/bin/sh\n[ "$1" != bound ] || ip address add "$ip/$mask" dev "$interface"\n')
    script.chmod(0o755)
    lxcast = Program(commands / "lxcast")
    lxcast.run("build", tmp_path, "--name", "app", "--output", tmp_path / "out", "--network", "dhcp")
    unpacked = node / "dhcp"
    proxmox_node.unpack(tmp_path / "out/app-v1.tar.zst", unpacked)
    leases = tmp_path / "leases"
    leases.touch()
    settings = f"start 10.0.9.7\nend 10.0.9.7\ninterface node\nlease_file {leases}\noption subnet 255.255.255.0\n"
    (tmp_path / "udhcpd.conf").write_text(settings)
    server = ("busybox", "udhcpd", "-f", tmp_path / "udhcpd.conf")
    with boot(unpacked, "dhcp", address="10.0.9.2/24") as container, container.near(*server):
        _wait(lambda: (unpacked / "srv/work/state").exists(), "the program did not start")
        show = ["ip", "address", "show", "eth0"]
        # Where the server began late the client goes on in the background.
        _wait(lambda: "10.0.9.7/24" in container.run(show).stdout, "eth0 got no address")


def test_proxmox_starts_the_program_with_what_the_next_step_says(node: Path, commands: Path, tmp_path: Path) -> None:
    """--init app: the lines for the container's configuration are LXC's own."""
    _busybox(tmp_path)
    config = _config("rootfs")
    config["process"] |= {"args": ["/opt/app", "one", "two"], "env": ["PATH=/bin", "SPACED=a b"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    lxcast = Program(commands / "lxcast")
    told = lxcast.run("build", tmp_path, "--name", "app", "--output", tmp_path / "out", "--init", "app", "--json")
    said = next_step(parse_record(told.stdout, "stdout"), tmp_path / "out/app-v1.tar.zst")
    raw = said.partition("append to /etc/pve/lxc/VMID.conf:\n")[2].splitlines()
    lines = [line.strip().replace(": ", " = ", 1) for line in raw]
    (entrypoint,) = re.findall(r"--entrypoint '(.*)'", said)
    unpacked = node / "app"
    proxmox_node.unpack(tmp_path / "out/app-v1.tar.zst", unpacked)
    with boot(unpacked, "app", settings=[f"lxc.init.cmd = {entrypoint}", *lines]):
        work = unpacked / "srv/work"
        _wait(lambda: (work / "state").exists(), "the program did not start")
        assert (work / "args").read_text() == "one\0two\0"
        assert "SPACED=a b" in (work / "environ").read_text().split("\0")
        assert (work / "ids").read_text().startswith(f"{USER}:{GROUP}:")
    assert (work / "signal").read_text() == "TERM\n"


def test_the_config_that_runc_writes_is_right(commands: Path, tmp_path: Path) -> None:
    runc = on_path("runc")
    if runc is None:
        missing("no runc")
    _busybox(tmp_path)
    (tmp_path / "config.json").unlink()
    Program(runc).run("spec", cwd=tmp_path)
    told = Program(commands / "lxcast").run("build", tmp_path, "--name", "x", "--output", tmp_path / "out", "--json")
    hints = json.loads(told.stdout)["hints"]
    assert (hints["cmd"], hints["network"], hints["init"]) == (["sh"], "own", "auto")
    assert {"hostname", "mounts"}.isdisjoint(hints)
