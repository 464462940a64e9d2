from collections.abc import Iterator
from dataclasses import replace

import pytest

from lxcast.errors import UsageError
from lxcast.rootfs.checks import CHECKS, Check, Finding, Group, Subject, reads, run_checks, to_error, validate
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import regular


def row(id: str, group: Group, *findings: Finding, hint: str = "", reads: tuple[str, ...] = ()) -> Check:
    def find(_: Subject) -> Iterator[Finding]:
        yield from findings

    return Check(id=id, group=group, heading=id, why="", find=find, hint=hint, reads=reads)


SUBJECT = Subject(Survey())


def test_of_an_archive_that_wraps_another_only_the_archive_is_judged() -> None:
    survey = Survey()
    survey.see(regular(b"rootfs.tar.xz", b""))
    about_the_content = row("a", "ssh", Finding("no sshd"))
    about_the_archive = replace(row("b", "proxmox", Finding("no rootfs")), archive=True)
    assert [f.check for f in run_checks(Subject(survey), checks=[about_the_content, about_the_archive])] == ["b"]


@pytest.mark.parametrize("group", ["ssh", "secrets", "environment"])
def test_the_default_policy_makes_the_errors_of_three_groups_warnings(group: Group) -> None:
    checks = [row("a", group, Finding("bad"))]
    assert [finding.level for finding in run_checks(SUBJECT, "default", checks=checks)] == ["warning"]
    assert [finding.level for finding in run_checks(SUBJECT, "golden", checks=checks)] == ["error"]


@pytest.mark.parametrize("group", ["proxmox", "identity"])
def test_errors_of_the_other_groups_count_under_every_policy(group: Group) -> None:
    checks = [row("a", group, Finding("bad"))]
    assert run_checks(SUBJECT, "default", checks=checks)[0].fails
    assert run_checks(SUBJECT, "golden", checks=checks)[0].fails


def test_golden_leaves_a_warning_a_warning() -> None:
    assert not run_checks(SUBJECT, "golden", checks=[row("a", "ssh", Finding("odd", level="warning"))])[0].fails


def test_a_finding_is_told_with_its_check_and_hint() -> None:
    checks = [row("a", "proxmox", Finding("bad", b"etc/x"), Finding("worse", hint="its own"), hint="the row's")]
    assert [finding.as_dict() for finding in run_checks(SUBJECT, checks=checks)] == [
        {"check": "a", "level": "error", "message": "bad", "path": "/etc/x", "hint": "the row's"},
        {"check": "a", "level": "error", "message": "worse", "hint": "its own"},
    ]


def test_an_allowed_check_keeps_its_reason_and_does_not_fail() -> None:
    checks = [row("a", "proxmox", Finding("bad")), row("b", "proxmox", Finding("worse"))]
    findings = run_checks(SUBJECT, "golden", {"a": "known, see the wiki"}, checks)
    assert [(finding.check, finding.allowed, finding.fails) for finding in findings] == [
        ("a", "known, see the wiki", False),
        ("b", "", True),
    ]
    error = to_error(findings, "debian-12-v1.tar.zst")
    assert error is not None
    assert "bad" not in error.message
    assert "b: worse" in error.message


def test_the_error_lists_every_failing_finding_with_path_and_hint() -> None:
    checks = [
        row("a", "proxmox", Finding("bad", b"etc/x"), Finding("bad too", b"etc/\xff"), hint="mend it"),
        row("b", "proxmox", Finding("mild", level="warning")),
        row("c", "identity", Finding("worse")),
    ]
    error = to_error(run_checks(SUBJECT, checks=checks), "t.tar.zst")
    assert error is not None
    assert error.message.splitlines() == [
        "t.tar.zst has 3 errors:",
        "  a: /etc/x: bad",
        "  a: /etc/\\xff: bad too",
        "    mend it",
        "  c: worse",
    ]
    assert "--allow a=REASON" in error.hint


def test_warnings_do_not_fail() -> None:
    assert to_error(run_checks(SUBJECT, checks=[row("b", "proxmox", Finding("mild", level="warning"))]), "t") is None


def test_many_findings_are_counted_and_errors_come_before_warnings() -> None:
    many = [Finding("odd", level="warning")] * 30
    findings = run_checks(SUBJECT, checks=[row("a", "proxmox", *many, Finding("bad"))])
    assert [finding.message for finding in findings[:2]] == ["bad", "odd"]
    assert len(findings) == 22
    assert findings[-1].message == "and 10 more of this kind"


def test_all_wrong_options_are_reported_at_once() -> None:
    checks = [row("first", "ssh"), row("second", "ssh")]
    with pytest.raises(UsageError) as caught:
        run_checks(SUBJECT, "gold", {"frist": "typo", "second": "  ", "third": "gone"}, checks)
    for part in ("'gold'", "default or golden", "'frist'", "'third'", "--allow second requires a reason"):
        assert part in caught.value.message
    assert "first, second" in caught.value.hint


def test_valid_options_are_accepted() -> None:
    validate("golden", {CHECKS[0].id: "a reason"})


def test_patterns_of_all_rows_are_listed_once() -> None:
    assert reads([row("a", "ssh", reads=("etc/a", "etc/b")), row("b", "ssh", reads=("etc/b", "etc/c"))]) == (
        "etc/a",
        "etc/b",
        "etc/c",
    )


def test_every_row_is_told_apart_and_explained() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.heading, check.id
        assert check.why, check.id
        Survey(reads=check.reads)
