"""systemd units: enabled units stay enabled, and disabled units stay disabled.

Proxmox removes /etc/machine-id when it creates a container, so systemd treats the next start as the first boot and
applies presets (machine-id(5), systemd.preset(5)). On Debian presets enable every unit that no preset names; on Fedora
and its derivatives they also disable units. A preset file that names every unit keeps the state. Presets for user units
are not applied at boot, so user units need none.
"""

import re
from dataclasses import dataclass
from posixpath import basename

from lxcast.rootfs.distribution import os_release
from lxcast.rootfs.fit import Fit, Fitting

PRESET = b"etc/systemd/system-preset/01-lxcast.preset"
"""In name order the first file that names a unit decides: this one comes after Proxmox's 00-pve, before all others."""

_DIRECTORIES = (
    b"etc/systemd/system/",
    b"usr/local/lib/systemd/system/",
    b"usr/lib/systemd/system/",
    b"lib/systemd/system/",
)
_TYPES = "service,socket,target,timer,path,mount,automount,swap,slice"
READS = tuple(f"{parent.decode()}*.{{{_TYPES}}}" for parent in _DIRECTORIES)
_NAME = r"[A-Za-z0-9:_.\\@-]+"  # the characters that systemd accepts in unit names (basic/unit-name.c, VALID_CHARS)
_UNIT = re.compile(rf"{_NAME}\.(?:{_TYPES.replace(',', '|')})".encode())
_WANTS = re.compile(rf"{_NAME}\.(?:wants|requires|upholds)/({_NAME})".encode())

_ENABLE_ONLY = frozenset({"debian", "ubuntu"})


@dataclass(frozen=True, slots=True)
class Install:
    """The settings of a unit's [Install] section that decide how it is enabled."""

    also: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()
    default_instance: str = ""
    wanted: bool = False
    """Whether it has WantedBy, RequiredBy or UpheldBy."""

    @property
    def empty(self) -> bool:
        """Whether enabling the unit has no effect."""
        return not (self.also or self.alias or self.wanted)


def install_section(text: str) -> Install:
    """Parse [Install] of a unit file (systemd.syntax(7)).

    Repeated keys extend a list, an empty value clears it, and a backslash continues a line.
    """
    lists: dict[str, list[str]] = {}
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Install]" and line[:1] not in ("#", ";") and "=" in line:
            key, _, value = line.partition("=")
            words = value.split()
            lists[key.strip()] = lists.get(key.strip(), []) + words if words else []
    return Install(
        also=tuple(lists.get("Also", ())),
        alias=tuple(lists.get("Alias", ())),
        default_instance="".join(lists.get("DefaultInstance", ())[-1:]),
        wanted=any(lists.get(key) for key in ("WantedBy", "RequiredBy", "UpheldBy")),
    )


def systemd(fitting: Fitting) -> bool:
    """Return whether systemd is installed as an init."""
    return bool(fitting.resolve(b"usr/lib/systemd/systemd") or fitting.resolve(b"lib/systemd/systemd"))


def enabled(fitting: Fitting) -> set[bytes]:
    """Return the names of units enabled by links below /etc, including aliases and instances (getty@tty1.service)."""
    names = set()
    for path, target in fitting.links().items():
        if not path.startswith(_DIRECTORIES[0]) or target == b"/dev/null":
            continue
        rest, unit = path[len(_DIRECTORIES[0]) :], basename(target)
        wants = _WANTS.fullmatch(rest)
        if wants:
            names.add(wants[1])
            # sshd.service -> ssh.service enables ssh.service too; a link to a template enables only that instance.
            names.update(() if b"@." in unit else (unit,))
        elif _UNIT.fullmatch(rest) and unit != rest:
            names.add(rest)
    return names


def units(fitting: Fitting) -> dict[bytes, Install]:
    """Return the units that can be enabled, without masked units, aliases and units without [Install] settings."""
    found: dict[bytes, Install | None] = {}
    links = fitting.links()
    for parent in _DIRECTORIES:
        for path in (path for path in (*fitting.files(READS), *links) if path.startswith(parent)):
            name = path[len(parent) :]
            if _UNIT.fullmatch(name) and name not in found:
                found[name] = _install(fitting, path, links.get(path))
    return {name: install for name, install in found.items() if install and not install.empty}


