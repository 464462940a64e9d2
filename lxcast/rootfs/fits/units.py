"""systemd units: what the image enabled stays enabled, what it disabled stays disabled.

Proxmox removes /etc/machine-id at create, so systemd takes the next start for the first boot and applies presets
(machine-id(5), systemd.preset(5)): Debian's enable whatever no preset names, Fedora's and its kin's also disable. A
preset file that names every unit keeps the state. Presets for user units are not applied at boot: they need none.
"""

import re
from dataclasses import dataclass
from posixpath import basename

from lxcast.rootfs.distribution import os_release
from lxcast.rootfs.fit import Fit, Fitting

PRESET = b"etc/systemd/system-preset/01-lxcast.preset"
"""The first file that names a unit decides, in the order of names: after Proxmox's 00-pve, before any other."""

_FOLDERS = (
    b"etc/systemd/system/",
    b"usr/local/lib/systemd/system/",
    b"usr/lib/systemd/system/",
    b"lib/systemd/system/",
)
_TYPES = "service,socket,target,timer,path,mount,automount,swap,slice"
READS = tuple(f"{folder.decode()}*.{{{_TYPES}}}" for folder in _FOLDERS)
_NAME = r"[A-Za-z0-9:_.\\@-]+"  # systemd reads no unit of another name (basic/unit-name.c, VALID_CHARS)
_UNIT = re.compile(rf"{_NAME}\.(?:{_TYPES.replace(',', '|')})".encode())
_WANTS = re.compile(rf"{_NAME}\.(?:wants|requires|upholds)/({_NAME})".encode())

_ENABLE_ONLY = frozenset({"debian", "ubuntu"})


@dataclass(frozen=True, slots=True)
class Install:
    """The [Install] section of a unit, as far as it matters here."""

    also: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()
    default_instance: str = ""
    wanted: bool = False
    """Whether it has WantedBy, RequiredBy or UpheldBy."""

    @property
    def empty(self) -> bool:
        """Whether enabling the unit would do nothing."""
        return not (self.also or self.alias or self.wanted)


def install_section(text: str) -> Install:
    """Read [Install] of a unit file (systemd.syntax(7)): lists add up, an empty value clears, backslashes go on."""
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
    """Say whether systemd is installed as an init."""
    return bool(fitting.resolve(b"usr/lib/systemd/systemd") or fitting.resolve(b"lib/systemd/systemd"))


def enabled(fitting: Fitting) -> set[bytes]:
    """Return the names of the units that links below /etc enable: aliases and instances (getty@tty1.service) too."""
    names = set()
    for path, target in fitting.links().items():
        if not path.startswith(_FOLDERS[0]) or target == b"/dev/null":
            continue
        rest, unit = path[len(_FOLDERS[0]) :], basename(target)
        wants = _WANTS.fullmatch(rest)
        if wants:
            names.add(wants[1])
            # sshd.service leading to ssh.service enables that; a link to a template enables one instance alone.
            names.update(() if b"@." in unit else (unit,))
        elif _UNIT.fullmatch(rest) and unit != rest:
            names.add(rest)
    return names


def units(fitting: Fitting) -> dict[bytes, Install]:
    """Return the units that can be enabled; masked ones, aliases, and those that only others pull in are left out."""
    found: dict[bytes, Install | None] = {}
    links = fitting.links()
    for folder in _FOLDERS:
        here = (path for path in (*fitting.files(READS), *links) if path.startswith(folder))
        for path in here:
            name = path[len(folder) :]
            if _UNIT.fullmatch(name) and name not in found:
                found[name] = _install(fitting, path, links.get(path))
    return {name: install for name, install in found.items() if install and not install.empty}


def _install(fitting: Fitting, path: bytes, target: bytes | None) -> Install | None:
    """Return what can be enabled of the unit at `path`, a link where `target` is given; None: masked, or an alias."""
    if target is not None and (target == b"/dev/null" or basename(target) != basename(path)):
        return None
    text = fitting.text(path)
    if text is None:
        return Install(wanted=True)  # linked from elsewhere (`systemctl link`), so not among READS
    return install_section(text) if text else None


def preset(units: dict[bytes, Install], on: set[bytes], *, enable_only: bool) -> tuple[str, list[str]]:
    """Return the lines of a preset file that keeps the state `on`, and a sentence for each unit that it cannot keep.

    `Also=` is the trouble: enabling a unit enables others, whatever their own line says. Where a first boot only
    enables (`enable_only`), a "disable" line is without effect on a unit that is enabled, and spares the others.
    """
    states = {name: _state(name, install, on) for name, install in units.items()}
    disabled = {name for name, state in states.items() if state is None}
    lines, notes = [], []
    for name in sorted(states):
        state = states[name]
        dragged = sorted(_also(name, units) & disabled) if state is not None else []
        if dragged and not enable_only:
            names = ", ".join(map(bytes.decode, dragged))
            notes.append(f"a first boot enables {names}, for {name.decode()} says so in Also=: mask what must stay off")
        verb = b"disable" if state is None or (dragged and enable_only) else b"enable"
        lines.append(b" ".join((verb, name, *(state or () if verb == b"enable" else ()))).decode())
    return "".join(line + "\n" for line in sorted(lines, key=lambda line: (line.startswith("disable"), line))), notes


def _state(name: bytes, install: Install, on: set[bytes]) -> tuple[bytes, ...] | None:
    """Return None for a unit that is not enabled, else the instances to name (of a template; none for its default)."""
    if b"@." in name:
        prefix, _, type = name.partition(b"@.")
        instance = re.compile(re.escape(prefix) + b"@(.+)[.]" + re.escape(type))
        instances = tuple(sorted(match[1] for match in map(instance.fullmatch, on) if match))
        if instances:
            # Named only where it is needed: systemd before 242 knows no instances in presets.
            return () if instances == (install.default_instance.encode(),) else instances
    if name in on or any(alias.encode() in on for alias in install.alias):
        return ()
    if not (install.wanted or install.alias) and all(also.encode() in on for also in install.also):
        return ()
    return None


def _also(name: bytes, units: dict[bytes, Install]) -> set[bytes]:
    """Return the units that enabling `name` enables as well."""
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
    # Debian builds systemd without first-boot-full-preset; elsewhere that cannot be known.
    enable_only = bool(_ENABLE_ONLY & {values.get("ID", ""), *values.get("ID_LIKE", "").split()})
    lines, notes = preset(units(fitting), enabled(fitting), enable_only=enable_only)
    fitting.write(PRESET, _HEADER + lines, f"named {lines.count(chr(10))} units in /{PRESET.decode()}")
    for note in notes:
        fitting.note(note)


FITS = (
    Fit(
        "units",
        True,
        "a preset that keeps each systemd unit enabled or disabled",
        "Proxmox removes the machine-id at create; systemd then applies presets at the first start, which enable on"
        " Debian what the image disabled, and disable on Fedora and its kin what it enabled.",
        _units,
        holds=(PRESET.decode(),),
        reads=(*READS, "etc/os-release", "usr/lib/os-release"),
    ),
)
