"""Boots an unpacked root filesystem with the real LXC, as Proxmox VE 9 configures it, and lets a test look inside.

    with boot(root, "web", address="10.0.3.2/24") as container:
        container.wait_running()
        container.ssh(key, "uptime")

lxc-start runs in a mount and a network namespace of its own: /sys/fs/cgroup is there what it is on a Proxmox node,
cgroup v2 alone, whatever this machine mounts; the container's eth0 ends in that namespace and reaches nothing else.
The commands of LXC talk to lxc-start by an abstract socket, which belongs to the network namespace, so they run there.

The configuration is pve-container's (LXC.pm, update_lxc_config) with nesting=1, but no AppArmor, no resource limits and
the stock seccomp filter. It needs root, user namespaces, cgroup v2 in the kernel, and veth where there is an address.
"""

import errno
import ipaddress
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.proxmox_node import FIRST_ID, IDS
from tests.integration.tools import UNIQUE

CONFIGURATION = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.tty.dir =
lxc.apparmor.profile = unconfined
lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0
lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0
lxc.monitor.unshare = 1
lxc.tty.max = 2
lxc.environment = TERM=linux
"""
UNPRIVILEGED = f"""\
lxc.include = /usr/share/lxc/config/userns.conf
lxc.mount.auto = sys:mixed
lxc.idmap = u 0 {FIRST_ID} {IDS}
lxc.idmap = g 0 {FIRST_ID} {IDS}
"""
# The kernel ends lxc-start with the test run, and LXC the container with lxc-start. newuidmap, which LXC prefers to
# writing the map itself, asks /etc/subuid even for root.
START = """\
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for file in /etc/subuid /etc/subgid; do
  test ! -e $file || mount --bind "$1/ids" $file
done
ip link set lo up
exec setpriv --pdeathsig KILL lxc-start --foreground --lxcpath "$1" --name "$2" --rcfile "$1/config" \
  --logfile "$1/log" --logpriority INFO
