"""Containers of plain LXC on this host, privileged or in a user namespace.

The configuration uses keys of lxc.container.conf(5) of LXC 4 to 7. A container is built in a directory whose name
starts with a dot, which LXC does not list, and gets its name when it is complete.
"""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from lxcast.containers.backend import Existing, Finding, Plan, Say, State, unsupported
from lxcast.containers.ledger import ContainerRecord
from lxcast.containers.render import lxc_settings
from lxcast.containers.spec import ContainerSpec, MountPoint
from lxcast.containers.tree import remove_tree, run, uptime
from lxcast.containers.unpack import IdMap, delegated, missing_programs, unpack
from lxcast.errors import ConflictError, ContainerError

PATH = Path("/var/lib/lxc")
"""Where LXC looks for containers by default; LXCPATH in the environment replaces it."""

_MARKER = re.compile(r"^# lxcast: ([0-9a-f]{32}) from (\S+)$", re.MULTILINE)
_PROGRAMS = ("lxc-start", "lxc-info", "lxc-stop")
_COMMON = Path("/usr/share/lxc/config/common.conf")
_USERNS = Path("/usr/share/lxc/config/userns.conf")
_STOP = 30
"""Seconds that a container may take to shut down."""


class LxcContainers:
    """The containers below LXC's path. `template` is the file of the template on this host."""

    name = "lxc"

    def __init__(self, template: Path | None, host: str, say: Say, path: Path | None = None) -> None:
        self._template, self._say = template, say
        self._path = path or Path(os.environ.get("LXCPATH") or PATH)
        self.location = f"lxc@{host}"

    def find(self, name: str) -> list[Existing]:
        """Return the container with this name."""
        found = _read(self._path / name)
        return [found] if found else []

    def get(self, record: ContainerRecord) -> Existing | None:
        """Return the container of a record, finished or not."""
        for directory in (self._path / record.name, self._unfinished(record)):
            found = _read(directory)
            if found and found.marker == record.marker:
                return found
        return None

    def _unfinished(self, record: ContainerRecord) -> Path:
        return self._path / f".lxcast-{record.marker}"

    def plan(self, spec: ContainerSpec) -> Plan:
        """Return the commands, and check this host."""
        directory = self._path / spec.hostname
        mapped = "in a user namespace " if spec.unprivileged else ""
        steps = [
            f"unpack {self._template} {mapped}to {directory}/rootfs",
            f"write {directory}/config",
            " ".join(self._command("lxc-start", spec.hostname, "--daemon")),
        ]
        return Plan(steps, findings=[*self._check(spec)])

    def _check(self, spec: ContainerSpec) -> Iterator[Finding]:
        if os.geteuid() != 0:
            yield Finding("user", "error", "plain LXC containers are created as root", "run the command with sudo")
        missing = [each for each in _PROGRAMS if shutil.which(each) is None]
        missing += missing_programs(self._template) if self._template else []
        if missing:
            yield Finding(
                "programs", "error", f"not installed: {', '.join(missing)}", "apt install lxc zstd util-linux"
            )
        if spec.unprivileged and shutil.which("newuidmap") and not (delegated() and delegated("/etc/subgid")):
            yield Finding(
                "ids",
                "error",
                "root has no range of 65536 ids in /etc/subuid and /etc/subgid, which newuidmap asks for",
                "echo root:100000:65536 | tee -a /etc/subuid /etc/subgid; or pass --no-unprivileged",
            )
        for bridge in dict.fromkeys(each.bridge for each in spec.networks):
            if bridge not in interfaces():
                yield Finding(
                    "bridge",
                    "error",
                    f"bridge {bridge} not found",
                    "pass --net bridge=NAME, or --net none for no network",
                )
        for each in spec.mounts:
            if not each.is_bind:
                yield Finding(
                    "mounts",
                    "error",
                    f"volume {each.volume}: plain LXC mounts only directories",
                    "use /DIRECTORY,mp=PATH",
                )
            elif not Path(each.volume).exists():
                yield Finding("mounts", "error", f"{each.volume} not found", f"mkdir -p {each.volume}")
        yield from unsupported(spec, "plain LXC")
        if spec.is_image:
            yield Finding("format", "error", "plain LXC cannot unpack an OCI archive", "build with --format zst")
        if (self._path / spec.hostname).exists():
            yield Finding("name", "error", f"{self._path / spec.hostname} already exists", "use another --name")

    def create(self, spec: ContainerSpec, record: ContainerRecord, save: Callable[[ContainerRecord], None]) -> str:
        """Unpack the template and write the configuration, then give the directory its name."""
        assert self._template
        save(replace(record, id=spec.hostname))
        unfinished, directory = self._unfinished(record), self._path / spec.hostname
        ids = (delegated() or IdMap()) if spec.unprivileged else None
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir(mode=0o755)
            (unfinished / "config").write_text(configuration(spec, record.marker, directory, ids), encoding="utf-8")
            unpack(self._template, unfinished / "rootfs", ids)
            unfinished.rename(directory)
        except OSError as error:
            if directory.exists() and unfinished.exists():
                raise ConflictError(f"{directory} already exists", hint="use another --name") from error
            raise ContainerError(
                f"{error.filename or unfinished}: {error.strerror}", hint="see `df` and mounts"
            ) from error
        return spec.hostname

    def start(self, record: ContainerRecord) -> None:
        """Start the container as a daemon; on failure with the end of LXC's log."""
        log = self._path / record.id / "lxcast-start.log"
        log.unlink(missing_ok=True)
        words = ("--daemon", "--logfile", str(log), "--logpriority", "INFO")
        done = run(self._command("lxc-start", record.id, *words))
        if done.returncode:
            lines = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
            raise ContainerError(
                f"container {record.id} does not start: {done.stderr.strip()}\n" + "\n".join(lines),
                hint=f"try it in the foreground: lxc-start -P {self._path} -n {record.id} -F",
            )

    def inspect(self, record: ContainerRecord) -> State:
        """Return the state as LXC reports it."""
        settings = {"config": (self._path / record.id / "config").read_text(encoding="utf-8")}
        done = run(self._command("lxc-info", record.id, "--no-humanize", "--pid"))
        if not done.stdout.strip().isdigit():
            return State(False, settings)
        addresses = run(self._command("lxc-info", record.id, "--no-humanize", "--ips")).stdout.split()
        return State(True, settings, addresses, uptime(int(done.stdout)))

    def differences(self, spec: ContainerSpec, state: State) -> list[str]:
        """Return the lines of the configuration that differ from those that were written."""
        text = state.settings["config"]
        mark = _MARKER.search(text)
        ids = (delegated() or IdMap()) if spec.unprivileged else None
        expected = configuration(spec, mark[1] if mark else "", self._path / spec.hostname, ids)
        return [f"line {each}" for each in sorted({*expected.splitlines()} ^ {*text.splitlines()})]

    def destroy(self, record: ContainerRecord) -> None:
        """Stop the container and remove its directory, if its configuration has the record's marker."""
        for directory in (self._path / (record.id or record.name), self._unfinished(record)):
            found = _read(directory)
            empty = directory == self._unfinished(record) and directory.exists() and not found
            if not empty and (found is None or found.marker != record.marker):
                continue
            if found and not directory.name.startswith("."):
                run(self._command("lxc-stop", directory.name, "--timeout", str(_STOP)))
                if run(self._command("lxc-info", directory.name, "--no-humanize", "--pid")).stdout.strip().isdigit():
                    run(self._command("lxc-stop", directory.name, "--kill"))
            remove_tree(directory, last="config")

    def _command(self, program: str, name: str, *words: str) -> list[str]:
        return [program, "--lxcpath", str(self._path), "--name", name, *words]


