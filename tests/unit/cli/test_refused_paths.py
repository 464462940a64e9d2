"""Paths that the system refuses are errors of the user's, with their own message: never "a bug in lxcast"."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.running import COMMAND, archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

LONG = "a" * 300

COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "list": lambda path, _: ["list", "--storage", path],
    "build": lambda path, source: ["build", source, "--name", "web", "--storage", path],
    "build to a directory": lambda path, source: ["build", source, "--name", "web", "--output", path],
    "publish a file": lambda path, _: ["publish", path, "--storage", "./storage"],
    "publish to a storage": lambda path, source: ["publish", source, "--storage", path, "--no-check"],
    "prune": lambda path, _: ["prune", "--keep", "1", "--storage", path],
    "prune by pins": lambda path, _: ["prune", "--keep", "1", "--storage", "./storage", "--pins", path],
    "remove": lambda path, _: ["remove", "web-v1.tar.zst", "--storage", path],
    "repack": lambda path, _: ["repack", path],
    "promote": lambda path, _: ["promote", "web", "--storage", path],
    "cache list": lambda path, _: ["cache", "list", "--storage", path],
}


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "web-v1.tar"
    file.write_bytes(archive(minimal_debian()))
    (tmp_path / "storage/template/cache").mkdir(parents=True)
    return str(file)


@pytest.mark.parametrize("path", [LONG, f"/{LONG}", f"nfs=/{LONG}", f"~{LONG}/x", "/dev/null/x"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_cannot_be_is_no_bug_of_lxcast(tmp_path: Path, source: str, command: str, path: str) -> None:
    told = lxcast(*COMMANDS[command](path, source), cwd=tmp_path)
    assert told.returncode not in (0, 1) or command == "cache list", told.stderr
    assert "bug in lxcast" not in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_a_user_may_not_read_is_permission_denied(tmp_path: Path, source: str, command: str) -> None:
    closed = tmp_path / "closed"
    (closed / "template/cache").mkdir(parents=True)
    os.chown(closed, 65534, 65534)
    closed.chmod(0o700)
    # Without these capabilities root is a user like any other.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    words = COMMANDS[command](str(closed / "template"), source)
    told = subprocess.run([*drop, *COMMAND, *words], cwd=tmp_path, env=environment({}), capture_output=True, text=True)
    assert "bug in lxcast" not in told.stderr
    assert "Traceback" not in told.stderr
    assert "ermission denied" in told.stderr, told.stderr
