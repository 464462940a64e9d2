"""Would Proxmox take this archive, and would it boot? Every reason why not, at once."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from lxcast.jobs.casting import what_starts
from lxcast.jobs.image import refused
from lxcast.model import IMAGE
from lxcast.progress import Progress
from lxcast.rootfs import checks
from lxcast.rootfs.checks.wrapping import is_proxmox_image
from lxcast.rootfs.distribution import detect, machine
from lxcast.rootfs.survey import Survey
from lxcast.sources import Members, Source, open_file, open_source
from lxcast.tar.form import Form


@dataclass(frozen=True, slots=True)
class Checked:
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
    path: Path,
    policy: str,
    allow: Mapping[str, str],
    arch: str,
    progress: Progress,
    *,
    platform: str = "",
    init: str = "",
) -> Checked:
    """Judge an archive as it stands, whoever wrote it, or what a build would read from a folder.

    Of an image that Proxmox itself unpacks, the archive and the root filesystem in it are judged. `platform` and `init`
    are as for a build. Raises UsageError for an unknown policy or check, and SourceError and its children for what
    cannot be read.
    """
    checks.require(policy, allow)

    def judge(survey: Survey, source: Source, format: str = "") -> list[checks.Finding]:
        starts = what_starts(init, source, format=format)
        return checks.judge(checks.Subject(survey, arch=arch, init=starts, process=source.config), policy, allow)

    if path.is_dir():
        source = open_source(str(path), platform)
        survey = _read(source, source.members, Form(), progress)
        return _checked(survey, judge(survey, source))
    archive = open_file(path)
    form = Form(file_name=path.name)
    survey = _read(archive, lambda: archive.members(form=form), form, progress)
    if not is_proxmox_image(survey):
        return _checked(survey, judge(survey, archive), form.compression)
    image = open_source(str(path), platform)
    form.refused = refused(path)
    outside = judge(survey, archive)
    survey = _read(image, image.members, Form(), progress)
    return _checked(survey, [*outside, *judge(survey, image, IMAGE)], form.compression, image=True)


def _read(
    source: Source, opened: Callable[[], AbstractContextManager[Members]], form: Form, progress: Progress
) -> Survey:
    """Return what is seen of the members."""
    survey = Survey(checks.reads(), checks.scan, checks.SCAN_ROOTS, form)
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


def _checked(survey: Survey, findings: list[checks.Finding], compression: str = "", *, image: bool = False) -> Checked:
    return Checked(
        findings,
        detect(survey).ostype,
        machine(survey),
        survey.members,
        survey.unpacked_size,
        compression,
        image,
    )
