"""Checks that Proxmox can configure a container: distribution, files that it writes, network, root's home, disk."""

import re
from collections.abc import Iterator
from posixpath import join

from lxcast.rootfs.checks.rows import Check, Finding, Level, Subject
from lxcast.rootfs.container import root_disk
from lxcast.rootfs.distribution import READS, Distribution, detect
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, SYM, printable

DEFAULT_DISK = 4
"""Default size of a root disk in GiB (PVE/API2/LXC.pm)."""

_WRITTEN = (b"etc/hostname", b"etc/hosts", b"etc/resolv.conf", b"fastboot")
"""Files that Proxmox writes when it creates a container and at every start (PVE/LXC/Setup/Base.pm)."""

_UBUNTU_NETWORKD, _FEDORA_NETWORKD, _CENTOS_NETWORK_MANAGER = 17.10, 25, 10

_CREATED = {
    "ifupdown": (b"etc/network",),
    "networkd": (b"etc/systemd/network",),
    "NetworkManager": (b"etc/NetworkManager/system-connections",),
    "network-scripts": (b"etc/sysconfig/network-scripts",),
    "ifcfg": (b"etc/sysconfig/network",),
}
"""Directories in which Proxmox writes the network configuration; it creates missing ones."""

_NETWORK_FILES = {
    "ifupdown": (b"etc/network/interfaces",),
    "networkd": (b"etc/systemd/network/eth0.network",),
    "NetworkManager": (b"etc/NetworkManager/system-connections/eth0.nmconnection",),
    "network-scripts": (b"etc/sysconfig/network-scripts/ifcfg-eth0",),
    "ifcfg": (b"etc/sysconfig/network/ifcfg-eth0",),
}
"""Files of the network configuration that Proxmox writes for the usual interface eth0."""

_PRESETS = (b"etc/systemd/system-preset",)
_WITH_PRESETS = frozenset({"archlinux", "centos", "fedora", "ubuntu"})
"""ostypes for which Proxmox writes 00-pve.preset whatever the init is (setup_init in PVE/LXC/Setup/*.pm)."""

_CRONTABS = b"etc/cron.d/"
_CRONTAB = re.compile(_CRONTABS + rb"[A-Za-z0-9_-]+")

_IGNORE = b".pve-ignore."

_MANAGERS = {
    "ifupdown": (b"sbin/ifup", b"usr/sbin/ifup"),
    "ifupdown and OpenRC's networking": (b"etc/init.d/networking",),
    "systemd-networkd": (b"usr/lib/systemd/systemd-networkd", b"lib/systemd/systemd-networkd"),
    "NetworkManager": (b"usr/sbin/NetworkManager", b"usr/bin/NetworkManager"),
    "network-scripts": (b"etc/init.d/network", b"etc/rc.d/init.d/network"),
    "wicked": (b"usr/sbin/wicked",),
    "netifrc": (b"etc/init.d/net.lo",),
    "dhcpcd": (b"usr/sbin/dhcpcd", b"sbin/dhcpcd"),
    "ConnMan": (b"usr/sbin/connmand",),
}
"""Network manager -> paths of its programs."""


def _distribution(subject: Subject) -> Iterator[Finding]:
    for problem in detect(subject.survey).problems:
        if problem.about == "distribution":
            # A single program does not use the system configuration that Proxmox would write.
            level: Level = "warning" if subject.starts_program else problem.level
            yield Finding(problem.message, problem.path, level)


def _version(subject: Subject) -> Iterator[Finding]:
    for problem in detect(subject.survey).problems:
        if problem.about == "version":
            yield Finding(problem.message, problem.path, problem.level)


