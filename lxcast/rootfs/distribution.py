"""The distribution and architecture that Proxmox detects in a root filesystem, and whether it supports them.

This module follows Proxmox VE 9, which detects them when it creates a container and at every start (pve-container 6.1,
PVE/LXC/Setup.pm and Setup/*.pm), and not os-release(5).
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
"""Patterns of the files that the detection reads, and of the usual targets of links to them."""

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

# Proxmox's order for an unknown ID; Ubuntu's lsb-release comes first.
_MARKERS = (
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


LINKED_FILES = (
    *(path for path, ostype in _MARKERS if ostype != "nixos"),
    *("etc/os-release", "usr/lib/os-release", "etc/lsb-release"),
    *("etc/passwd", "etc/group", "etc/shadow", "etc/inittab", "etc/ssh/sshd_config"),
)
"""Files that checks read wherever links lead from these paths (`Survey.unread_texts`)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why Proxmox rejects a distribution (error) or warns about it, and the file concerned."""

    about: Literal["distribution", "version"]
    message: str
    path: bytes | None = None
    level: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution that Proxmox detects."""

    ostype: str
    """One of OSTYPES; "" if Proxmox rejects the root filesystem."""
    id: str
    """ID of os-release, as Proxmox parses it."""
    version: float
    """The number that Proxmox compares; 0 if it compares none."""
    release: str
    """The version for people: VERSION_ID of os-release, otherwise `version`; "" if both are missing."""
    problems: tuple[Problem, ...]


class _RejectedError(Exception):
    """Proxmox would stop creating the container here."""

    def __init__(self, message: str, path: str, *, about: Literal["distribution", "version"] = "version") -> None:
        super().__init__(message)
        self.problem = Problem(about, message, path.encode())


def detect(survey: Survey) -> Distribution:
    """Return what Proxmox detects. A rejection is part of the result, never an exception.

    The survey must have been created with READS.
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
            message = "/etc/os-release is missing: Proxmox creates containers with ostype 'unmanaged'"
            problems.append(Problem("distribution", message))
        read_version = _VERSIONS.get(ostype)
        if read_version is not None:
            version, warning = read_version(survey, values)
            problems += [Problem("version", warning, level="warning")] if warning else []
    except _RejectedError as rejected:
        problems.append(rejected.problem)
    release = _plain(text, "VERSION_ID") or (f"{version:g}" if version else "")
    return Distribution(ostype, id, version, release, tuple(problems))


def os_release(text: str) -> dict[str, str]:
    """Return the variables of an os-release file as Proxmox parses it.

    An unquoted value ends before the first character that is not an ASCII letter or digit: VERSION_ID=15.6 gives "15".
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
    """Return a value of os-release as people read it: 15.6 stays 15.6 even without quotes."""
    found = re.findall(rf"^{name}=[\"']?([A-Za-z0-9._+~-]*)", text, re.MULTILINE)
    return found[-1] if found else ""


def _is_file(survey: Survey, path: bytes) -> bool:
    found = survey.resolve(path)
    return found is not None and survey.type(found) in (REG, LNK)


def _on_host(survey: Survey, path: str) -> str | None:
    """Return the text of a file that Proxmox opens on the node as ROOT/etc/..., or None if it finds none.

    An absolute link there leads to a file of the node, or to nothing.
    """
    found = survey.resolve_from_host(path.encode())
    if found is None or survey.type(found) not in (REG, LNK):
        return None
    return survey.text(found) or ""


def _first_line(survey: Survey, path: str) -> str:
    """Return the first line of a version file. Raises _RejectedError if Proxmox cannot read one."""
    text = _on_host(survey, path)
    if text is None:
        target = survey.links.get(path.encode(), b"")
        if target.startswith(b"/"):
            reason = f"is a link to {printable(target[1:])}, which Proxmox follows on the node, not in the container"
            raise _RejectedError(f"{reason}: make the link relative", path)
        raise _RejectedError("is missing: Proxmox reads the version from it", path)
    if survey.text(path.encode()) is None:
        raise _RejectedError("is a link to a file that lxcast could not read in one pass: use a source file", path)
    if not text:
        raise _RejectedError("is empty: Proxmox reads the version from it", path)
    return text.split("\n", 1)[0]


