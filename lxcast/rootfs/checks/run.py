"""Runs the checks: whether Proxmox accepts a root filesystem, whether it boots, and whether it is safe to share.

A check is a row (`Check`); the other modules of this package contain the tables.
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
from lxcast.rootfs.checks.started import STARTED
from lxcast.rootfs.checks.wrapping import WRAPPING, wrapping
from lxcast.tar.member import printable

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

CHECKS: tuple[Check, ...] = (*WRAPPING, *ARCHIVE, *BOOT, *STARTED, *SETUP, *IDENTITY, *SSH, *SECRETS, *ENVIRONMENT)
"""Every check, in the order in which findings are reported."""

POLICIES = {
    "default": "errors for problems that break a container, warnings for content that a template should not contain",
    "golden": "for templates that many containers are created from: all problems are errors",
}

_LENIENT: frozenset[Group] = frozenset({"ssh", "secrets", "environment"})
"""Groups whose errors are warnings under the default policy: they leak data or prevent a login, but break nothing."""

_LISTED = 20
"""Findings of one check that are listed: a wrong owner on 100,000 members is one mistake."""


_NAMED = 3
"""Paths that an error lists for findings with the same message."""


def reads(checks: Iterable[Check] = CHECKS) -> tuple[str, ...]:
    """Return the patterns of all files whose text the checks read, each once, for `Survey(reads=...)`."""
    return tuple(dict.fromkeys(pattern for check in checks for pattern in check.reads))


def validate(policy: str, allow: Mapping[str, str], checks: Sequence[Check] = CHECKS) -> None:
    """Raise UsageError unless the policy and every allowed check exist and each allowed check has a reason.

    Call this before a long run: `run_checks` does the same, but at the end.
    """
    ids = {check.id for check in checks}
    unknown = sorted(allow.keys() - ids)
    problems = [f"unknown policy {policy!r}: expected {' or '.join(POLICIES)}"] if policy not in POLICIES else []
    problems += [f"unknown check {name!r} in --allow" for name in unknown]
    problems += [
        f"--allow {name} requires a reason" for name in sorted(allow) if name in ids and not allow[name].strip()
    ]
    if not problems:
        return
    hints = [f"checks: {', '.join(sorted(ids))}"] if unknown else []
    if any("reason" in problem for problem in problems):
        hints.append("use --allow CHECK=REASON; the reason is stored in the template's record")
    raise UsageError("\n".join(problems), hint="\n".join(hints))


def run_checks(
    subject: Subject, policy: str = "default", allow: Mapping[str, str] | None = None, checks: Sequence[Check] = CHECKS
) -> list[Finding]:
    """Return the findings of all checks, in table order.

    If the archive contains a root filesystem instead of being one, only the checks of the archive run, because the
    others would report consequences of that one problem.

    `allow` maps the id of a check to the reason for allowing it; its findings are returned with `allowed` set. Raises
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
                message=one_line(finding.message),  # it may quote a file
                level="warning" if lenient else finding.level,
                hint=finding.hint or check.hint,
                allowed=allow.get(check.id, "").strip(),
            )
            for finding in check.find(subject)
        ]
        # Errors first, so that the limit never hides an error behind warnings.
        found.sort(key=lambda finding: finding.level)
        for _, same in groupby(found, key=lambda finding: finding.level):
            alike = list(same)
            findings += alike[:_LISTED]
            if len(alike) > _LISTED:
                findings.append(replace(alike[0], message=f"and {len(alike) - _LISTED} more of this kind", path=None))
    return findings


def to_error(findings: Iterable[Finding], what: str) -> CheckError | None:
    """Return an error that lists every failing finding, or None if no finding fails; `what` names the template."""
    failing = [finding for finding in findings if finding.fails]
    if not failing:
        return None
    lines = [f"{what} has {len(failing)} {'error' if len(failing) == 1 else 'errors'}:"]
    merged: dict[tuple[str, str, str], list[str]] = {}
    for finding in failing:
        path = [] if finding.path is None else [printable(finding.path)]
        merged.setdefault((finding.check, finding.message, finding.hint), []).extend(path)
    keys = list(merged)
    for index, (check, message, hint) in enumerate(keys):
        paths = merged[check, message, hint]
        others = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        where = ", ".join(paths[:_NAMED]) + others
        lines.append(f"  {check}: {where + ': ' if where else ''}{message}")
        following = keys[index + 1 : index + 2]
        if hint and not (following and following[0][2] == hint):
            lines.append(f"    {hint}")
    names = dict.fromkeys(finding.check for finding in failing)
    allow = " ".join(f"--allow {name}=REASON" for name in names)
    return CheckError("\n".join(lines), hint=f"correct the errors as shown; to build anyway: {allow}")
