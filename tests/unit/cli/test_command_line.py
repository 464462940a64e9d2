import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lxcast.cli.verbs import VERBS
from tests.unit.cli.running import environment, lxcast, lxcast_process

COMMANDS = tuple(VERBS)
GROUPS = ("pin", "cache", "init", "packer")
PIN_COMMANDS = ("pin write", "pin set", "pin get", "pin list")
OTHER_COMMANDS = ("cache list", "cache prune", "init packer", "init make", "packer install")


@pytest.mark.parametrize(
    "command", [each for each in (*COMMANDS, *PIN_COMMANDS, *OTHER_COMMANDS) if each not in GROUPS]
)
def test_each_help_says_what_it_does_and_has_an_example(command: str) -> None:
    told = lxcast(*command.split(), "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert re.search(rf"Examples?:\n +(\w+=\w+ )?lxcast {command}", told.stdout)
    for option in ("--quiet", "--verbose", "--debug", "--log-file"):
        assert option in told.stdout


SOURCES = (
    *("docker-container:NAME", "docker-daemon:IMAGE", "docker-archive:FILE[:REF]", "oci:PATH[:REF]", "bundle:DIR"),
    *("oci-archive:FILE[:REF]", "rootfs:DIR", "https://HOST/PATH", "distrobuilder", "standard input", "NAME of a"),
)


def test_the_help_of_build_lists_every_kind_of_source() -> None:
    said = "".join(lxcast("build", "--help").stdout.split())  # lines are broken at blanks and hyphens
    assert [source for source in SOURCES if source.replace(" ", "") not in said] == []


def test_without_a_command_the_commands_are_listed() -> None:
    told = lxcast_process()
    assert told.returncode == 0
    listed = re.findall(r"^  (\w+)  +(.*)$", told.stdout.partition("Build:")[2], re.MULTILINE)
    assert tuple(name for name, _ in listed) == COMMANDS
    assert not [about for _, about in listed if about.endswith("...")], "a first line is too long for the list"


def test_a_group_alone_lists_its_commands() -> None:
    told = lxcast("pin")
    assert told.returncode == 0
    assert re.findall(r"^  (\w+)  +.*[.]$", told.stdout, re.MULTILINE) == [each.split()[1] for each in PIN_COMMANDS]


def test_the_version_is_told() -> None:
    from lxcast import __version__

    assert lxcast("--version").stdout == f"lxcast {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bild"], "no such command 'bild'; did you mean build?"),
        (["settings", "--jsn"], "no such option: --jsn"),
        (["build", "x"], "missing option '--name'"),
        (["settings", "--quiet", "--debug"], "--quiet excludes --verbose and --debug"),
        (["settings", "--log-file", "/proc/none/log"], "--log-file /proc/none/log cannot be written: No such file"),
        (["list", "--storage", "nowhere"], "the storage 'nowhere' is not an existing directory"),
    ],
)
def test_an_error_is_one_message_and_a_code(arguments: list[str], message: str, tmp_path: Path) -> None:
    told = lxcast(*arguments, cwd=tmp_path)
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.startswith(f"lxcast: error: {message}")
    assert "Traceback" not in told.stderr


def test_the_hint_is_a_line_of_its_own(tmp_path: Path) -> None:
    told = lxcast("list", "--storage", "nowhere", cwd=tmp_path)
    assert re.search(r"^hint: for a directory use ./nowhere", told.stderr, re.MULTILINE)


def test_with_json_an_error_is_a_document_too(tmp_path: Path) -> None:
    told = lxcast("list", "--storage", tmp_path / "none", "--json")
    assert told.returncode == 6
    error = json.loads(told.stdout)["error"]
    assert (error["class"], error["exit_code"]) == ("StorageError", 6)
    assert error["message"] in told.stderr
    assert error["hint"] in told.stderr


def test_settings_tell_where_each_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "lxcast.toml").write_text('policy = "golden"\nremove = ["opt/a"]')
    told = lxcast("settings", cwd=tmp_path, environ={"LXCAST_REMOVE": "opt/b", "LXCAST_STORGE": "x"})
    rows = {line.split()[0]: re.split(r"  +", line)[1:] for line in told.stdout.splitlines()}
    assert rows["policy"] == ['"golden"', "lxcast.toml"]
    assert rows["remove"] == ['["opt/a", "opt/b"]', "lxcast.toml, LXCAST_REMOVE"]
    assert rows["storage"] == ['"./storage"', "default"]
    assert "LXCAST_STORGE" in told.stderr
    as_json = json.loads(lxcast("settings", "--json", cwd=tmp_path).stdout)
    assert as_json["schema"] == 1
    assert {row["name"]: row["value"] for row in as_json["settings"]}["remove"] == ["opt/a"]


