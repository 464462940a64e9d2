"""Which distribution and machine Proxmox sees in a root filesystem, and whether it takes them.

Written as Proxmox VE 9 detects them when it creates a container and again at every start (pve-container 6.1,
PVE/LXC/Setup.pm and Setup/*.pm), not as os-release(5) would have it: what counts is the answer that Proxmox gives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, printable

READS = (
    "etc/*-release",
    "etc/*_version",
    "etc/SuSE-brand",
    "usr/lib/*-release",
    "usr/lib/os.release.d/*",
    "nix/store/*-os-release",
)
"""Patterns of the files that the detection reads, and of those that distributions link them to."""

_PLUGINS = "alpine archlinux centos debian devuan fedora gentoo nixos openeuler opensuse ubuntu unmanaged"
OSTYPES = frozenset(_PLUGINS.split())
"""Proxmox's ostypes (the plugins of Setup.pm)."""

_ALIASES = {
    "almalinux": "centos",
    "arch": "archlinux",
    "openEuler": "openeuler",
    "opensuse-leap": "opensuse",
    "opensuse-slowroll": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "rocky": "centos",
    "sles": "opensuse",
}

# In Proxmox's order, for an ID that it does not know; Ubuntu's lsb-release comes before them.
_MARKS = (
    ("etc/debian_version", "debian"),
    ("etc/devuan_version", "devuan"),
    ("etc/SuSE-brand", "opensuse"),
    ("etc/SuSE-release", "opensuse"),
    ("etc/fedora-release", "fedora"),
    ("etc/centos-release", "centos"),
    ("etc/redhat-release", "centos"),
    ("etc/arch-release", "archlinux"),
    ("etc/alpine-release", "alpine"),
    ("etc/gentoo-release", "gentoo"),
    ("nix/store", "nixos"),
    ("etc/openEuler-release", "openeuler"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why Proxmox refuses a distribution (error) or grumbles (warning), and the file that it says so of."""

    about: Literal["distribution", "version"]
    message: str
    path: bytes | None = None
    level: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What Proxmox makes of a root filesystem."""

    ostype: str
    """One of OSTYPES; "" where Proxmox gives up."""
    id: str
    """ID of os-release, as Proxmox reads it."""
    version: float
    """The number that Proxmox compares; 0 where it has none."""
    release: str
    """What people call the version: VERSION_ID of os-release, else `version`; "" where there is neither."""
    problems: tuple[Problem, ...]


class _RefusedError(Exception):
    """Proxmox ends the create here."""

    def __init__(self, message: str, path: str, *, about: Literal["distribution", "version"] = "version") -> None:
        super().__init__(message)
        self.problem = Problem(about, message, path.encode())


def detect(survey: Survey) -> Distribution:
    """Return what Proxmox detects; a refusal is a problem of the answer, never an exception.

    The survey must have been made with READS.
    """
    text = survey.text(b"etc/os-release") if _is_file(survey, b"etc/os-release") else survey.text(b"usr/lib/os-release")
    text = text or ""
    values = os_release(text)
    id = values.get("ID", "")
    ostype, version = "", 0.0
    problems: list[Problem] = []
    try:
        ostype = _ostype(survey, id)
        if ostype == "unmanaged" and id != "unmanaged":
            problems.append(Problem("distribution", "there is no /etc/os-release: Proxmox takes it as 'unmanaged'"))
        judge = _VERSIONS.get(ostype)
        if judge is not None:
            version, grumble = judge(survey, values)
            problems += [Problem("version", grumble, level="warning")] if grumble else []
    except _RefusedError as refused:
        problems.append(refused.problem)
    release = _plain(text, "VERSION_ID") or (f"{version:g}" if version else "")
    return Distribution(ostype, id, version, release, tuple(problems))


def os_release(text: str) -> dict[str, str]:
    """Return the variables of an os-release file as Proxmox parses it.

    An unquoted value ends at the first character that is no ASCII letter or digit: VERSION_ID=15.6 gives "15".
    """
    values = {}
    for line in re.findall(r"^.+$", text, re.MULTILINE):
        match = re.match(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)=(.*)", line, re.ASCII)
        if match is None:
            continue
        name, content = match[1], match[2]
        if single := re.match(r"'([^']*)'", content):
            values[name] = single[1]
        elif double := re.match(r'"((?:[^"\\]|\\.)*)"', content):
            values[name] = re.sub(r"\\([\"'`nt$\\])", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), double[1])
        else:
            values[name] = content[: len(content) - len(content.lstrip(_ALPHANUMERIC))]
    return values


_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _plain(text: str, name: str) -> str:
    """Return a value of os-release as people mean it: 15.6 stays 15.6 without quotes too."""
    found = re.findall(rf"^{name}=[\"']?([A-Za-z0-9._+~-]*)", text, re.MULTILINE)
    return found[-1] if found else ""


def _is_file(survey: Survey, path: bytes) -> bool:
    found = survey.resolve(path)
    return found is not None and survey.type(found) in (REG, LNK)


def _on_host(survey: Survey, path: str) -> str | None:
    """Return the text of a file that Proxmox opens from the node's side (ROOT/etc/...), or None where it finds none.

    There an absolute link leads to the node's own file, or nowhere.
    """
    found = survey.resolve_from_host(path.encode())
    if found is None or survey.type(found) not in (REG, LNK):
        return None
    return survey.text(found) or ""


def _first_line(survey: Survey, path: str) -> str:
    """Return the first line of a version file; raise where Proxmox can read none."""
    text = _on_host(survey, path)
    if text is None:
        target = survey.links.get(path.encode(), b"")
        if target.startswith(b"/"):
            reason = f"is a link to {printable(target[1:])}, which Proxmox follows on the node and not in the container"
            raise _RefusedError(f"{reason}: make it relative", path)
        raise _RefusedError("is missing: Proxmox reads the version there", path)
    if not text:
        raise _RefusedError("is empty: Proxmox reads the version there", path)
    return text.split("\n", 1)[0]


def _ostype(survey: Survey, id: str) -> str:
    if id in OSTYPES:
        return id
    if id in _ALIASES:
        return _ALIASES[id]
    if re.search(r"^DISTRIB_ID=Ubuntu$", _on_host(survey, "etc/lsb-release") or "", re.MULTILINE | re.IGNORECASE):
        return "ubuntu"
    for path, ostype in _MARKS:
        found = survey.resolve_from_host(path.encode())
        wanted = (DIR,) if ostype == "nixos" else (REG, LNK)
        if found is not None and survey.type(found) in wanted:
            return ostype
    # A link that is absolute leads to the node's own os-release, which is there.
    if _is_file(survey, b"etc/os-release"):
        known = ", ".join(sorted((OSTYPES | _ALIASES.keys()) - {"unmanaged"}))
        message = f"ID={id or '(none)'} is unknown to Proxmox, which knows {known}"
        raise _RefusedError(message, "etc/os-release", about="distribution")
    return "unmanaged"


def _number(text: str) -> float:
    """Return the number that a text begins with, 0 without one: how Perl compares a string with a number."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text, re.ASCII)
    return float(match[1]) if match else 0.0


Judged = tuple[float, str]
"""The version, and Proxmox's warning about it or ""."""

# Proxmox keeps these up to date with the releases; anything newer only makes it warn.
_DEBIAN_NAMES = {
    "stretch/sid": "9.1",
    "buster/sid": "10",
    "bullseye/sid": "11",
    "bookworm/sid": "12",
    "trixie/sid": "13",
    "forky/sid": "14",
    "duke/sid": "15",
    "kali-rolling": "12",
}
_DEVUAN_NAMES = {"jessie": 8, "ascii": 9, "beowulf": 10, "chimaera": 11, "daedalus": 12, "excalibur": 13}
_DEBIAN_OLDEST, _DEBIAN_NEWEST = 4, 14
_UBUNTU_OLDEST = 17
_UBUNTU_KNOWN = re.compile(r"12\.04|14\.04|15\.04|15\.10|16\.04|16\.10|(1[7-9]|2[0-6])\.(04|10)", re.ASCII)


def _debian(survey: Survey, _: dict[str, str]) -> Judged:
    path = "etc/debian_version"
    line = _first_line(survey, path)
    match = re.match(r"\d+", _DEBIAN_NAMES.get(line, line), re.ASCII)
    if match is None:
        raise _RefusedError(f"holds {line!r}, which Proxmox reads no version in", path)
    version = float(match[0])
    if version < _DEBIAN_OLDEST:
        raise _RefusedError(f"holds {line!r}: Proxmox takes Debian {_DEBIAN_OLDEST} and later", path)
    newer = f"Debian {version:g} is newer than {_DEBIAN_NEWEST}, the newest that Proxmox VE 9.2 knows"
    return version, newer if version > _DEBIAN_NEWEST else ""


def _devuan(survey: Survey, _: dict[str, str]) -> Judged:
    path = "etc/devuan_version"
    line = _first_line(survey, path)
    name = line.lower()
    known = _DEVUAN_NAMES.get(name if name == "jessie/ceres" else name.removesuffix("/ceres"))
    if known is None:
        raise _RefusedError(f"holds {line!r}: Proxmox knows {', '.join(_DEVUAN_NAMES)}", path)
    return float(known), ""


def _ubuntu(survey: Survey, _: dict[str, str]) -> Judged:
    path = "etc/lsb-release"
    _first_line(survey, path)
    text = _on_host(survey, path) or ""
    if not re.search(r"^DISTRIB_ID=Ubuntu$", text, re.MULTILINE | re.IGNORECASE):
        raise _RefusedError("lacks the line DISTRIB_ID=Ubuntu, which Proxmox asks for", path)
    match = re.search(r"^DISTRIB_RELEASE=(\d+\.\d+)$", text, re.MULTILINE | re.IGNORECASE | re.ASCII)
    if match is None:
        raise _RefusedError("lacks a line such as DISTRIB_RELEASE=24.04, which Proxmox asks for", path)
    version = float(match[1])
    if _UBUNTU_KNOWN.fullmatch(match[1]):
        return version, ""
    if version < _UBUNTU_OLDEST:
        raise _RefusedError(f"holds DISTRIB_RELEASE={match[1]}, too old for Proxmox", path)
    return version, f"Ubuntu {match[1]} is not among the releases that Proxmox VE 9.2 knows"


def _centos(survey: Survey, _: dict[str, str]) -> Judged:
    path = "etc/redhat-release"
    line = _first_line(survey, path)
    match = re.search(r"release\s+(\d+\.\d+)", line, re.ASCII) or re.search(r"release\s+(\d+)", line, re.ASCII)
    if match is None:
        raise _RefusedError(f"holds {line!r}, which Proxmox reads no version in", path)
    version = float(match[1])
    if not 5 <= version < 11:
        raise _RefusedError(f"holds {line!r}: Proxmox takes releases 5 to 10", path)
    return version, ""


def _at_least(name: str, oldest: int) -> Callable[[Survey, dict[str, str]], Judged]:
    def judge(_: Survey, values: dict[str, str]) -> Judged:
        text = values.get("VERSION_ID")
        version = _number(text or "")
        if version < oldest:
            found = "no VERSION_ID" if text is None else f"VERSION_ID={text}"
            raise _RefusedError(f"has {found}: Proxmox takes {name} {oldest} and later", "etc/os-release")
        return version, ""

    return judge


def _opensuse(_: Survey, values: dict[str, str]) -> Judged:
    text = values.get("VERSION_ID", "")
    if match := re.fullmatch(r"(\d+)\.(\d+)", text, re.ASCII):
        major, minor = float(match[1]), float(match[2])
        sles = values.get("ID") == "sles" and major == 12
        if major >= 42 or (major == 13 and minor <= 2) or major in (15, 16) or sles:
            return float(text), ""
    elif match := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text, re.ASCII):
        if int(match[1]) >= 2017 and int(match[2]) <= 12 and int(match[3]) <= 31:
            return float(text), ""
    elif re.fullmatch(r"\d+", text, re.ASCII):
        # The parser above cuts 15.6 to 15 unless it is quoted; then no pattern of Proxmox's matches.
        raise _RefusedError(f'has VERSION_ID={text}: Proxmox wants it as in VERSION_ID="15.6"', "etc/os-release")
    taken = "13.0 to 13.2, 15.x, 16.x, 42.x and later, and dates from 2017 on"
    raise _RefusedError(f"has VERSION_ID={text or '(none)'}: Proxmox takes {taken}", "etc/os-release")


