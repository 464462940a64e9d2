"""Would Proxmox take this archive, and would it boot? Every reason why not, at once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from lxcast.errors import SourceError
from lxcast.jobs.convert import image_problems, resolve_init
from lxcast.model import IMAGE
from lxcast.progress import Progress
from lxcast.rootfs import checks
from lxcast.rootfs.checks.wrapping import is_proxmox_image
from lxcast.rootfs.distribution import detect, machine
from lxcast.rootfs.survey import Survey
from lxcast.settings import CheckOptions, SourceOptions
from lxcast.sources import Members, Source, open_for_check
from lxcast.tar.quirks import Quirks


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in an archive; sizes are in bytes."""

    findings: list[checks.Finding] = field(default_factory=list)
    ostype: str = ""
    arch: str = ""
    members: int = 0
    unpacked_size: int = 0
    compression: str = ""
    image: bool = False
    """Whether it is an OCI image that Proxmox unpacks."""


def check(
    source: str | Path,
    options: CheckOptions,
    progress: Progress,
    *,
    reading: SourceOptions | None = None,
    init: str = "",
) -> CheckReport:
    """Judge an archive as it stands, whoever wrote it, or what a build would read from any other source.

    Of an image that Proxmox itself unpacks, the archive and the root filesystem in it are judged. `reading` and `init`
    are as for a build. Raises UsageError for an unknown policy or check, and SourceError and its children for what
    cannot be read.
    """
    checks.validate(options.policy, options.allow)

    def run_checks(survey: Survey, source: Source, format: str = "") -> list[checks.Finding]:
        starts = resolve_init(init, source, format=format)
        subject = checks.Subject(survey, arch=options.arch, init=starts, process=source.config)
        return checks.run_checks(subject, options.policy, options.allow)

    found = open_for_check(source, *((reading.platform, reading.sha256) if reading else ()))
    archive = found.file
    if archive is None:
        content = found.open_content()
        survey = _read(content, content.members, Quirks(), progress)
        return _report(survey, run_checks(survey, content))
    quirks = Quirks(file_name=found.name)
    survey = _read(archive, lambda: archive.members(quirks=quirks), quirks, progress)
    if not is_proxmox_image(survey):
        return _report(survey, run_checks(survey, archive), quirks.compression)
    if found.path is None or not archive.rereadable:
        raise SourceError(
            f"{archive.origin.reference}: is an OCI image, which is read twice", hint="save it to a file, and name that"
        )
    image = found.open_content()
    quirks.refused = image_problems(found.path)
    outside = run_checks(survey, archive)
    survey = _read(image, image.members, Quirks(), progress)
    return _report(survey, [*outside, *run_checks(survey, image, IMAGE)], quirks.compression, image=True)


def _read(
    source: Source, opened: Callable[[], AbstractContextManager[Members]], quirks: Quirks, progress: Progress
) -> Survey:
    """Return what is seen of the members."""
    survey = Survey(checks.reads(), checks.scan, checks.SCAN_ROOTS, quirks)
    told = 0
    with progress.step(f"reading {source.origin.reference}"):
        progress.total(source.size)
        with opened() as members:
            for member in members:
                survey.see(member)
                if source.read != told:
                    progress.advance(source.read - told)
                    told = source.read
    return survey


def _report(
    survey: Survey, findings: list[checks.Finding], compression: str = "", *, image: bool = False
) -> CheckReport:
    return CheckReport(
        findings,
        detect(survey).ostype,
        machine(survey),
        survey.members,
        survey.unpacked_size,
        compression,
        image,
    )
