"""Each command can be started by itself: only what declares it is imported."""

import subprocess
import sys

import pytest

from lxcast.cli.command import tree
from lxcast.cli.verbs import ALIASES, VERBS
from tests.unit.cli.running import lxcast


def test_every_verb_has_a_file_of_its_name_and_the_summary_of_its_help() -> None:
    for verb, command in tree().commands.items():
        assert (command.help or "").partition("\n")[0] == VERBS[verb][1]


def test_the_modules_of_verbs_are_imported_only_for_their_verb() -> None:
    code = "import sys; from lxcast.cli.app import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {f"lxcast.cli.{verb}" for verb in VERBS} & set(done.stdout.split())


@pytest.mark.parametrize(("alias", "verb"), ALIASES.items())
def test_an_alias_is_its_verb(alias: str, verb: str) -> None:
    shown = lxcast(alias, "--help").stdout.replace(f"Usage: lxcast {alias} ", f"Usage: lxcast {verb} ")
    assert "".join(shown.split()) == "".join(lxcast(verb, "--help").stdout.split())


def test_help_takes_a_verb() -> None:
    assert lxcast("help", "pin", "set").stdout == lxcast("pin", "set", "--help").stdout
    assert lxcast("help").stdout == lxcast("--help").stdout


def test_a_build_imports_no_other_command_and_nothing_that_speaks_with_servers() -> None:
    code = (
        "import sys\n"
        "from lxcast.cli.app import run\n"
        "run(['--quiet', 'build', '/nowhere.tar', '--name', 'x'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "/nowhere.tar: no such file" in done.stderr
    imported = set(done.stdout.split())
    assert "lxcast.jobs.build" in imported
    assert not imported & {
        "lxcast.cli.pin",
        "lxcast.proxmox.client",
        "lxcast.engine",
        "requests",
        "docker",
        "ssl",
        "hcl2",
        "lxcast.references.hcl",
    }


def test_a_global_option_with_a_value_hides_no_command(tmp_path: object) -> None:
    command = [sys.executable, "-m", "lxcast", "--log-file", f"{tmp_path}/log", "operations"]
    assert subprocess.run(command, capture_output=True).returncode == 0