def _ostype(survey: Survey, id: str) -> str:
    if id in OSTYPES:
        return id
    if id in _ALIASES:
        return _ALIASES[id]
    if re.search(r"^DISTRIB_ID=Ubuntu$", _on_host(survey, "etc/lsb-release") or "", re.MULTILINE | re.IGNORECASE):
        return "ubuntu"
    for path, ostype in _MARKERS:
        found = survey.resolve_from_host(path.encode())
        wanted = (DIR,) if ostype == "nixos" else (REG, LNK)
        if found is not None and survey.type(found) in wanted:
            return ostype
    # An absolute link leads to the os-release file of the node, which exists.
    if _is_file(survey, b"etc/os-release"):
        supported = ", ".join(sorted((OSTYPES | _ALIASES.keys()) - {"unmanaged"}))
        message = f"Proxmox does not support ID={id or '(none)'}; it supports {supported}"
        raise _RejectedError(message, "etc/os-release", about="distribution")
    return "unmanaged"


def _number(text: str) -> float:
    """Return the number at the start of a string, or 0: this is how Perl compares a string with a number."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text, re.ASCII)
    return float(match[1]) if match else 0.0


_Result = tuple[float, str]
"""The version, and Proxmox's warning about it or ""."""

# Proxmox updates these values with new releases; for newer versions it only warns.
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
_UBUNTU_EDITED = {"12.04": ("etc/udev/udev.conf", "etc/init/"), "14.04": ("etc/init/",)}
_CENTOS_WITH_SYSTEMD = 7  # for older releases Proxmox edits rc.sysinit (PVE/LXC/Setup/CentOS.pm, template_fixup)
_UBUNTU_KNOWN = re.compile(r"12\.04|14\.04|15\.04|15\.10|16\.04|16\.10|(1[7-9]|2[0-6])\.(04|10)", re.ASCII)


def _debian(survey: Survey, _: dict[str, str]) -> _Result:
    path = "etc/debian_version"
    line = _first_line(survey, path)
    match = re.match(r"\d+", _DEBIAN_NAMES.get(line, line), re.ASCII)
    if match is None:
        raise _RejectedError(f"contains {line!r}, in which Proxmox finds no version", path)
    version = float(match[0])
    if version < _DEBIAN_OLDEST:
        raise _RejectedError(f"contains {line!r}: Proxmox supports Debian {_DEBIAN_OLDEST} and later", path)
    newer = f"Debian {version:g} is newer than {_DEBIAN_NEWEST}, the newest release that Proxmox VE 9.2 supports"
    return version, newer if version > _DEBIAN_NEWEST else ""


def _devuan(survey: Survey, _: dict[str, str]) -> _Result:
    path = "etc/devuan_version"
    line = _first_line(survey, path)
    name = line.lower()
    known = _DEVUAN_NAMES.get(name if name == "jessie/ceres" else name.removesuffix("/ceres"))
    if known is None:
        raise _RejectedError(f"contains {line!r}: Proxmox supports {', '.join(_DEVUAN_NAMES)}", path)
    return float(known), ""


def _ubuntu(survey: Survey, _: dict[str, str]) -> _Result:
    path = "etc/lsb-release"
    _first_line(survey, path)
    text = _on_host(survey, path) or ""
    if not re.search(r"^DISTRIB_ID=Ubuntu$", text, re.MULTILINE | re.IGNORECASE):
        raise _RejectedError("lacks the line DISTRIB_ID=Ubuntu, which Proxmox requires", path)
    match = re.search(r"^DISTRIB_RELEASE=(\d+\.\d+)$", text, re.MULTILINE | re.IGNORECASE | re.ASCII)
    if match is None:
        raise _RejectedError("lacks a line such as DISTRIB_RELEASE=24.04, which Proxmox requires", path)
    version = float(match[1])
    if _UBUNTU_KNOWN.fullmatch(match[1]):
        _require_paths(survey, _UBUNTU_EDITED.get(match[1], ()))
        return version, ""
    if version < _UBUNTU_OLDEST:
        raise _RejectedError(f"contains DISTRIB_RELEASE={match[1]}, which is too old for Proxmox", path)
    return version, f"Ubuntu {match[1]} is not one of the releases that Proxmox VE 9.2 supports"


def _centos(survey: Survey, _: dict[str, str]) -> _Result:
    path = "etc/redhat-release"
    line = _first_line(survey, path)
    match = re.search(r"release\s+(\d+\.\d+)", line, re.ASCII) or re.search(r"release\s+(\d+)", line, re.ASCII)
    if match is None:
        raise _RejectedError(f"contains {line!r}, in which Proxmox finds no version", path)
    version = float(match[1])
    if not 5 <= version < 11:
        raise _RejectedError(f"contains {line!r}: Proxmox supports releases 5 to 10", path)
    if version < _CENTOS_WITH_SYSTEMD:
        _require_paths(survey, ("etc/rc.d/rc.sysinit",))
    return version, ""


