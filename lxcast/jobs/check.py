"""Would Proxmox take this archive, and would it boot? Every reason why not, at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lxcast.progress import Progress
from lxcast.rootfs import checks
from lxcast.rootfs.distribution import detect, machine
from lxcast.rootfs.survey import Survey
from lxcast.sources import Source, open_file, open_source
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


def check(path: Path, policy: str, allow: Mapping[str, str], arch: str, progress: Progress) -> Checked:
    """Judge an archive as it stands, whoever wrote it, or what a build would read from a folder.

    Raises UsageError for an unknown policy or check, and SourceError and its children for what cannot be read.
    """
    checks.require(policy, allow)
    archive = None if path.is_dir() else open_file(path)
    source: Source = archive or open_source(str(path))
    form = Form(file_name=path.name if archive else "")
    survey = Survey(checks.reads(), checks.scan, checks.SCAN_ROOTS, form)
    told = 0

    with progress.step(f"reading {path}"):
        progress.total(source.size)
        with archive.members(form=form) if archive else source.members() as members:
            for member in members:
                survey.see(member)
                if source.read != told:
                    progress.advance(source.read - told)
                    told = source.read
    findings = checks.judge(checks.Subject(survey, arch=arch), policy, allow)
    return Checked(
        findings,
        detect(survey).ostype,
        machine(survey),
        survey.members,
        survey.unpacked_size,
        form.compression,
    )