def _gentoo(survey: Survey, _: dict[str, str]) -> Judged:
    path = "etc/gentoo-release"
    line = _first_line(survey, path)
    if not re.match(r"gentoo base system release ", line, re.IGNORECASE):
        raise _RefusedError(f"holds {line!r}, not 'Gentoo Base System release ...'", path)
    for needed in ("etc/inittab", "etc/conf.d/hostname"):
        if not _is_file(survey, needed.encode()):
            raise _RefusedError("is missing: Proxmox edits it in every Gentoo container", needed)
    return 0.0, ""


def _openeuler(survey: Survey, values: dict[str, str]) -> Judged:
    judged = _at_least("openEuler", 24)(survey, values)
    # Its network set-up is CentOS's, which reads the release there, inside the container.
    if not re.search(r"release\s+\d", survey.text(b"etc/redhat-release") or "", re.ASCII):
        raise _RefusedError("lacks 'release N', which Proxmox's network set-up reads", "etc/redhat-release")
    return judged


_VERSIONS: dict[str, Callable[[Survey, dict[str, str]], Judged]] = {
    "centos": _centos,
    "debian": _debian,
    "devuan": _devuan,
    "fedora": _at_least("Fedora", 22),
    "gentoo": _gentoo,
    "openeuler": _openeuler,
    "opensuse": _opensuse,
    "ubuntu": _ubuntu,
}
"""alpine, archlinux, nixos and unmanaged are taken in any version."""

_MACHINES = {0x03: "i386", 0x28: "armhf", 0x3E: "amd64", 0xB7: "arm64", 0xF3: "riscv"}


def machine(survey: Survey) -> str:
    """Return the architecture in Proxmox's words, "" where Proxmox would detect none and take amd64.

    It reads the ELF header of /bin/sh, on NixOS that of the interpreter of /sbin/init, both as the container sees them
    (PVE/LXC/Tools.pm, detect_elf_architecture).
    """
    shell = survey.executable(b"bin/sh")
    if shell is None and survey.type(b"nix/store") == DIR:
        init = survey.executable(b"sbin/init")
        match = re.match(rb"#! ?(\S+)", init.head) if init else None
        shell = survey.executable(match[1]) if match else None
    if shell is None or shell.head[:4] != b"\x7fELF":
        return ""
    # Proxmox reads bytes 17 and 18 as one number: the high byte of e_type, which is 0, and the low one of e_machine.
    arch = _MACHINES.get(int.from_bytes(shell.head[17:19], "big"), "")
    return {1: "riscv32", 2: "riscv64"}.get(shell.head[4], "") if arch == "riscv" else arch
