"""The job of `lxcast check`: whether Proxmox would accept an archive, and whether it would boot."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxcast.errors import LxcastError, SourceError
from lxcast.jobs.convert import image_problems, resolve_init
from lxcast.model import IMAGE
from lxcast.progress import Progress
from lxcast.rootfs import checks
from lxcast.rootfs.checks.wrapping import is_proxmox_image
from lxcast.rootfs.distribution import LINKED_FILES, detect, machine
from lxcast.rootfs.globs import literal
from lxcast.rootfs.survey import Survey
from lxcast.settings import CheckOptions, SourceOptions
from lxcast.sources import Members, Source, open_for_check
from lxcast.storages.ledger import Ledger
from lxcast.tar.quirks import Quirks


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check; sizes are in bytes."""

    findings: list[checks.Finding] = field(default_factory=list)
    ostype: str = ""
    arch: str = ""
    members: int = 0
    unpacked_size: int = 0
    compression: str = ""
    image: bool = False
    """Whether it is an OCI image that Proxmox unpacks."""
    size: int = 0
    """Size of the file; 0 unless its digests were asked for, like the next two."""
    sha256: str = ""
    diff_id: str = ""


def check(
    source: str | Path,
    options: CheckOptions,
    progress: Progress,
    *,
    reading: SourceOptions | None = None,
    init: str = "",
    hashed: bool = False,
) -> CheckReport:
    """Check an archive of any origin as it is, or the content that a build would read from any other source.

    For an OCI image that Proxmox unpacks, both the archive and the root filesystem in it are checked. `reading` and
    `init` are as for a build; the default for `init` is the one in the record next to the archive. With
    `hashed` the report has size and digests of the file, which is then read once for all. Raises UsageError for an
    unknown policy or check, and SourceError and its children for a source that cannot be read.
    """
    checks.validate(options.policy, options.allow)

    def run_checks(survey: Survey, source: Source, format: str = "") -> list[checks.Finding]:
        starts = resolve_init(init, source, format=format)
        subject = checks.Subject(survey, arch=options.arch, init=starts, process=source.config, image=format == IMAGE)
        return checks.run_checks(subject, options.policy, options.allow)

    found = open_for_check(source, *((reading.platform, reading.sha256) if reading else ()))
    archive = found.file
    init = init or (_recorded_init(found.path) if found.path else "")
    if archive is None:
        content = found.open_content()
        survey = _read(content, content.members, Quirks(), progress)
        return _report(survey, run_checks(survey, content))
    archive.hashed = hashed
    quirks = Quirks(file_name=found.name)
    survey = _read(archive, lambda: archive.members(quirks=quirks), quirks, progress)
    digests: dict[str, Any] = (
        {"size": archive.read, "sha256": archive.sha256, "diff_id": archive.diff_id} if hashed else {}
    )
    if not is_proxmox_image(survey):
        return replace(_report(survey, run_checks(survey, archive), quirks.compression), **digests)
    if found.path is None or not archive.rereadable:
        raise SourceError(
            f"{archive.origin.reference} is an OCI image, which must be read twice", hint="save it to a file first"
        )
    image = found.open_content()
    quirks.refused = image_problems(found.path)
    outside = run_checks(survey, archive)
    survey = _read(image, image.members, Quirks(), progress)
    findings = [*outside, *run_checks(survey, image, IMAGE)]
    return replace(_report(survey, findings, quirks.compression, image=True), **digests)


def _recorded_init(path: Path) -> str:
    """Return "app" if the record next to a template says that Proxmox starts its program; otherwise ""."""
    try:
        record = Ledger(path.parent, "").read(path.name)
    except LxcastError:  # the archive itself can still be checked
        return ""
    return "app" if record and record.hints.get("init") == "app" else ""


def _read(
    source: Source, opened: Callable[[], AbstractContextManager[Members]], quirks: Quirks, progress: Progress
) -> Survey:
    """Return the survey of the members. A second reading gets the files that links lead to."""
    survey = _survey(source, opened, quirks, (), progress)
    if source.rereadable and (linked := survey.unread_texts(LINKED_FILES)):
        again = Quirks(file_name=quirks.file_name)
        with_links = _survey(source, opened, again, tuple(map(literal, linked)), progress)
        with_links.quirks = survey.quirks
        return with_links
    return survey


def _survey(
    source: Source,
    opened: Callable[[], AbstractContextManager[Members]],
    quirks: Quirks,
    linked: tuple[str, ...],
    progress: Progress,
) -> Survey:
    survey = Survey((*checks.reads(), *linked), checks.scan, checks.SCAN_ROOTS, quirks)
    reported = 0
    with progress.step(f"reading {source.origin.reference}"):
        progress.total(source.size)
        with opened() as members:
            for member in members:
                survey.see(member)
                if source.read != reported:
                    progress.advance(source.read - reported)
                    reported = source.read
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