def test_a_wrong_setting_is_told_whatever_the_command(tmp_path: Path) -> None:
    (tmp_path / "lxcast.toml").write_text('polcy = "golden"\nformat = "rar"')
    for command in (["settings"], ["list"]):
        told = lxcast(*command, cwd=tmp_path)
        assert told.returncode == 2
        assert "lxcast.toml: polcy" in told.stderr
        assert 'lxcast.toml: format = "rar"' in told.stderr


def test_a_list_names_what_the_storage_has(tmp_path: Path) -> None:
    folder = tmp_path / "template/cache"
    folder.mkdir(parents=True)
    (folder / "alpine-v1.tar.zst").write_bytes(b"1" * 1500)
    told = lxcast("list", "--storage", f"nfs={tmp_path}")
    assert told.stdout.splitlines()[1].split()[-1] == "nfs:vztmpl/alpine-v1.tar.zst"
    (entry,) = json.loads(lxcast("list", "--storage", f"nfs={tmp_path}", "--json").stdout)["templates"]
    assert (entry["template_id"], entry["size"]) == ("nfs:vztmpl/alpine-v1.tar.zst", 1500)


def test_the_common_options_may_stand_before_and_after_the_command(tmp_path: Path) -> None:
    for arguments in (["--log-file", "log", "list"], ["list", "--log-file", "log"]):
        assert lxcast(*arguments, cwd=tmp_path).returncode == 6
    log = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[1] for line in log] == ["debug", "error", "hint"] * 2


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    told = subprocess.run(
        [sys.executable, "-m", "lxcast", "settings"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (told.returncode, told.stderr) == (141, b"")


def test_an_output_that_is_full_is_an_error() -> None:
    for target in (">/dev/full", ">&-"):
        told = subprocess.run(
            ["sh", "-c", f'exec "$0" -m lxcast settings {target}', sys.executable],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert told.returncode == 1
        assert told.stderr.startswith("lxcast: error: standard output cannot be written")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_to_be_had(shell: str) -> None:
    told = lxcast_process("--show-completion", shell, environ={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert f"_LXCAST_COMPLETE=complete_{shell}" in told.stdout


def test_completion_knows_commands_options_and_choices() -> None:
    def offered(line: str) -> list[str]:
        words = line.split(" ")
        environ = {"_LXCAST_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        return lxcast_process(environ=environ).stdout.split()

    assert offered("lxcast bu") == ["build"]
    assert "--storage" in offered("lxcast build --st")
    assert offered("lxcast build x --format ") == ["zst", "gz", "xz", "tar", "oci-archive"]
    assert "ssh-host-keys" in offered("lxcast build x --disable ssh-")


def test_help_loads_nothing_heavy() -> None:
    program = "import sys; from lxcast.cli import app; app.run(['--help']); print(*sys.modules)"
    command = [sys.executable, "-c", program]
    # An environment without the measurement of coverage, which loads tomllib.
    loaded = subprocess.check_output(command, env=environment({}), text=True).split()
    heavy = {"rich", "docker", "requests", "zstandard", "isal", "hcl2", "tomllib", "lxcast.jobs.build", "lxcast.rootfs"}
    assert heavy.isdisjoint(loaded)


def test_the_operations_are_told_as_the_rows_declare_them() -> None:
    document = json.loads(lxcast("operations", "--json").stdout)
    keys = next(row for row in document["cleanup"] if row["id"] == "ssh-host-keys")
    assert (keys["default"], keys["drop"][0]) == (True, "etc/ssh/ssh_host_*")
    assert "directory" in next(row for row in document["cleanup"] if row["id"] == "apt-cache")["spares"]
    text = lxcast("operations").stdout
    tables = [table for table in document if table != "schema"]
    rows = [row["id"] for table in tables for row in document[table]]
    assert [line.split()[0] for line in text.splitlines() if line.startswith("  ")] == rows
