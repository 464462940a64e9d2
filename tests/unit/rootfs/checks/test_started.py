"""Checks of the process of an image, and of secrets in its environment."""

import pytest

from lxcast.model import ImageConfig, Mount
from lxcast.rootfs.checks import Finding, Subject, run_checks
from lxcast.rootfs.checks.rows import Init
from lxcast.rootfs.fit import FitOptions
from lxcast.rootfs.fits import FITS
from lxcast.tar.member import Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import minimal_debian, program, replaced, surveyed, without
from tests.unit.rootfs.pipeline import fitted

NO_INIT = [*without(minimal_debian(), b"usr/sbin/init"), program(b"usr/bin/env"), program(b"usr/bin/app")]
SECRET = "s3cr3t-value"


def found(
    check: str, config: ImageConfig, *more: Member, init: Init = "app", image: bool = True, policy: str = "golden"
) -> list[Finding]:
    subject = Subject(surveyed(replaced(NO_INIT, *more)), init=init, process=config, image=image)
    return [finding for finding in run_checks(subject, policy) if finding.check == check]


def image(**values: object) -> ImageConfig:
    return ImageConfig(**{"cmd": ("/usr/bin/app",), **values})  # type: ignore[arg-type]


VALID = [
    image(),
    image(user="nobody:nogroup", working_dir="/usr", stop_signal="SIGQUIT", volumes=("/data", "/usr")),
    image(user="65535:65535", working_dir="/", stop_signal="SIGRTMIN+3"),
    image(cmd=("app",)),
    image(cmd=("bin/app",), working_dir="/usr"),
    image(cmd=("/mnt/tool",), mounts=(Mount("/mnt"),)),
]


@pytest.mark.parametrize("config", VALID)
def test_a_valid_process_is_accepted(config: ImageConfig) -> None:
    group = regular(b"etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    passwd = regular(b"etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    assert found("process", config, group, passwd) == []


INVALID = [
    (image(user="65536"), "above 65535"),
    (image(user="0:70000"), "above 65535"),
    (image(user="stranger"), "'stranger' is not in /etc/passwd"),
    (image(user="root:strangers"), "'strangers' is not in /etc/group"),
    (image(user="a:b:c"), "expected USER or USER:GROUP"),
    (image(stop_signal="SIGFOO"), "unknown stop signal 'SIGFOO'"),
    (image(working_dir="/gone"), "/gone is missing"),
    (image(working_dir="srv"), "'srv' is not absolute"),
    (image(working_dir="/etc/hosts"), "/etc/hosts is missing"),
    (image(volumes=("/etc/hosts",)), "is a volume of the image but not a directory"),
]


@pytest.mark.parametrize(("config", "message"), INVALID)
def test_a_process_that_cannot_start_is_an_error(config: ImageConfig, message: str) -> None:
    (finding,) = found("process", config, policy="default")
    assert message in finding.message
    assert finding.fails
    assert finding.hint


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/usr/bin/gone", "/usr/bin/gone of the image is missing"),
        ("gone", "gone of the image is missing"),
        ("/etc/hosts", "is not executable"),
        ("/opt/run", "is a script for the interpreter '/bin/zsh'"),
    ],
)
def test_a_missing_program_of_the_image_is_a_warning(command: str, message: str) -> None:
    (finding,) = found("process", image(cmd=(command,)), regular(b"opt/run", b"#!/bin/zsh\n", 0o755))
    assert message in finding.message
    assert finding.level == "warning"


def test_the_process_matters_only_without_an_init() -> None:
    wrong = image(cmd=("/gone",))
    assert (
        found("process", wrong, symlink(b"usr/sbin/init", b"/usr/lib/systemd/systemd"), init="app", image=False) == []
    )
    assert found("process", wrong, init="none", image=False) == []
    assert found("process", wrong, init="auto", image=False) != []


def test_a_volume_may_be_a_directory_or_missing() -> None:
    assert found("process", image(volumes=("/srv/x", "/opt")), directory(b"opt")) == []


@pytest.mark.parametrize("policy", ["default", "golden"])
def test_secrets_in_the_environment_are_an_error_under_golden(policy: str) -> None:
    config = image(env=(f"DB_PASSWORD={SECRET}", "PATH=/bin", "API_TOKEN=", f"GITHUB_TOKEN={SECRET}"))
    findings = found("environment-secrets", config, policy=policy)
    assert [finding.message.rpartition(" ")[2] for finding in findings] == ["DB_PASSWORD", "GITHUB_TOKEN"]
    assert {finding.fails for finding in findings} == {policy == "golden"}
    assert SECRET not in str(findings)


@pytest.mark.parametrize("user", ["", "nobody"])
def test_secrets_in_a_written_init_are_found_without_the_image(user: str) -> None:
    config = ImageConfig(cmd=("/usr/bin/app", "A_TOKEN=x"), env=(f"DB_PASSWORD={SECRET}", "X=y z"), user=user)
    passwd = regular(b"etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    setpriv = program(b"usr/bin/setpriv")
    members, _, _ = fitted(replaced(NO_INIT, passwd, setpriv), FITS, FitOptions(process=config))
    subject = Subject(surveyed(members.values()))
    findings = [each for each in run_checks(subject, "golden") if each.check == "environment-secrets"]
    assert [each.path for each in findings] == [b"usr/sbin/init"]
    assert "DB_PASSWORD" in findings[0].message
    assert SECRET not in str(findings)
