"""What a container is created with, independent of the tool that creates it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lxcast.identifiers import quote_command
from lxcast.model import IMAGE
from lxcast.record import Record

DISK_STORAGE = "local-lvm"
"""Where a Proxmox VE installation keeps the root disks of containers."""

DISK_GB = 4
"""The size that Proxmox gives a root disk if none is set (PVE/API2/LXC.pm)."""

BRIDGE = "vmbr0"
"""The bridge that every Proxmox VE installation has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network interface; the fields are named as in Proxmox's netN property, "" and None are left to Proxmox."""

    name: str = "eth0"
    bridge: str = BRIDGE
    ip: str = "dhcp"
    gw: str = ""
    ip6: str = ""
    gw6: str = ""
    hwaddr: str = ""
    tag: int | None = None
    mtu: int | None = None
    rate: str = ""
    firewall: bool = False
    host_managed: bool = False

    def to_property(self) -> str:
        """Return the value of a netN parameter (pct.conf(5))."""
        return _property(
            [
                *((key, getattr(self, key)) for key in ("name", "bridge", "ip", "gw", "ip6", "gw6", "hwaddr")),
                *((key, getattr(self, key)) for key in ("tag", "mtu", "rate", "firewall")),
                ("host-managed", self.host_managed),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A volume or a directory of the node, mounted in the container."""

    volume: str
    """STORAGE:GB (a new volume), STORAGE:VOLUME (an existing one), or an absolute path of the node (a bind mount)."""
    path: str
    read_only: bool = False
    backup: bool = False

    @property
    def is_bind(self) -> bool:
        """Whether it is a directory of the node."""
        return self.volume.startswith("/")

    def to_property(self) -> str:
        """Return the value of an mpN parameter (pct.conf(5)), which has no way to write a comma in a path."""
        return _property([("", self.volume), ("mp", self.path), ("ro", self.read_only), ("backup", self.backup)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The program that is started in place of an init."""

    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    working_dir: str = "/"
    stop_signal: str = "SIGTERM"

    @property
    def command(self) -> str:
        """The command line as Proxmox and LXC read it; "" if they cannot express it."""
        return quote_command(self.argv) or ""

    def lxc_settings(self) -> Iterator[tuple[str, str]]:
        """Yield the settings of lxc.container.conf(5) for all of it but the command line."""
        yield from ((f"lxc.init.{key}", str(getattr(self, key))) for key in ("uid", "gid") if getattr(self, key))
        if self.groups:
            yield "lxc.init.groups", ",".join(map(str, self.groups))
        if self.working_dir != "/":
            yield "lxc.init.cwd", self.working_dir
        yield "lxc.signal.halt", self.stop_signal
        yield from (("lxc.environment", each) for each in self.env)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A container; the fields are named as the parameters of POST /nodes/NODE/lxc. None and "" are left to Proxmox."""

    ostemplate: str
    """The template's volid."""
    hostname: str
    unprivileged: bool = True
    ostype: str = ""
    """Only `unmanaged` decides anything: Proxmox detects every other type itself (PVE/LXC/Setup.pm)."""
    arch: str = ""
    features: tuple[str, ...] = ()
    """Such as "nesting=1"."""
    cores: int | None = None
    cpulimit: float | None = None
    cpuunits: int | None = None
    memory: int | None = None
    """MiB, as is `swap`."""
    swap: int | None = None
    cmode: str = ""
    disk_storage: str = DISK_STORAGE
    disk_gb: int = DISK_GB
    mounts: tuple[MountPoint, ...] = ()
    networks: tuple[Network, ...] = (Network(),)
    process: Process | None = None
    """None if the template has an init, or is an OCI archive, whose process Proxmox reads itself."""
    limits: tuple[tuple[str, str], ...] = ()
    """Settings of lxc.container.conf(5) that no parameter of Proxmox covers."""
    vmid: int | None = None
    env: tuple[str, ...] = ()
    """NAME=VALUE, in addition to those of the image and over them."""
    command: str = ""
    """Replaces the image's own command line."""
    nameserver: str = ""
    searchdomain: str = ""
    timezone: str = ""
    tags: tuple[str, ...] = ()
    pool: str = ""
    notes: str = ""
    onboot: bool = False
    startup: str = ""
    protection: bool = False
    ssh_keys: str = ""
    """Public keys for root, one a line."""
    is_image: bool = False
    """Whether the template is an OCI archive, whose process Proxmox sets itself when it creates the container."""
    takes_keys: bool = True
    """Whether Proxmox puts SSH keys and a password into it: not into one that is unmanaged or has no init."""

    @property
    def entrypoint(self) -> str:
        """What Proxmox starts in place of an init, "" for an init."""
        return self.command or (self.process.command if self.process else "")

    @property
    def environment(self) -> tuple[str, ...]:
        """The variables of the process and the given ones, the last of a name only."""
        last = dict(each.partition("=")[::2] for each in (*(self.process.env if self.process else ()), *self.env))
        return tuple(f"{name}={value}" for name, value in last.items())


def spec_of(record: Record) -> ContainerSpec:
    """Return the container that a template's record suggests."""
    hints = record.hints
    managed = record.ostype not in ("", "unmanaged")
    return ContainerSpec(
        ostemplate=record.template_id or f"local:vztmpl/{record.file}",
        hostname=str(hints.get("hostname") or record.name.replace("_", "-")),
        ostype="" if managed else "unmanaged",
        arch=record.arch,
        features=tuple(hints.get("features") or (["nesting=1"] if hints.get("nesting") else [])),
        **{key: hints[key] for key in ("cores", "cpulimit", "cpuunits", "memory", "swap", "cmode") if key in hints},
        disk_gb=int(hints.get("disk_gb", DISK_GB)),
        mounts=tuple(_binds(hints)),
        networks=(Network(host_managed=bool(hints.get("host_managed"))),),
        process=_process(hints) if hints.get("init") == "app" and record.format != IMAGE else None,
        limits=tuple(_limits(hints)),
        takes_keys=managed and "init" not in hints,
        is_image=record.format == IMAGE,
    )


def _binds(hints: Mapping[str, Any]) -> Iterator[MountPoint]:
    for mount in hints.get("mounts", ()):
        options, source = mount.get("options", ()), mount.get("source", "")
        if {"bind", "rbind"} & {*options, mount.get("type")} and source.startswith("/"):
            yield MountPoint(volume=source, path=mount["destination"], read_only="ro" in options)


def _process(hints: Mapping[str, Any]) -> Process:
    given = {key: hints[key] for key in ("uid", "gid", "working_dir", "stop_signal") if hints.get(key)}
    return Process(
        argv=(*hints.get("entrypoint", ()), *hints.get("cmd", ())),
        env=tuple(hints.get("env", ())),
        groups=tuple(hints.get("groups", ())),
        **given,
    )


def _limits(hints: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "cpuset" in hints:
        yield "lxc.cgroup2.cpuset.cpus", str(hints["cpuset"])
    if "pids" in hints:
        yield "lxc.cgroup2.pids.max", str(hints["pids"])
    for name, limits in hints.get("rlimits", {}).items():
        yield f"lxc.prlimit.{name.removeprefix('RLIMIT_').lower()}", ":".join(map(str, limits))


def _property(pairs: list[tuple[str, str | int | bool | None]]) -> str:
    """Join a property string of Proxmox; what is not set is left out, a key "" stands for the default key."""
    return ",".join(
        f"{key}{'=' if key else ''}{int(value) if isinstance(value, bool) else value}" for key, value in pairs if value
    )
