"""Checks of the programs that an init or Proxmox starts, and of the settings of an image's process."""

import re
from collections.abc import Iterator
from posixpath import basename, join

from lxcast.identifiers import SECRET_NAME
from lxcast.model import ImageConfig
from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.container import start_problem, systemd
from lxcast.rootfs.fits.units import READS as UNITS
from lxcast.rootfs.init import READS as INIT_READS
from lxcast.rootfs.init import environment_names, is_written, numbers, stop_signal
from lxcast.rootfs.survey import MAX_ID, Survey
from lxcast.tar.member import DIR

_INITTAB = b"etc/inittab"
_STARTED = frozenset({"sysinit", "boot", "bootwait", "wait", "respawn", "once", "askfirst", "initdefault"})
"""Actions of inittab that run at boot (inittab(5), BusyBox init.c)."""

_WANTED = re.compile(rb"(?:etc|(?:usr/)?lib)/systemd/system/[^/]+\.(?:wants|requires)/([^/]+\.service)")
_UNIT_DIRECTORIES = (b"etc/systemd/system/", b"usr/local/lib/systemd/system/", b"usr/lib/systemd/system/")
_EXEC = re.compile(r"^ExecStart[ \t]*=[ \t]*([@:+!|-]*)(\S+)", re.MULTILINE)
_CONDITION = re.compile(r"^(?:Condition|Assert)\w+[ \t]*=", re.MULTILINE)
_SCRIPT_LINK = re.compile(rb"etc/(?:runlevels/[^/]+/[^/]+|(?:rc\.d/)?rc[S2-5]\.d/S\d\d[^/]+)")

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_SECRET = re.compile(rf"\w*(?:{SECRET_NAME})\w*", re.IGNORECASE)


