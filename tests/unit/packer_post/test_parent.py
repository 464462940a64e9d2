"""Packer kills the shell of a post-processor with SIGKILL: what the shell started must end too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

WORK = """
import os, sys, time
from packer_post.parent import end_with_parents
end_with_parents()
with open(sys.argv[1], "w") as note:
    note.write(str(os.getpid()))
time.sleep(600)
"""

# Stands in for Packer, so that the test itself is not what is watched.
PACKER = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"


def start(script: str, note: Path) -> subprocess.Popen[bytes]:
    """Start what stands in for Packer, which starts a shell with `script`, which starts the work."""
    work = [sys.executable, "-c", WORK, str(note)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    packer = subprocess.Popen([sys.executable, "-c", PACKER, "sh", "-c", script, "sh", *work], env=environ)
    wait(lambda: note.exists() and bool(note.read_text()))
    return packer


def ended(pid: int) -> bool:
    """Whether a process is gone, or is only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it goes between open and read
        return True


def wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# What `inline` and `script` of shell-local run: a shell, and in it a script with a shell of its own.
@pytest.mark.parametrize("script", ['"$@"; true', 'sh -c \'"$@"; true\' sh "$@"; true', 'exec "$@"'])
def test_it_ends_when_its_shell_is_killed(script: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    packer = start(script, note)
    try:
        (shell,) = map(int, Path(f"/proc/{packer.pid}/task/{packer.pid}/children").read_text().split())
        worker = int(note.read_text())
        assert not ended(worker)
        os.kill(shell, signal.SIGKILL)
        wait(lambda: ended(worker))
    finally:
        packer.kill()
        packer.wait()


def test_it_ends_when_packer_itself_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    packer = start('"$@"; true', note)
    packer.kill()
    packer.wait()
    wait(lambda: ended(int(note.read_text())))


def test_it_ends_when_packer_was_killed_before_it_began() -> None:
    # The shell ends at once, and what adopts its child was not started by this run of Packer.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PACKER_RUN_UUID": "a-run"}
    script = '(while kill -0 $$; do sleep 0.05; done; exec "$@") >/dev/null 2>&1 & echo $!'
    late = "from packer_post.parent import end_with_parents\nend_with_parents()\nimport time\ntime.sleep(600)"
    command = ["sh", "-c", script, "sh", sys.executable, "-c", late]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    wait(lambda: ended(int(done.stdout)))