"""
SSH = {
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "GlobalKnownHostsFile": "/dev/null",
    "LogLevel": "ERROR",
    "ConnectTimeout": "60",
    "IdentitiesOnly": "yes",
}
KEY_ONLY = {"BatchMode": "yes"}
PASSWORD_ONLY = {
    "PubkeyAuthentication": "no",
    "PreferredAuthentications": "password,keyboard-interactive",
    "NumberOfPasswordPrompts": "1",
}


class BootError(AssertionError):
    """The container did not start, or did not reach `running`; says what LXC or systemd says."""


class Container:
    """A running container. `host` is where its sshd answers: its eth0, else its own loopback."""

    def __init__(self, name: str, folder: Path, start: "subprocess.Popen[bytes]", host: str) -> None:
        self.name = name
        self.host = host
        self._folder = folder
        self._start = start
        self._enter = ["nsenter", "--mount", "--net", "--target", str(start.pid), "--"]
        init = self._lxc("lxc-info", "--pid", "--no-humanize", timeout=60).stdout.strip()
        # From the container's own network namespace its loopback is reached; from lxc-start's its eth0.
        self._near = ["nsenter", "--net", "--target", init if host == "127.0.0.1" else str(start.pid), "--"]

    def _lxc(self, command: str, *arguments: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        line = [*self._enter, command, "--lxcpath", str(self._folder), "--name", self.name, *arguments]
        return _run(line, timeout)

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 240
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as the container's root, without the machine's environment."""
        done = self._lxc("lxc-attach", "--clear-env", "--", *argv, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {shlex.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def wait_running(self, timeout: float = 240) -> None:
        """Wait until systemd has started everything; raises BootError with the failed units unless all is well."""
        deadline = time.monotonic() + timeout
        state = ""
        while time.monotonic() < deadline:
            try:
                state = self._systemctl("is-system-running", "--wait", timeout=max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                break
            # A service that fails again and again counts as starting, not as failed, until systemd gives it up.
            if state == "running" and not self._systemctl("list-units", "--state=activating", "--plain", "--no-legend"):
                return
            if state in ("degraded", "maintenance", "stopping"):
                break
            time.sleep(0.2)  # systemd does not answer yet
        told = self.run(
            [
                "sh",
                "-c",
                "systemctl --no-pager --failed; systemctl list-jobs; journalctl -b -p 4 --no-pager | tail -60",
            ],
            check=False,
        )
        raise BootError(f"{self.name} is {state or 'silent'} after at most {timeout:g} s\n{told.stdout}{told.stderr}")

    def _systemctl(self, *arguments: str, timeout: float = 120) -> str:
        return self.run(["systemctl", *arguments], check=False, timeout=timeout).stdout.strip()

    def host_keys(self, timeout: float = 120) -> set[str]:
        """Return the public host keys that sshd shows to a client; raises BootError where none answers in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            shown = _run([*self._near, "ssh-keyscan", "-T", "5", self.host], 120).stdout
            if keys := {line.split(None, 1)[1] for line in shown.splitlines() if not line.startswith("#")}:
                return keys
            time.sleep(0.2)
        raise BootError(f"{self.name}: no sshd answers at {self.host}")

    def ssh(self, key: Path, command: str, user: str = "root") -> "subprocess.CompletedProcess[str]":
        """Log in by the private key and run a command; the status is 255 where the login is refused."""
        return self._ssh({**KEY_ONLY, "IdentityFile": str(key)}, user, command)

    def ssh_password_refused(self, password: str, user: str = "root") -> bool:
        """Whether sshd denies a login by this password; any other failure than a denial is an AssertionError."""
        with tempfile.TemporaryDirectory() as folder:
            teller = Path(folder, "askpass")
            teller.write_text(f"#!/bin/sh\necho {shlex.quote(password)}\n")
            teller.chmod(0o700)
            environment = {**os.environ, "SSH_ASKPASS": str(teller), "SSH_ASKPASS_REQUIRE": "force"}
            done = self._ssh(PASSWORD_ONLY, user, "true", environment)
        if done.returncode == 0:
            return False
        assert "Permission denied" in done.stderr, f"{self.name}: ssh failed by something else: {done.stderr}"
        return True

    def _ssh(
        self, options: dict[str, str], user: str, command: str, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        words = [f"-o{name}={value}" for name, value in {**SSH, **options}.items()]
        return _run([*self._near, "ssh", "-F", "none", *words, f"{user}@{self.host}", command], 240, environment)

    @contextmanager
    def near(self, *command: object) -> Iterator[None]:
        """Run a command at the other end of eth0 as long as the context lasts."""
        with subprocess.Popen([*self._near, *map(str, command)], stdin=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.terminate()

    def stop(self, timeout: float = 60) -> None:
        """Shut the container down, as `pct shutdown` does; after the time it is ended as `pct stop` does."""
        try:
            how = ("--rcfile", str(self._folder / "config"), "--timeout", f"{timeout:.0f}")
            self._lxc("lxc-stop", *how, timeout=timeout + 60)
        finally:
            _end(self._start)


@contextmanager
def boot(
    root: Path,
    name: str,
    *,
    address: str | None = None,
    unprivileged: bool = True,
    timeout: float = 120,
    settings: Sequence[str] = (),
) -> Iterator[Container]:
    """Start a container on the tree `root` and shut it down at the end.

    `address` is what its eth0 will have, with the prefix length; the last address of that network is then at the other
    end. None gives it a loopback and nothing else. `settings` are further lines for LXC. Raises BootError with the end
    of LXC's log where it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="lxcast-lxc-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        # Two test runs at once do not share cgroups, which are named by the container.
        unique = f"lxcast-{name}-{UNIQUE}"
        lines = [_configuration(root, name, unique, unprivileged, address is not None), *settings]
        (folder / "config").write_text("\n".join([*lines, ""]))
        (folder / "ids").write_text(f"root:{FIRST_ID}:{IDS}\n")
        command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", START]
        with (folder / "console").open("wb") as console:
            start = subprocess.Popen(
                [*command, "start", made, unique],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_started(start, folder, unique, timeout)
            container = Container(unique, folder, start, address.partition("/")[0] if address else "127.0.0.1")
            if address:
                _wire(start.pid, address)
            try:
                yield container
            finally:
                container.stop()
        finally:
            _end(start)
            _remove_cgroups(unique)


def _configuration(root: Path, name: str, unique: str, unprivileged: bool, wired: bool) -> str:
    lines = [f"lxc.uts.name = {name}", f"lxc.rootfs.path = dir:{root}"]
    lines += [f"lxc.cgroup.dir.{part} = {unique}/{part}" for part in ("monitor", "container", "monitor.pivot")]
    if wired:
        lines += ["lxc.net.0.type = veth", "lxc.net.0.name = eth0", "lxc.net.0.veth.pair = node"]
    else:
        lines += ["lxc.net.0.type = empty"]
    return CONFIGURATION + (UNPRIVILEGED if unprivileged else "") + "\n".join(lines) + "\n"


def _wait_started(start: "subprocess.Popen[bytes]", folder: Path, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    command = ["nsenter", "--mount", "--net", "--target", str(start.pid), "--", "lxc-info"]
    while start.poll() is None and time.monotonic() < deadline:
        if "RUNNING" in _run([*command, "--lxcpath", str(folder), "--name", name, "--state"], 60).stdout:
            return
        time.sleep(0.1)
    said = [file.read_text(errors="replace")[-4000:] for file in (folder / "console", folder / "log") if file.exists()]
    raise BootError(f"{name} did not start within {timeout:g} s\n" + "\n".join(said))


def _wire(pid: int, address: str) -> None:
    """Give the other end of eth0 an address, in the network namespace of lxc-start."""
    network = ipaddress.ip_interface(address).network
    inside = ["nsenter", "--net", "--target", str(pid), "--", "ip"]
    subprocess.run([*inside, "address", "add", f"{network[-2]}/{network.prefixlen}", "dev", "node"], check=True)
    subprocess.run([*inside, "link", "set", "node", "up"], check=True)


def _end(start: "subprocess.Popen[bytes]") -> None:
    """End lxc-start, and with it the container, where it is still there."""
    if start.poll() is None:
        try:
            start.wait(30)
        except subprocess.TimeoutExpired:
            start.send_signal(signal.SIGKILL)
            start.wait(60)


def _remove_cgroups(name: str) -> None:
    """Remove the cgroups of a container that has ended: LXC leaves the pivot, and all of them where it was killed."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    for mount in mounts:
        for folder, _, _ in os.walk(Path(mount[4], name), topdown=False):
            until = time.monotonic() + 60
            while True:
                try:
                    Path(folder).rmdir()
                except OSError as error:
                    # What was killed is still on its way out.
                    if error.errno != errno.EBUSY or time.monotonic() > until:
                        raise
                    time.sleep(0.1)
                else:
                    break


def _run(
    command: list[str], timeout: float, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
