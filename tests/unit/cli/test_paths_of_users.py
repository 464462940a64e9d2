"""A path that the system refuses is the user's to correct, and never reported as a bug of lxcast."""

import os
from pathlib import Path

import pytest

from lxcast.errors import of_system
from tests.unit.cli.running import lxcast

LONG = "a" * 300
"""Longer than a file name may be (limits.h, NAME_MAX): every call on it fails, also for root."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", LONG, "--name", "x"),
        ("build", "x.tar", "--name", "x", "--storage", LONG),
        ("build", "x.tar", "--name", "x", "--storage", f"./{LONG}"),
        ("build", "x.tar", "--name", "x", "--output", LONG),
        ("build", "x.tar", "--name", "x", "--pin-file", f"{LONG}.tfvars.json"),
        ("build", "x.tar", "--name", "x", "--add", f"{LONG}:/y"),
        ("build", f"bundle:{LONG}", "--name", "x"),
        ("check", f"./{LONG}"),
        ("diff", LONG, LONG),
        ("repack", LONG),
        ("list", "--storage", LONG),
        ("list", "--storage", f"./{LONG}"),
        ("prune", "--keep", "1", "--pins", LONG),
        ("remove", "x", "--pins", LONG),
        ("promote", "x", "--to", f"{LONG}.tf:local.x"),
        ("rollback", "x", "--file", f"{LONG}.tfvars.json"),
        ("pin", "list", LONG),
        ("pin", "get", f"{LONG}.tf", "local.x"),
        ("pin", "set", f"{LONG}.tf", "local.x", "v1"),
        ("pin", "write", "x", "--file", f"{LONG}.tfvars.json"),
        ("init", "make", LONG),
        ("packer", "install", "--dir", LONG),
        ("settings", "--log-file", LONG),
    ],
)
def test_a_path_that_the_system_refuses_is_a_clear_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(bytes(10240))
    told = lxcast(*arguments, cwd=tmp_path)
    assert told.returncode not in (0, 70)
    assert "lxcast: error: " in told.stderr
    assert "unexpected" not in told.stderr
    assert "bug in lxcast" not in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "XDG_CACHE_HOME"])
def test_a_directory_of_the_environment_that_cannot_be_read_is_a_clear_error(variable: str, tmp_path: Path) -> None:
    told = lxcast("cache", "list", cwd=tmp_path, environ={variable: f"/{LONG}"})
    assert told.returncode == 1
    assert told.stderr.lower().count("file name too long") == 1
    assert "bug in lxcast" not in told.stderr


def test_the_error_names_the_file_and_the_reason() -> None:
    error = of_system(PermissionError(13, "Permission denied", "/srv/private"))
    assert error.message == "/srv/private: permission denied"
    assert error.hint
    assert of_system(OSError(28, os.strerror(28))).message == "the system reports: no space left on device"


def test_unknown_keys_of_a_settings_file_do_not_flood_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "lxcast.toml").write_text("".join(f"key{number} = {number}\n" for number in range(20_000)))
    told = lxcast("settings", cwd=tmp_path)
    assert told.returncode == 2
    assert "and 19980 more" in told.stderr
    assert len(told.stderr) < 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "", "--name", "x"),
        ("build", "rootfs:", "--name", "x"),
        ("build", "bundle:", "--name", "x"),
        ("build", "oci:", "--name", "x"),
        ("build", "docker-archive:", "--name", "x"),
        ("build", "x.tar", "--name", "x", "--storage", ""),
        ("build", "x.tar", "--name", "x", "--storage", "local="),
        ("build", "x.tar", "--name", "x", "--output", ""),
        ("check", ""),
        ("diff", "", ""),
        ("repack", ""),
        ("list", "--storage", ""),
        ("prune", "--keep", "1", "--pins", ""),
        ("pin", "list", ""),
        ("pin", "get", "", "local.x"),
        ("pin", "write", "x", "--file", ""),
        ("rollback", "x", "--file", ""),
        ("init", "make", ""),
        ("packer", "install", "--dir", ""),
        ("settings", "--log-file", ""),
    ],
)
def test_an_empty_path_is_an_error_and_not_the_working_directory(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(bytes(10240))
    told = lxcast(*arguments, cwd=tmp_path)
    assert told.returncode in (2, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