def configuration(spec: ContainerSpec, marker: str, directory: Path, ids: IdMap | None) -> str:
    """Return the configuration of a container (lxc.container.conf(5)); no value can make a line of its own."""
    lines = [f"# lxcast: {marker} from {spec.ostemplate}"]
    includes = [_COMMON, *([_USERNS] if ids else [])]
    pairs = [("lxc.include", str(each)) for each in includes if each.exists()]
    pairs += [("lxc.uts.name", spec.hostname), ("lxc.rootfs.path", f"dir:{directory}/rootfs")]
    if ids:
        pairs += [("lxc.idmap", f"{kind} 0 {ids.first} {ids.count}") for kind in "ug"]
    if "nesting=1" in spec.features:
        pairs += [
            ("lxc.mount.auto", "proc:rw sys:mixed"),
            ("lxc.apparmor.profile", "unconfined"),
            ("lxc.mount.entry", "proc dev/.lxc/proc proc create=dir,optional 0 0"),
            ("lxc.mount.entry", "sys dev/.lxc/sys sysfs create=dir,optional 0 0"),
        ]
    if spec.entrypoint:
        pairs.append(("lxc.init.cmd", spec.entrypoint))
    pairs += [each for each in lxc_settings(spec) if each[0] != "lxc.environment"]
    pairs += [("lxc.environment", each) for each in spec.environment]
    if spec.memory:
        pairs.append(("lxc.cgroup2.memory.max", str(spec.memory << 20)))
        pairs.append(("lxc.cgroup2.memory.swap.max", str((spec.swap or 0) << 20)))
    if spec.cpulimit:
        pairs.append(("lxc.cgroup2.cpu.max", f"{int(spec.cpulimit * 100_000)} 100000"))
    pairs += [("lxc.mount.entry", each) for each in map(_mount_entry, spec.mounts)]
    pairs += _networks(spec)
    if spec.onboot:
        pairs.append(("lxc.start.auto", "1"))
    return "\n".join([*lines, *(f"{key} = {_escaped(value)}" for key, value in pairs), ""])


def _mount_entry(mount: MountPoint) -> str:
    # fstab(5): a blank is \040.
    source, target = (text.replace(" ", "\\040") for text in (mount.volume, mount.path.lstrip("/")))
    kind = "dir" if Path(mount.volume).is_dir() else "file"
    return f"{source} {target} none bind,{'ro,' if mount.read_only else ''}create={kind} 0 0"


def _networks(spec: ContainerSpec) -> Iterator[tuple[str, str]]:
    if not spec.networks:
        yield "lxc.net.0.type", "empty"
    for number, each in enumerate(spec.networks):
        prefix = f"lxc.net.{number}"
        yield f"{prefix}.type", "veth"
        yield f"{prefix}.link", each.bridge
        yield f"{prefix}.flags", "up"
        yield f"{prefix}.name", each.name
        for key, value in (("hwaddr", each.hwaddr), ("mtu", str(each.mtu or ""))):
            if value:
                yield f"{prefix}.{key}", value
        for family, address, gateway in (("ipv4", each.ip, each.gw), ("ipv6", each.ip6, each.gw6)):
            if "/" in address:
                yield f"{prefix}.{family}.address", address
                if gateway:
                    yield f"{prefix}.{family}.gateway", gateway


def _escaped(value: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in value)


def _read(directory: Path) -> Existing | None:
    try:
        text = (directory / "config").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    mark = _MARKER.search(text)
    name = directory.name
    marker, template = mark.groups() if mark else ("", "")
    return Existing(name, "", marker, template)


def interfaces() -> set[str]:
    """Return the network interfaces of this host; /sys/class/net may show those of another network namespace."""
    return {name for _, name in socket.if_nameindex()}