def _at_least(name: str, oldest: int) -> Callable[[Survey, dict[str, str]], _Result]:
    def read_version(_: Survey, values: dict[str, str]) -> _Result:
        text = values.get("VERSION_ID")
        version = _number(text or "")
        if version < oldest:
            found = "no VERSION_ID" if text is None else f"VERSION_ID={text}"
            raise _RejectedError(f"has {found}: Proxmox supports {name} {oldest} and later", "etc/os-release")
        return version, ""

    return read_version


def _fedora(survey: Survey, values: dict[str, str]) -> _Result:
    version, warning = _at_least("Fedora", 22)(survey, values)
    with_sysconfig = survey.type(survey.resolve(b"etc/sysconfig/network") or b"") in (REG, LNK)
    if version <= 24 or (version <= 27 and with_sysconfig):
        _require_release_line(survey)
    return version, warning


def _require_release_line(survey: Survey) -> None:
    """Raise _RejectedError unless CentOS's network setup can read the release from inside the container."""
    if not re.search(r"release\s+\d", survey.text(b"etc/redhat-release") or "", re.ASCII):
        raise _RejectedError("lacks 'release N', which Proxmox's network setup reads", "etc/redhat-release")


def _require_paths(survey: Survey, paths: tuple[str, ...]) -> None:
    """Raise _RejectedError for a file that Proxmox edits, or a directory (final "/") that it writes to, if missing."""
    for path in paths:
        found = survey.resolve(path.encode())
        types = (DIR,) if path.endswith("/") else (REG, LNK)
        implied = path.endswith("/") and any(
            each.startswith(path.encode()) for each in survey.paths_with(path.encode())
        )
        if not implied and (found is None or survey.type(found) not in types):
            raise _RejectedError("is missing: Proxmox edits it in containers of such an old release", path.rstrip("/"))


def _opensuse(_: Survey, values: dict[str, str]) -> _Result:
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
        # The parser above cuts 15.6 to 15 unless it is quoted, and then no pattern of Proxmox matches.
        raise _RejectedError(f'has VERSION_ID={text}: Proxmox requires VERSION_ID="15.6", in quotes', "etc/os-release")
    supported = "13.0 to 13.2, 15.x, 16.x, 42.x and later, and dates from 2017 on"
    raise _RejectedError(f"has VERSION_ID={text or '(none)'}: Proxmox supports {supported}", "etc/os-release")


def _gentoo(survey: Survey, _: dict[str, str]) -> _Result:
    path = "etc/gentoo-release"
    line = _first_line(survey, path)
    if not re.match(r"gentoo base system release ", line, re.IGNORECASE):
        raise _RejectedError(f"contains {line!r}: expected 'Gentoo Base System release ...'", path)
    for required in ("etc/inittab", "etc/conf.d/hostname"):
        if not _is_file(survey, required.encode()):
            raise _RejectedError("is missing: Proxmox edits it in every Gentoo container", required)
    return 0.0, ""


def _openeuler(survey: Survey, values: dict[str, str]) -> _Result:
    result = _at_least("openEuler", 24)(survey, values)
    _require_release_line(survey)  # its network setup is CentOS's
    return result


_VERSIONS: dict[str, Callable[[Survey, dict[str, str]], _Result]] = {
    "centos": _centos,
    "debian": _debian,
    "devuan": _devuan,
    "fedora": _fedora,
    "gentoo": _gentoo,
    "openeuler": _openeuler,
    "opensuse": _opensuse,
    "ubuntu": _ubuntu,
}
"""alpine, archlinux, nixos and unmanaged are supported in any version."""

_MACHINES = {0x03: "i386", 0x28: "armhf", 0x3E: "amd64", 0xB7: "arm64", 0xF3: "riscv"}


def machine(survey: Survey) -> str:
    """Return the architecture as Proxmox names it, or "" if Proxmox would detect none and use amd64.

    Proxmox reads the ELF header of /bin/sh, or on NixOS of the interpreter of /sbin/init, resolved inside the container
    (PVE/LXC/Tools.pm, detect_elf_architecture).
    """
    shell = survey.executable(b"bin/sh")
    if shell is None and survey.type(b"nix/store") == DIR:
        init = survey.executable(b"sbin/init")
        match = re.match(rb"#! ?(\S+)", init.head) if init else None
        shell = survey.executable(match[1]) if match else None
    if shell is None or shell.head[:4] != b"\x7fELF":
        return ""
    # Proxmox reads bytes 17 and 18 as one number: the high byte of e_type, which is 0, and the low byte of e_machine.
    arch = _MACHINES.get(int.from_bytes(shell.head[17:19], "big"), "")
    return {1: "riscv32", 2: "riscv64"}.get(shell.head[4], "") if arch == "riscv" else arch
