"""What came of a build or a check, as people read it."""

from typing import TYPE_CHECKING

from lxcast.cli.console import columns
from lxcast.progress import amount

if TYPE_CHECKING:
    from lxcast.jobs.build import Built
    from lxcast.rootfs.checks import Finding


def build_report(built: "Built", *, published: bool = True) -> str:
    """Return what was left out, changed and allowed, and what came of it."""
    lines = []
    cleanup = {row: each for row, each in built.cleanup.items() if each["members"]}
    if cleanup:
        members, size = (sum(each[key] for each in cleanup.values()) for key in ("members", "bytes"))
        lines.append(f"left out or emptied: {members} members, {amount(size)}")
        lines.append(
            columns([(f"  {row}", f"{each['members']}", amount(each["bytes"])) for row, each in cleanup.items()])
        )
    if sentences := [(f"  {row}", sentence) for row, sentences in built.fit.items() for sentence in sentences]:
        lines += ["fitted to Proxmox:", columns(sentences)]
    lines += [finding_text(finding) for finding in built.findings if finding.allowed]
    record = built.record
    content = f"{record.members} members, {amount(record.unpacked_size)}"
    if not published:
        lines.append(f"dry run, nothing is kept: {content} unpacked")
    elif built.reused:
        lines.append(
            f"{built.volid} was made of the same {record.source.kind} {record.source.digest} by the same settings: "
            "nothing was converted (--no-reuse converts it again)"
        )
    elif built.unchanged:
        lines.append(f"{built.volid} has this content already: nothing was published")
    else:
        lines.append(f"{built.volid}: {content} in {amount(record.size)}")
    return "\n".join(lines)


def finding_text(finding: "Finding") -> str:
    """Return a finding with its level."""
    return f"{'allowed' if finding.allowed else finding.level:7}  {finding.text}"
