"""Each command can be started by itself: only what declares it is imported."""

import subprocess
import sys

from lxcast.cli.app import COMMANDS, declare
from lxcast.cli.command import tree


def test_every_command_is_in_the_table_and_no_other() -> None:
    declare()
    assert set(tree().commands) == set(COMMANDS)


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