def _started(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if is_written(survey) or survey.executable(b"sbin/init") is None:
        return
    if systemd(survey) is not None:
        yield from _units(survey)
    else:
        yield from _inittab(survey)
        yield from _scripts(survey)


def _inittab(survey: Survey) -> Iterator[Finding]:
    """Report programs that inittab starts at boot and that cannot start, each once."""
    reported = set()
    for number, line in enumerate((survey.text(_INITTAB) or "").splitlines(), 1):
        fields = line.split(":", 3)
        if line.lstrip().startswith("#") or len(fields) < 4 or fields[2] not in _STARTED:
            continue
        words = fields[3].lstrip("-+ ").split()
        if not words or not words[0].startswith("/") or words[0] in reported:
            continue
        problem = start_problem(survey, words[0].encode("utf-8", "surrogateescape"))
        if problem:
            reported.add(words[0])
            package = basename(words[0])
            hint = f"install {package} in the image (Alpine: apk add {package}), or remove the line"
            yield Finding(f"line {number}: init starts {words[0]}, which {problem}", _INITTAB, hint=hint)


def _units(survey: Survey) -> Iterator[Finding]:
    """Report enabled services whose program cannot start."""
    links = {match[1]: path for path in survey.links if (match := _WANTED.fullmatch(path))}
    for name, link in sorted(links.items()):
        if survey.links.get(_UNIT_DIRECTORIES[0] + name) == b"/dev/null":
            continue
        target = survey.resolve(link)
        text = survey.text(target) if target is not None else None
        if not text or _CONDITION.search(text):
            continue
        for prefix, program in _EXEC.findall(text):
            if "-" in prefix or not program.startswith("/") or "%" in program or "$" in program:
                continue
            problem = start_problem(survey, program.encode("utf-8", "surrogateescape"))
            if problem:
                yield Finding(f"the enabled unit starts {program}, which {problem}", target or link, "warning")


def _scripts(survey: Survey) -> Iterator[Finding]:
    """Report enabled scripts of OpenRC and SysV init that cannot start."""
    for path in sorted(path for path in survey.links if _SCRIPT_LINK.fullmatch(path)):
        target = survey.links[path].decode("utf-8", "backslashreplace")
        problem = start_problem(survey, path)
        if problem:
            yield Finding(f"starts {target}, which {problem}", path, "warning")


def _process(subject: Subject) -> Iterator[Finding]:
    """Report settings with which the process of an image or bundle cannot start."""
    config, survey = subject.process, subject.survey
    if config is None or not config.process:
        return
    if subject.image:
        for volume in config.volumes:
            path = survey.resolve(volume.encode("utf-8", "surrogateescape"))
            if path is not None and survey.type(path) != DIR:
                yield Finding("is a volume of the image but not a directory: Proxmox cannot create it", path)
    if subject.starts_program:
        yield from _program(survey, config)
    starts_app = subject.image or subject.starts_program
    if not starts_app or subject.init != "app" or is_written(survey) or config.process[0] == "/sbin/init":
        return
    yield from _user(survey, config)
    if stop_signal(config.stop_signal) is None:
        yield Finding(f"unknown stop signal {config.stop_signal!r}: LXC rejects the container's configuration")
    if config.working_dir and not config.working_dir.startswith("/"):
        yield Finding(f"the working directory {config.working_dir!r} is not absolute")
    elif config.working_dir.strip("/") and not _is_mounted(config, config.working_dir):
        path = survey.resolve(config.working_dir.encode("utf-8", "surrogateescape"))
        if path is None or survey.type(path) != DIR:
            yield Finding(f"the working directory {config.working_dir} is missing: LXC cannot start the process")


def _program(survey: Survey, config: ImageConfig) -> Iterator[Finding]:
    name = config.process[0]
    if "/" in name:
        candidates = [join("/", config.working_dir, name)]
    else:
        paths = [each.partition("=")[2] for each in config.env if each.startswith("PATH=")]
        candidates = [join("/", directory, name) for directory in (paths or [_PATH])[-1].split(":")]
    if any(_is_mounted(config, path) for path in candidates):
        return
    problems = [start_problem(survey, path.encode("utf-8", "surrogateescape")) for path in candidates]
    if all(problems):
        problem = next((each for each in problems if each != "is missing"), "is missing")
        yield Finding(f"the program {name} of the image {problem}", level="warning")


def _is_mounted(config: ImageConfig, path: str) -> bool:
    return any(path == mount.destination or path.startswith(mount.destination + "/") for mount in config.mounts)


def _user(survey: Survey, config: ImageConfig) -> Iterator[Finding]:
    user, colon, group = config.user.partition(":")
    if config.user and (not user or (colon and not group) or ":" in group):
        yield Finding(f"invalid user {config.user!r}: expected USER or USER:GROUP")
        return
    try:
        uid, gid, _ = numbers(survey, config)
    except LookupError as error:
        yield Finding(str(error.args[0]))
        return
    if max(uid, gid) > MAX_ID:
        yield Finding(f"the user {config.user} has an id above {MAX_ID}, which an unprivileged container does not have")


def _secrets(subject: Subject) -> Iterator[Finding]:
    """Report secrets in the environment of an image, and in an init that contains that environment."""
    config, survey = subject.process, subject.survey
    if is_written(survey):
        path = survey.resolve(b"sbin/init") or b"sbin/init"
        for name in environment_names(survey):
            if _SECRET.fullmatch(name):
                yield Finding(f"the written init contains the value of the variable {name}", path)
    elif config is not None:
        for each in config.env:
            name, _, value = each.partition("=")
            if value and _SECRET.fullmatch(name):
                yield Finding(f"the environment of the image contains a value for {name}")


_REMEDY = "remove the variable from the image (ENV, process.env) and pass it when you create a container: --env in pct"

STARTED = (
    Check(
        id="started-programs",
        group="proxmox",
        heading="Missing programs that init starts",
        why=(
            "An init starts the programs in inittab, the enabled services of systemd, or the scripts of a runlevel. "
            "Alpine's image has an inittab that starts /sbin/openrc, but does not contain openrc: such a container "
            "starts without services and network. Services with conditions are not checked."
        ),
        find=_started,
        hint="install the package with the program in the image, or disable the service",
        reads=(*INIT_READS, *UNITS, "etc/inittab"),
    ),
    Check(
        id="process",
        group="proxmox",
        heading="Process that cannot start",
        why=(
            "Proxmox copies user, working directory, stop signal and volumes of an OCI image into the container's "
            "configuration and does not check them (PVE/LXC/Create.pm, restore_oci_archive). LXC then refuses to "
            "start: for a missing program or working directory, an id above 65535 or an unknown signal. An unknown "
            "user runs as root, and a volume at the path of a file stops the creation."
        ),
        find=_process,
        hint="correct USER, WORKDIR, STOPSIGNAL, VOLUME or CMD of the image, or process of the bundle",
        reads=INIT_READS,
    ),
    Check(
        id="environment-secrets",
        group="secrets",
        heading="No secrets in the environment",
        why=(
            "Variables of an image with names such as TOKEN or PASSWORD contain secrets. lxcast masks them in the "
            "record, but the init of --init auto contains them, and everyone who can read the image or the template "
            "can read them."
        ),
        find=_secrets,
        hint=_REMEDY,
        reads=INIT_READS,
    ),
)
