"""The checks: whether Proxmox takes a root filesystem, whether it boots, and whether it is fit to be shared.

A check is a row (`Check`); the modules beside this one hold the tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from lxcast.errors import CheckError, UsageError
from lxcast.identifiers import one_line
from lxcast.rootfs.checks.archive import ARCHIVE
from lxcast.rootfs.checks.boot import BOOT
from lxcast.rootfs.checks.credentials import SCAN_ROOTS, scan
from lxcast.rootfs.checks.environment import ENVIRONMENT
from lxcast.rootfs.checks.identity import IDENTITY
from lxcast.rootfs.checks.rows import Check, Finding, Group, Init, Level, Subject
from lxcast.rootfs.checks.secrets import SECRETS
from lxcast.rootfs.checks.setup import SETUP
from lxcast.rootfs.checks.sshd import SSH
from lxcast.rootfs.checks.wrapping import WRAPPING, wrapping

__all__ = [
    "CHECKS",
    "POLICIES",
    "SCAN_ROOTS",
    "Check",
    "Finding",
    "Group",
    "Init",
    "Level",
    "Subject",
    "reads",
    "run_checks",
    "scan",
    "to_error",
    "validate",
]

CHECKS: tuple[Check, ...] = (*WRAPPING, *ARCHIVE, *BOOT, *SETUP, *IDENTITY, *SSH, *SECRETS, *ENVIRONMENT)
"""Every check, in the order in which findings are told."""

POLICIES = {
    "default": "what breaks a container is an error; what a shared image should not carry is a warning",
    "golden": "a template that many containers are made from: every error counts",
}

_LENIENT: frozenset[Group] = frozenset({"ssh", "secrets", "environment"})
"""Groups whose errors are warnings under the default policy: they break no container, they leak or lock out."""

_TOLD = 20
"""Findings of one check that are told one by one: a wrong owner on 100,000 members is one mistake."""


def reads(checks: Iterable[Check] = CHECKS) -> tuple[str, ...]:
    """Return the patterns of every file whose text the checks read, each once, for `Survey(reads=...)`."""
    return tuple(dict.fromkeys(pattern for check in checks for pattern in check.reads))


def validate(policy: str, allow: Mapping[str, str], checks: Sequence[Check] = CHECKS) -> None:
    """Raise UsageError unless the policy and every allowed check exist and each allowance has a reason.

    Call it before a long run: `run_checks` asks the same, but only at the end.
    """
    known = {check.id for check in checks}
    unknown = sorted(allow.keys() - known)
    problems = [f"unknown policy {policy!r}: it is one of {', '.join(POLICIES)}"] if policy not in POLICIES else []
    problems += [f"no check is called {name!r}" for name in unknown]
    problems += [
        f"allowing {name!r} needs a reason" for name in sorted(allow) if name in known and not allow[name].strip()
    ]
    if not problems:
        return
    hints = [f"the checks are: {', '.join(sorted(known))}"] if unknown else []
    if any("reason" in problem for problem in problems):
        hints.append("write --allow CHECK=reason; the reason goes into the template's record")
    raise UsageError("\n".join(problems), hint="\n".join(hints))


def run_checks(
    subject: Subject, policy: str = "default", allow: Mapping[str, str] | None = None, checks: Sequence[Check] = CHECKS
) -> list[Finding]:
    """Return everything that the checks find, in the order of the table.

    Where the archive wraps a root filesystem rather than being one, only the rows about the archive are asked: all
    that the others would miss is missing for that one reason.

    `allow` maps a check's id to the reason for passing it: its findings come back with `allowed` set. Raises
    UsageError as `validate` does.
    """
    allow = allow or {}
    validate(policy, allow, checks)
    findings: list[Finding] = []
    wrapped = wrapping(subject.survey) is not None
    for check in checks:
        if wrapped and not check.archive:
            continue
        lenient = policy == "default" and check.group in _LENIENT
        found = [
            replace(
                finding,
                check=check.id,
                message=one_line(finding.message),  # it may repeat what a file says
                level="warning" if lenient else finding.level,
                hint=finding.hint or check.hint,
                allowed=allow.get(check.id, "").strip(),
            )
            for finding in check.find(subject)
        ]
        # Errors first, so that a limit never hides one behind warnings.
        found.sort(key=lambda finding: finding.level)
        for _, same in groupby(found, key=lambda finding: finding.level):
            alike = list(same)
            findings += alike[:_TOLD]
            if len(alike) > _TOLD:
                findings.append(replace(alike[0], message=f"and {len(alike) - _TOLD} more of this kind", path=None))
    return findings


def to_error(findings: Iterable[Finding], what: str) -> CheckError | None:
    """Return the error that tells every finding which fails, or None where none does; `what` names the template."""
    failing = [finding for finding in findings if finding.fails]
    if not failing:
        return None
    lines = [f"{what} has {len(failing)} {'error' if len(failing) == 1 else 'errors'}:"]
    for index, finding in enumerate(failing):
        lines.append(f"  {finding.sentence}")
        following = failing[index + 1 : index + 2]
        if finding.hint and not (following and following[0].hint == finding.hint):
            lines.append(f"    {finding.hint}")
    names = dict.fromkeys(finding.check for finding in failing)
    return CheckError("\n".join(lines), hint=f"to pass one knowingly: --allow {next(iter(names))}=REASON")