def _blocked_files(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if not subject.managed:
        return
    distribution = detect(survey)
    kind = _network_kind(distribution.ostype, distribution.version)
    for path in (*_WRITTEN, *_NETWORK_FILES.get(kind, ()), *_host_key_files(survey)):
        parent, _, name = path.rpartition(b"/")
        real, ignore = (join(survey.resolve(parent) or parent, each) for each in (name, _IGNORE + name))
        if survey.type(real) == DIR and survey.type(ignore) is None:
            yield Finding("is a directory, but Proxmox writes a file there", path)
    for path in (*_CREATED.get(kind, ()), *(_PRESETS if distribution.ostype in _WITH_PRESETS else ())):
        blocking = _blocking(survey, path)
        if blocking is not None:
            yield Finding(f"is not a directory, but Proxmox creates files in {printable(path)}", blocking)
    for path in survey.paths_with(_CRONTABS):
        if _CRONTAB.fullmatch(path):
            found = survey.resolve(path)
            if found is None or survey.type(found) not in (REG, LNK):
                what = "is a dangling link" if found is None else "is not a file"
                yield Finding(f"{what}, but Proxmox reads every crontab there", path, hint="remove it in the image")


def _host_key_files(survey: Survey) -> list[bytes]:
    """Return the SSH host keys that Proxmox writes, which it does if /etc/ssh exists (PVE/LXC/Setup.pm)."""
    if survey.resolve(b"etc/ssh") is None:
        return []
    names = (b"etc/ssh/ssh_host_%s_key" % kind for kind in (b"rsa", b"ecdsa", b"ed25519"))
    return [name + suffix for name in names for suffix in (b"", b".pub")]


def _blocking(survey: Survey, path: bytes) -> bytes | None:
    """Return the first component of `path` at which a directory cannot exist or be created; None if there is none."""
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        current = b"/".join(parts[:depth])
        parent = survey.resolve(b"/".join(parts[: depth - 1])) or b"/".join(parts[: depth - 1])
        if survey.type(join(parent, parts[depth - 1])) is None:
            return None
        found = survey.resolve(current)
        if found is None or survey.type(found) != DIR:
            return current
    return None


def _network_kind(ostype: str, version: float) -> str:
    """Return the network configuration that Proxmox writes (setup_network in PVE/LXC/Setup/*.pm)."""
    match ostype:
        case "debian" | "devuan" | "alpine":
            return "ifupdown"
        case "ubuntu":
            return "networkd" if version >= _UBUNTU_NETWORKD else "ifupdown"
        case "fedora":
            return "networkd" if version >= _FEDORA_NETWORKD else "NetworkManager"
        case "archlinux":
            return "networkd"
        case "centos" | "openeuler":
            return "NetworkManager" if version >= _CENTOS_NETWORK_MANAGER else "network-scripts"
        case "opensuse":
            return "ifcfg"
    return ""


def _root_home(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if not subject.managed:
        return
    home = b"root"
    if survey.resolve(b"etc/passwd") is not None:
        passwd = survey.text(b"etc/passwd") or ""
        match = re.search(r"^root:(?:[^:\n]*:){4}([^:\n]*):", passwd, re.MULTILINE)
        if match is None:
            yield Finding("has no home directory for root", b"etc/passwd")
            return
        if not match[1]:
            yield Finding(
                "has an empty home directory for root", b"etc/passwd", hint="usermod -d /root root in the image"
            )
            return
        home = match[1].strip("/").encode()
    found = survey.resolve(home) if home else b""
    if found is None or (home and survey.type(found) != DIR):
        what = "a dangling link" if found is None and survey.type(home) == SYM else "not a directory"
        yield Finding(f"is root's home but {what}", home)
        return
    ssh = join(found, b".ssh")
    real = survey.resolve(ssh)
    if survey.type(ssh) is not None and (real is None or survey.type(real) != DIR):
        yield Finding("is not a directory, but Proxmox writes root's SSH keys there", ssh, hint=_REMOVE)
    elif real is not None and survey.type(real + b"/authorized_keys") == DIR:
        yield Finding("is a directory, but Proxmox writes a file there", real + b"/authorized_keys", hint=_REMOVE)


_REMOVE = "remove it in the image"


def _wanted(found: Distribution) -> tuple[str, ...]:
    """Return the network managers that read Proxmox's configuration for the distribution; empty if unknown."""
    modern = {"ubuntu": 17.10, "fedora": 25, "centos": 10, "openeuler": 10}.get(found.ostype, 0) <= found.version
    match found.ostype:
        case "debian" | "devuan":
            return ("ifupdown",)
        case "alpine":
            return ("ifupdown and OpenRC's networking",)
        case "ubuntu":
            return ("systemd-networkd",) if modern else ("ifupdown",)
        case "fedora":
            return ("systemd-networkd",) if modern else ("network-scripts", "NetworkManager")
        case "archlinux":
            return ("systemd-networkd",)
        case "centos" | "openeuler":
            return ("NetworkManager",) if modern else ("network-scripts", "NetworkManager")
        case "opensuse":
            return ("wicked", "systemd-networkd")
        case "gentoo":
            return ("netifrc",)
    return ()


def _has(survey: Survey, manager: str) -> bool:
    return any(survey.resolve(path) is not None for path in _MANAGERS[manager])


def _network(subject: Subject) -> Iterator[Finding]:
    found = detect(subject.survey)
    wanted = _wanted(found)
    if not wanted or any(_has(subject.survey, manager) for manager in wanted):
        return
    # Debian's systemd package includes networkd, which Proxmox's preset disables. Alpine's BusyBox includes ifup, which
    # nothing starts without OpenRC.
    inactive = {"debian": ("systemd-networkd",), "alpine": ("ifupdown",)}.get(found.ostype, ())
    others = [name for name in _MANAGERS if name not in inactive and _has(subject.survey, name)]
    missing = f"Proxmox configures {found.ostype} containers through {' or '.join(wanted)}, which is missing"
    if subject.starts_program:
        yield Finding(f"no network inside the container: {missing}", level="warning", hint=_HOST_MANAGED)
    elif others:
        message = f"{missing}; {', '.join(others)} does not read that configuration"
        yield Finding(message, level="warning", hint=f"configure {others[0]} in the image, or {_HOST_MANAGED}")
    else:
        hint = f"install {wanted[0]} in the image, or {_HOST_MANAGED}"
        yield Finding(f"no network: {missing}", hint=hint)


_HOST_MANAGED = "create containers with host-managed=1 in net0 (Proxmox VE 9.1 and later)"


def _ignored(subject: Subject) -> Iterator[Finding]:
    if not subject.managed:
        return
    for path in subject.survey.paths_with(_IGNORE):
        parent, _, name = path.rpartition(b"/")
        if name.startswith(_IGNORE):
            kept = printable((parent + b"/" if parent else b"") + name.removeprefix(_IGNORE))
            yield Finding(f"prevents Proxmox from writing {kept}", path, "warning")


def _disk(subject: Subject) -> Iterator[Finding]:
    needed = root_disk(subject.survey)
    if needed > DEFAULT_DISK:
        size = subject.survey.unpacked_size / (1 << 30)
        yield Finding(
            f"{size:.1f} GiB unpacked, but the default root disk has {DEFAULT_DISK} GiB",
            level="warning",
            hint=f"create containers with `--rootfs STORAGE:{needed}` or more",
        )


SETUP = (
    Check(
        id="distribution",
        group="proxmox",
        heading="Distribution that Proxmox does not support",
        why=(
            "Proxmox detects the distribution by ID in os-release and then by version files. If it finds none, "
            "container creation fails with 'unable to detect OS distribution' (PVE/LXC/Setup.pm). Without os-release "
            "the container becomes 'unmanaged': Proxmox sets no network, hostname, password or keys."
        ),
        find=_distribution,
        hint="use a distribution that Proxmox supports, or create containers with `--ostype unmanaged`",
        reads=READS,
    ),
    Check(
        id="distribution-version",
        group="proxmox",
        heading="Version that Proxmox does not support or cannot read",
        why=(
            "Proxmox reads the version file of each distribution on the node, where an absolute link leads to files of "
            "the node. Container creation fails for versions outside the supported range (PVE/LXC/Setup/*.pm)."
        ),
        find=_version,
        hint="install the package that owns the file (base-files, lsb-release, *-release), or use a supported release",
        reads=READS,
    ),
    Check(
        id="blocked-files",
        group="proxmox",
        heading="Files that Proxmox cannot write or read",
        why=(
            "Proxmox writes hostname, hosts, resolv.conf, SSH host keys and the network configuration, creates their "
            "directories, and changes the minutes in root's crontabs. Container creation or start fails if one of the "
            "files is a directory, one of the directories is not one, or a crontab is a dangling link "
            "(PVE/LXC/Setup.pm, PVE/LXC/Setup/*.pm). A missing file is not a problem."
        ),
        find=_blocked_files,
        hint="remove it in the image; a mount during the build can leave a directory",
        reads=READS,
    ),
    Check(
        id="root-home",
        group="proxmox",
        heading="Missing home directory of root",
        why=(
            "Proxmox writes the SSH keys for a container to root's home as given in /etc/passwd. If that directory is "
            "missing, container creation fails (PVE/LXC/Setup/Base.pm, set_user_authorized_ssh_keys)."
        ),
        find=_root_home,
        hint="create the directory in the image: install -d -m 0700 /root",
        reads=(*READS, "etc/passwd"),
    ),
    Check(
        id="network-manager",
        group="proxmox",
        heading="Missing network manager",
        why=(
            "Proxmox writes the network configuration for one network manager per distribution: "
            "/etc/network/interfaces for Debian and Alpine, .network files for Ubuntu, Fedora and Arch, NetworkManager "
            "keyfiles for EL 10 (setup_network in PVE/LXC/Setup/*.pm). Images made for Docker lack the manager, and "
            "Proxmox does not check."
        ),
        find=_network,
        reads=READS,
    ),
    Check(
        id="pve-ignore",
        group="proxmox",
        heading="Files that Proxmox does not write",
        why="A file .pve-ignore.NAME next to NAME prevents Proxmox from writing NAME (PVE/LXC/Setup/Base.pm).",
        find=_ignored,
        hint="remove the file unless every container should keep the file of the template",
        reads=READS,
    ),
    Check(
        id="root-disk",
        group="proxmox",
        heading="Larger than the default root disk",
        why="The default root disk has 4 GiB (PVE/API2/LXC.pm), and tar fails when the disk is full.",
        find=_disk,
    ),
)
