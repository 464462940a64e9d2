"""Checks that a container starts: an init that can be executed, on the right kind of processor."""

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
"""What the kernel takes for it (binfmt_script.c): a carriage return is a part of the name."""

OLDEST_SYSTEMD = 232
"""The first systemd that runs on the unified cgroup hierarchy alone, which is all that Proxmox VE 9 has."""


def _init(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.type(b"sbin") is None and subject.init == "none":
        return
    found = survey.resolve(INIT)
    if found is None:
        link = _link(survey, INIT)
        target = (link or b"").decode("utf-8", "backslashreplace")
        yield _no_init(subject, "is missing" if link is None else f"is a link to {target}, which leads nowhere")
        return
    yield from _not_the_process(subject, found)
    where = "" if found == INIT else f"leads to {printable(found)}, which "
    if survey.type(found) not in (REG, LNK):
        yield Finding(f"{where}is a {'folder' if survey.type(found) == DIR else 'special file'}", INIT)
        return
    program = survey.executable(INIT)
    if program is None:
        yield Finding(f"{where}is not executable", INIT, hint=f"chmod 0755 {printable(found)} in the image")
    elif program.head.startswith(b"#!"):
        interpreter = _INTERPRETER.match(program.head)[1]  # type: ignore[index] # it matches anything that begins so
        if systemd(survey) is not None:
            yield Finding(f"{where}is called systemd and is a script", INIT, hint=_OBJDUMP)
        elif not interpreter or survey.executable(interpreter) is None:
            name = interpreter.decode("utf-8", "backslashreplace")
            hint = "write the script with line feeds alone, as Unix does" if name.endswith("\r") else ""
            yield Finding(f"{where}is a script for {name!r}, which is missing or not executable", INIT, hint=hint)
    elif not program.head.startswith(b"\x7fELF"):
        hint = _OBJDUMP if systemd(survey) is not None else ""
        yield Finding(f"{where}is neither an ELF program nor a script", INIT, hint=hint)


def _not_the_process(subject: Subject, init: bytes) -> Iterator[Finding]:
    """Tell that an init is there where the process of the image was to be started."""
    process = subject.process.process if subject.process else ()
    if subject.init == "none" or not process or is_written(subject.survey):
        return
    if init not in (subject.survey.resolve(process[0].encode("utf-8", "replace")), process[0].encode()):
        yield Finding(f"is there and stays: it is what starts, and not {process[0]}", INIT, "warning", _STAYS)


def _no_init(subject: Subject, message: str) -> Finding:
    """Return what follows from it for the way in which the container is to start."""
    process = subject.process.process if subject.process else ()
    if subject.init == "none":
        return Finding(message, INIT)
    if subject.init == "app":
        if what := next(_untold(subject.process or ImageConfig()), ""):
            return Finding(f"{message}, and {what} cannot be told to Proxmox", INIT, hint=_UNTOLD)
        what = process[0] if process else "what its entrypoint names"
        return Finding(f"{message}: Proxmox VE 9.1 or later must start {what}", INIT, "warning", _ENTRYPOINT)
    if not process or subject.process is None:
        return Finding(f"{message}, and nobody names a process that could be started instead", INIT, hint=_NONE_NAMED)
    _, problems = write_init(subject.survey, subject.process, dhcp=subject.dhcp)
    if problems:
        return Finding(f"{message}, and none can be written: {'; '.join(problems)}", INIT, hint=_NONE_WRITTEN)
    return Finding(f"{message}: a build writes one that starts {process[0]}", INIT, "warning", "`lxcast build` does it")


def _untold(config: ImageConfig) -> Iterator[str]:
    """Yield what of a process a container's configuration, which holds a line for each, has no way to say."""
    if quote_command(config.process) is None:
        yield "the command line"
    yield from (f"the variable {each.partition('=')[0]}" for each in config.env if not each.isprintable())
    if not config.working_dir.isprintable():
        yield "the working directory"
    if not config.stop_signal.isprintable():
        yield "the stop signal"


_STAYS = "make the program a service of it; or take it out of the image, and --init starts the program"
_ENTRYPOINT = "create containers with --entrypoint; the record's hints say what the image names"
_UNTOLD = "its entrypoint and env know no escapes: --init auto hands everything on"
_NONE_WRITTEN = "put into the image what is missing, or leave it to Proxmox VE 9.1 and later: --init app"
_NONE_NAMED = (
    "install an init system in the image, such as systemd-sysv or openrc; or name a process: by ENTRYPOINT or CMD of "
    "an image, or process.args of a runtime bundle"
)
_OBJDUMP = "Proxmox runs objdump on an init called systemd, and the create fails where that fails: call it otherwise"


def _link(survey: Survey, path: bytes) -> bytes | None:
    """Return the text of the link at `path`, links above it followed; None where there is none."""
    folder, _, name = path.rpartition(b"/")
    above = survey.resolve(folder)
    return None if above is None else survey.links.get(above + b"/" + name)


def _shell(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.resolve(b"bin/sh") is None and not machine(survey):
        message = "is missing: Proxmox finds the architecture there, and scripts need it"
        yield Finding(message, b"bin/sh", "warning")


def _architecture(subject: Subject) -> Iterator[Finding]:
    survey, asked = subject.survey, subject.arch
    found = machine(survey)
    if found and asked and found != asked:
        yield Finding(f"the programs are for {found}, and {asked} was asked for")
        return
    if not found and survey.resolve(b"bin/sh") is not None:
        head = getattr(survey.executable(b"bin/sh"), "head", b"")
        if head[:4] == b"\x7fELF":
            message = (
                f"is for a processor that Proxmox does not know (ELF machine {int.from_bytes(head[18:20], 'little')})"
            )
        else:
            message = "is no ELF program: Proxmox finds no architecture and takes amd64"
        yield Finding(message, b"bin/sh", "warning")
    if not subject.managed and found not in ("", "amd64"):
        message = f"Proxmox makes an unmanaged container an amd64 one, and the programs are for {found}"
        yield Finding(message, level="warning", hint=f"create the container with `--arch {found}`")


def _old_systemd(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    path = systemd(survey)
    if path is None:
        return
    version = systemd_version(survey)
    if version < OLDEST_SYSTEMD:
        found = f"systemd {version}" if version else "a systemd from before 230 (it has no libsystemd-shared)"
        yield Finding(f"is {found}, older than {OLDEST_SYSTEMD}", path, "warning")


BOOT = (
    Check(
        id="init",
        group="proxmox",
        heading="No init, or one that cannot be started",
        why=(
            "LXC starts /sbin/init unless the container has another entrypoint; the create never looks at it, so the "
            "container is made and does not start: 'Failed to exec \"/sbin/init\"'."
        ),
        find=_init,
        hint=(
            "install an init system in the image, such as systemd-sysv or openrc; or start the image's own process: by "
            "an init that is written (--init auto), or by Proxmox VE 9.1 and later (--init app)"
        ),
        reads=INIT_READS,
    ),
    Check(
        id="no-shell",
        group="proxmox",
        heading="No /bin/sh",
        why="Proxmox reads the architecture from the ELF header of /bin/sh; without it the container becomes amd64.",
        find=_shell,
        hint="install a shell; or create the container with `--arch`",
    ),
    Check(
        id="architecture",
        group="proxmox",
        heading="Programs for another architecture",
        why=(
            "Proxmox knows i386, amd64, armhf, arm64, riscv32 and riscv64 by the ELF header of /bin/sh "
            "(PVE/LXC/Tools.pm); where it finds none of them, and for every unmanaged container, it takes amd64."
        ),
        find=_architecture,
        hint="build the image for the node's processor (`docker build --platform`), or ask for the architecture it has",
        reads=READS,
    ),
    Check(
        id="old-systemd",
        group="proxmox",
        heading="systemd older than 232",
        why=(
            "Earlier versions need the old cgroup hierarchies, which Proxmox VE 9 no longer has: it warns at each "
            "start, and the container hangs (PVE/LXC/Setup/Base.pm, unified_cgroupv2_support)."
        ),
        find=_old_systemd,
        hint="use a newer release of the distribution",
    ),
)
