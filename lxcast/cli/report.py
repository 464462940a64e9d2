"""The report of a build or a check, for people."""

from typing import TYPE_CHECKING

from lxcast.cli.console import columns
from lxcast.progress import amount

if TYPE_CHECKING:
    from lxcast.jobs.build import Built
    from lxcast.rootfs.checks import Finding


def build_report(built: "Built", *, published: bool = True) -> str:
    """Return what was removed, changed and allowed, and the result."""
    lines = []
    cleanup = {row: each for row, each in built.cleanup.items() if each["members"]}
    if cleanup:
        members, size = (sum(each[key] for each in cleanup.values()) for key in ("members", "bytes"))
        lines.append(f"removed or emptied: {members} files, {amount(size)}")
        lines.append(
            columns([(f"  {row}", f"{each['members']}", amount(each["bytes"])) for row, each in cleanup.items()])
        )
    if sentences := [(f"  {row}", sentence) for row, sentences in built.fit.items() for sentence in sentences]:
        lines += ["fitted to Proxmox:", columns(sentences)]
    lines += [finding_text(finding) for finding in built.findings if finding.allowed]
    record = built.record
    content = f"{record.members} members, {amount(record.unpacked_size)}"
    if not published:
        lines.append(f"dry run, no template was written: {content} unpacked")
    elif built.reused:
        lines.append(
            f"nothing changed: {built.volid} was built from the same {record.source.kind} {record.source.digest} with "
            "the same settings (--no-reuse builds it again)"
        )
    elif built.unchanged:
        lines.append(f"nothing changed: {built.volid} has the same content")
    else:
        lines.append(f"{built.volid}: {content} in {amount(record.size)}")
    return "\n".join(lines)


def finding_text(finding: "Finding") -> str:
    """Return a finding with its level."""
    return f"{'allowed' if finding.allowed else finding.level:7}  {finding.text}"