def _install(fitting: Fitting, path: bytes, target: bytes | None) -> Install | None:
    """Return the [Install] settings of the unit at `path`, a link if `target` is set; None if masked or an alias."""
    if target is not None and (target == b"/dev/null" or basename(target) != basename(path)):
        return None
    text = fitting.text(path)
    if text is None:
        return Install(wanted=True)  # the file is outside the unit directories (`systemctl link`), so not in READS
    return install_section(text) if text else None


def preset(units: dict[bytes, Install], on: set[bytes], *, enable_only: bool) -> tuple[str, list[str]]:
    """Return the lines of a preset file that keeps the state `on`, and a note for each unit whose state it cannot keep.

    `Also=` is the difficulty: enabling a unit enables other units, whatever their preset line says. If a first boot
    only enables units (`enable_only`), a "disable" line has no effect on an enabled unit and protects the others.
    """
    states = {name: _state(name, install, on) for name, install in units.items()}
    disabled = {name for name, state in states.items() if state is None}
    lines, notes = [], []
    for name in sorted(states):
        state = states[name]
        dragged = sorted(_also(name, units) & disabled) if state is not None else []
        if dragged and not enable_only:
            names = ", ".join(map(bytes.decode, dragged))
            notes.append(f"the first boot enables {names} because of Also= in {name.decode()}; mask units to keep off")
        verb = b"disable" if state is None or (dragged and enable_only) else b"enable"
        lines.append(b" ".join((verb, name, *(state or () if verb == b"enable" else ()))).decode())
    return "".join(line + "\n" for line in sorted(lines, key=lambda line: (line.startswith("disable"), line))), notes


def _state(name: bytes, install: Install, on: set[bytes]) -> tuple[bytes, ...] | None:
    """Return None for a disabled unit; otherwise the instances to list, which is empty unless it is a template."""
    if b"@." in name:
        prefix, _, type = name.partition(b"@.")
        instance = re.compile(re.escape(prefix) + b"@(.+)[.]" + re.escape(type))
        instances = tuple(sorted(match[1] for match in map(instance.fullmatch, on) if match))
        if instances:
            # Listed only if necessary: systemd before 242 does not support instances in presets.
            return () if instances == (install.default_instance.encode(),) else instances
    if name in on or any(alias.encode() in on for alias in install.alias):
        return ()
    if not (install.wanted or install.alias) and all(also.encode() in on for also in install.also):
        return ()
    return None


def _also(name: bytes, units: dict[bytes, Install]) -> set[bytes]:
    """Return the units that are enabled together with `name`."""
    found: set[bytes] = set()
    left = [name]
    while left:
        for also in units.get(left.pop(), Install()).also:
            if also.encode() not in found:
                found.add(also.encode())
                left.append(also.encode())
    return found - {name}


_HEADER = """\
# The state of the units in this template, made by lxcast. A container starts without a machine-id, which makes it a
# first boot for systemd, and that applies presets.
"""


def _units(fitting: Fitting) -> None:
    if not systemd(fitting):
        return
    values = os_release(fitting.text(b"etc/os-release") or fitting.text(b"usr/lib/os-release") or "")
    # Debian builds systemd without first-boot-full-preset. For other distributions the build option is unknown.
    enable_only = bool(_ENABLE_ONLY & {values.get("ID", ""), *values.get("ID_LIKE", "").split()})
    lines, notes = preset(units(fitting), enabled(fitting), enable_only=enable_only)
    fitting.write(PRESET, _HEADER + lines, f"listed {lines.count(chr(10))} units in /{PRESET.decode()}")
    for note in notes:
        fitting.note(note)


FITS = (
    Fit(
        "units",
        True,
        "write a preset that keeps each systemd unit enabled or disabled",
        "Proxmox removes the machine-id when it creates a container, so systemd applies presets at the first start. On"
        " Debian they enable units that the image disabled; on Fedora and its derivatives they disable units that the"
        " image enabled.",
        _units,
        holds=(PRESET.decode(),),
        reads=(*READS, "etc/os-release", "usr/lib/os-release"),
    ),
)
