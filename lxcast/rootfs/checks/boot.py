"""Checks that a container starts: an executable init for the right architecture."""

import re
from collections.abc import Iterator

from lxcast.identifiers import quote_command
from lxcast.model import ImageConfig
from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.container import systemd, systemd_version
from lxcast.rootfs.distribution import READS, machine
from lxcast.rootfs.init import READS as INIT_READS
from lxcast.rootfs.init import is_written, write_init
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, printable

INIT = b"sbin/init"

_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n\0]*)")
"""The interpreter as the kernel parses it (binfmt_script.c): a carriage return is part of the name."""

OLDEST_SYSTEMD = 232
"""The first systemd version that runs with the unified cgroup hierarchy only, the only one in Proxmox VE 9."""


def _init(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.type(b"sbin") is None and subject.init == "none":
        return
    found = survey.resolve(INIT)
    if found is None:
        link = _link(survey, INIT)
        target = (link or b"").decode("utf-8", "backslashreplace")
        yield _no_init(subject, "is missing" if link is None else f"is a dangling link to {target}")
        return
    yield from _existing_init(subject, found)
    where = "" if found == INIT else f"resolves to {printable(found)}, which "
    if survey.type(found) not in (REG, LNK):
        yield Finding(f"{where}is a {'directory' if survey.type(found) == DIR else 'special file'}", INIT)
        return
    program = survey.executable(INIT)
    if program is None:
        yield Finding(f"{where}is not executable", INIT, hint=f"chmod 0755 {printable(found)} in the image")
    elif program.head.startswith(b"#!"):
        interpreter = _INTERPRETER.match(program.head)[1]  # type: ignore[index] # it matches every such head
        if systemd(survey) is not None:
            yield Finding(f"{where}is named systemd but is a script", INIT, hint=_OBJDUMP)
        elif not interpreter or survey.executable(interpreter) is None:
            name = interpreter.decode("utf-8", "backslashreplace")
            hint = "save the script with Unix line endings" if name.endswith("\r") else ""
            message = f"{where}is a script for the interpreter {name!r}, which is missing or not executable"
            yield Finding(message, INIT, hint=hint)
    elif not program.head.startswith(b"\x7fELF"):
        hint = _OBJDUMP if systemd(survey) is not None else ""
        yield Finding(f"{where}is neither an ELF program nor a script", INIT, hint=hint)


def _existing_init(subject: Subject, init: bytes) -> Iterator[Finding]:
    """Report an existing init that starts instead of the requested process of the image."""
    process = subject.process.process if subject.process else ()
    if subject.init == "none" or not process or is_written(subject.survey):
        return
    if init not in (subject.survey.resolve(process[0].encode("utf-8", "replace")), process[0].encode()):
        yield Finding(f"already exists and starts instead of {process[0]}", INIT, "warning", _EXISTING)


def _no_init(subject: Subject, message: str) -> Finding:
    """Return the finding for a missing init, which depends on how the container is to start."""
    process = subject.process.process if subject.process else ()
    if subject.init == "none":
        return Finding(message, INIT, hint=subject.init_hint)
    if subject.init == "app":
        if what := next(_inexpressible(subject.process or ImageConfig()), ""):
            return Finding(f"{message}, and Proxmox's entrypoint cannot express {what}", INIT, hint=_INEXPRESSIBLE)
        what = process[0] if process else "the program of its entrypoint"
        return Finding(f"{message}: Proxmox VE 9.1 or later must start {what}", INIT, "warning", _ENTRYPOINT)
    if not process or subject.process is None:
        return Finding(f"{message}, and the source names no command to start instead", INIT, hint=_NO_COMMAND)
    _, problems = write_init(subject.survey, subject.process, dhcp=subject.dhcp)
    if problems:
        return Finding(f"{message} and cannot be written: {'; '.join(problems)}", INIT, hint=_NOT_WRITABLE)
    return Finding(f"{message}: `lxcast build` writes one that starts {process[0]}", INIT, "warning", _BUILD)


def _inexpressible(config: ImageConfig) -> Iterator[str]:
    """Yield the parts of a process that a container's configuration, which has one line for each, cannot express."""
    if quote_command(config.process) is None:
        yield "the command line"
    yield from (f"the variable {each.partition('=')[0]}" for each in config.env if not each.isprintable())
    if not config.working_dir.isprintable():
        yield "the working directory"
    if not config.stop_signal.isprintable():
        yield "the stop signal"


_EXISTING = "run the program as a service of the init, or remove the init from the image so that --init applies"
_ENTRYPOINT = "create containers with --entrypoint; the hints in the record contain the image's command"
_INEXPRESSIBLE = "use --init auto: entrypoint and env of Proxmox support no escapes"
_NOT_WRITABLE = "add the missing programs to the image, or use --init app (Proxmox VE 9.1 and later)"
_BUILD = "run `lxcast build` on this source"
_NO_COMMAND = (
    "install an init system in the image, such as systemd-sysv or openrc; or set a command: ENTRYPOINT or CMD of an "
    "image, process.args of a runtime bundle"
)
_OBJDUMP = "rename it: Proxmox runs objdump on an init named systemd, and container creation fails if objdump fails"


def _link(survey: Survey, path: bytes) -> bytes | None:
    """Return the target of the link at `path`, whose parents are resolved; None if there is no link."""
    parent, _, name = path.rpartition(b"/")
    resolved = survey.resolve(parent)
    return None if resolved is None else survey.links.get(resolved + b"/" + name)


def _shell(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.resolve(b"bin/sh") is None and not machine(survey):
        message = "is missing: Proxmox reads the architecture from it, and scripts need it"
        yield Finding(message, b"bin/sh", "warning")


def _architecture(subject: Subject) -> Iterator[Finding]:
    survey, asked = subject.survey, subject.arch
    found = machine(survey)
    if found and asked and found != asked:
        yield Finding(f"the programs are for another architecture: expected {asked}, got {found}")
        return
    if not found and survey.resolve(b"bin/sh") is not None:
        head = getattr(survey.executable(b"bin/sh"), "head", b"")
        if head[:4] == b"\x7fELF":
            message = (
                "is for an architecture that Proxmox does not support "
                f"(ELF machine {int.from_bytes(head[18:20], 'little')})"
            )
        else:
            message = "is not an ELF program: Proxmox detects no architecture and uses amd64"
        yield Finding(message, b"bin/sh", "warning")
    if not subject.managed and found not in ("", "amd64"):
        message = f"Proxmox uses amd64 for an unmanaged container, but the programs are for {found}"
        yield Finding(message, level="warning", hint=f"create containers with `--arch {found}`")


def _old_systemd(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    path = systemd(survey)
    if path is None:
        return
    version = systemd_version(survey)
    if version < OLDEST_SYSTEMD:
        found = f"systemd {version}" if version else "a systemd older than 230 (it has no libsystemd-shared)"
        yield Finding(f"is {found}; Proxmox VE 9 requires {OLDEST_SYSTEMD} or later", path, "warning")


BOOT = (
    Check(
        id="init",
        group="proxmox",
        heading="Missing or unusable init",
        why=(
            "LXC starts /sbin/init unless the container has another entrypoint. Container creation does not check it, "
            "so the container is created but fails to start: 'Failed to exec \"/sbin/init\"'."
        ),
        find=_init,
        hint=(
            "install an init system in the image, such as systemd-sysv or openrc; or start the command of the image: "
            "--init auto writes an init, --init app leaves it to Proxmox VE 9.1 and later"
        ),
        reads=INIT_READS,
    ),
    Check(
        id="no-shell",
        group="proxmox",
        heading="No /bin/sh",
        why="Proxmox reads the architecture from the ELF header of /bin/sh. Without it, Proxmox uses amd64.",
        find=_shell,
        hint="install a shell, or create containers with `--arch`",
    ),
    Check(
        id="architecture",
        group="proxmox",
        heading="Programs for another architecture",
        why=(
            "Proxmox detects i386, amd64, armhf, arm64, riscv32 and riscv64 from the ELF header of /bin/sh "
            "(PVE/LXC/Tools.pm). It uses amd64 if it detects none of them, and for every unmanaged container."
        ),
        find=_architecture,
        hint="build the image for the architecture of the node (`docker build --platform`), or change --arch",
        reads=READS,
    ),
    Check(
        id="old-systemd",
        group="proxmox",
        heading="systemd older than 232",
        why=(
            "Older versions need the legacy cgroup hierarchies, which Proxmox VE 9 no longer provides. Proxmox warns "
            "at each start, and the container hangs (PVE/LXC/Setup/Base.pm, unified_cgroupv2_support)."
        ),
        find=_old_systemd,
        hint="use a newer release of the distribution",
    ),
)
