"""Tests start no program that a new machine lacks, and setup-integration names the package that has it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import programs
from tests.integration.tools import missing

UNDECLARED = next(name for name in ("tac", "shuf", "factor") if shutil.which(name))


@pytest.mark.parametrize("command", [[UNDECLARED], [shutil.which(UNDECLARED)]])
def test_a_program_that_setup_integration_does_not_declare_is_refused(command: list[str]) -> None:
    with pytest.raises(programs.UndeclaredProgram, match=f"{UNDECLARED}: add it with its package to TEST_PROGRAMS"):
        subprocess.run(command, stdin=subprocess.DEVNULL)


def test_a_program_that_a_test_wrote_is_started(tmp_path: Path) -> None:
    program = tmp_path / UNDECLARED
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    assert subprocess.check_output([program]) == b"mine\n"


@pytest.mark.parametrize("package", programs.test_programs())
def test_each_declared_package_is_installed_and_holds_its_programs(package: str) -> None:
    """A Debian package of a similar name, such as busybox for busybox-static, does not do."""
    if shutil.which("dpkg-query") is None:
        missing("this is not Debian")
    listed = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True)
    if listed.returncode:
        missing(f"no Debian package {package}")
    files = {Path(line).name for line in listed.stdout.splitlines() if Path(line).parent.name in ("bin", "sbin")}
    assert set(programs.test_programs()[package]) <= files
