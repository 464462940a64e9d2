"""Checks that Proxmox can set a container up: its distribution, files that it writes, network, root's home, disk."""

import re
from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Level, Subject
from lxcast.rootfs.container import root_disk
from lxcast.rootfs.distribution import READS, Distribution, detect
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, printable

DEFAULT_DISK = 4
"""GiB of a container's root disk where none is asked for (PVE/API2/LXC.pm)."""

_WRITTEN = (b"etc/hostname", b"etc/hosts", b"etc/resolv.conf")
"""Files that Proxmox writes at create and at every start (PVE/LXC/Setup/Base.pm)."""

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
"""Programs that tell a network manager."""


def _distribution(subject: Subject) -> Iterator[Finding]:
    for problem in detect(subject.survey).problems:
        if problem.about == "distribution":
            # What Proxmox would set up, a single program has no use for.
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
    for path in _WRITTEN:
        folder, _, name = path.rpartition(b"/")
        ignored = survey.type(folder + b"/" + _IGNORE + name) is not None
        if survey.type(path) == DIR and not ignored:
            yield Finding("is a folder, and Proxmox writes a file there", path)
    for path in survey.paths_with(_CRONTABS):
        if _CRONTAB.fullmatch(path):
            found = survey.resolve(path)
            if found is None or survey.type(found) not in (REG, LNK):
                kind = "leads nowhere" if found is None else "is no file"
                yield Finding(f"{kind}, and Proxmox reads every crontab there", path, hint="remove it")


def _root_home(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if not subject.managed:
        return
    home = b"root"
    if survey.resolve(b"etc/passwd") is not None:
        passwd = survey.text(b"etc/passwd") or ""
        match = re.search(r"^root:(?:[^:\n]*:){4}([^:\n]*):", passwd, re.MULTILINE)
        if match is None:
            yield Finding("names no home of root", b"etc/passwd")
            return
        home = match[1].strip("/").encode()
    found = survey.resolve(home)
    # Proxmox is content with a link there, wherever it leads.
    if home and (found is None or survey.type(found) != DIR) and home not in survey.links:
        yield Finding("is root's home, and no folder", home)


def _wanted(found: Distribution) -> tuple[str, ...]:
    """Return the managers that read what Proxmox writes for the distribution; none where that cannot be told."""
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
    # Proxmox's preset turns networkd off on Debian, where it comes with systemd and is no choice of anybody.
    useless = ("systemd-networkd",) if found.ostype == "debian" else ()
    others = [name for name in _MANAGERS if name not in useless and _has(subject.survey, name)]
    wants = f"in {found.ostype} Proxmox configures {' or '.join(wanted)}, which is not installed"
    if subject.starts_program:
        message = f"{wants}; what a container's net0 says does not reach the program that it runs"
        yield Finding(message, level="warning", hint=_HOST_MANAGED)
    elif others:
        message = f"{wants}; what a container's net0 says does not reach {', '.join(others)}"
        yield Finding(message, level="warning", hint=_HOST_MANAGED)
    else:
        yield Finding(f"{wants}: a container would have no network", hint=f"install it, or {_HOST_MANAGED}")


_HOST_MANAGED = "create containers with `host-managed=1` in net0 (Proxmox VE 9.1 and later)"


def _ignored(subject: Subject) -> Iterator[Finding]:
    if not subject.managed:
        return
    for path in subject.survey.paths_with(_IGNORE):
        folder, _, name = path.rpartition(b"/")
        if name.startswith(_IGNORE):
            spared = printable((folder + b"/" if folder else b"") + name.removeprefix(_IGNORE))
            yield Finding(f"makes Proxmox leave {spared} as it is in the template", path, "warning")


def _disk(subject: Subject) -> Iterator[Finding]:
    needed = root_disk(subject.survey)
    if needed > DEFAULT_DISK:
        size = subject.survey.unpacked_size / (1 << 30)
        yield Finding(
            f"{size:.1f} GiB unpacked, and a root disk has {DEFAULT_DISK} GiB where no size is given",
            level="warning",
            hint=f"create containers with `--rootfs STORAGE:{needed}` or more",
        )


SETUP = (
    Check(
        id="distribution",
        group="proxmox",
        heading="Distribution that Proxmox does not know",
        why=(
            "Proxmox goes by ID in os-release, then by version files; where it knows neither the create fails with "
            "'unable to detect OS distribution' (PVE/LXC/Setup.pm). Without os-release it makes the container "
            "'unmanaged': no network, hostname, password or keys are set."
        ),
        find=_distribution,
        hint="base the image on a distribution that Proxmox knows, or create containers with `--ostype unmanaged`",
        reads=READS,
    ),
    Check(
        id="distribution-version",
        group="proxmox",
        heading="Version that Proxmox does not take, or cannot read",
        why=(
            "Each distribution has a version file that Proxmox reads from the node's side, where an absolute link "
            "leads to the node's own files, and bounds beyond which the create fails (PVE/LXC/Setup/*.pm)."
        ),
        find=_version,
        hint="install the package that owns the file (base-files, lsb-release, *-release), or use a release in bounds",
        reads=READS,
    ),
    Check(
        id="blocked-files",
        group="proxmox",
        heading="Files that Proxmox cannot write or read",
        why=(
            "Proxmox writes hostname, hosts and resolv.conf anew and moves the minutes in root's crontabs; a folder in "
            "the place of one, or a crontab that is a link to nothing, fails the create (PVE/LXC/Setup/Base.pm). A "
            "missing file does not."
        ),
        find=_blocked_files,
        hint="remove the folder: it is left where a mount of the build had no file to cover",
        reads=READS,
    ),
    Check(
        id="root-home",
        group="proxmox",
        heading="No home of root",
        why=(
            "SSH keys given to a container go into the home that /etc/passwd names for root; where it is missing the "
            "create fails (PVE/LXC/Setup/Base.pm, set_user_authorized_ssh_keys)."
        ),
        find=_root_home,
        hint="make the folder, mode 0700",
        reads=(*READS, "etc/passwd"),
    ),
    Check(
        id="network-manager",
        group="proxmox",
        heading="No network manager for what Proxmox writes",
        why=(
            "Proxmox writes the network of a container for one manager for each distribution: /etc/network/interfaces "
            "for Debian and Alpine, .network files for Ubuntu, Fedora and Arch, NetworkManager's for EL 10 "
            "(setup_network in PVE/LXC/Setup/*.pm). Images made for Docker lack it, and nothing complains."
        ),
        find=_network,
        reads=READS,
    ),
    Check(
        id="pve-ignore",
        group="proxmox",
        heading="Files that Proxmox is told to leave alone",
        why="A file .pve-ignore.NAME beside NAME keeps Proxmox from writing NAME (PVE/LXC/Setup/Base.pm).",
        find=_ignored,
        hint="fine where it is meant; each container then has the template's own file",
        reads=READS,
    ),
    Check(
        id="root-disk",
        group="proxmox",
        heading="More than the default root disk holds",
        why="Without a size the root disk has 4 GiB (PVE/API2/LXC.pm), and tar fails when it is full.",
        find=_disk,
    ),
)
