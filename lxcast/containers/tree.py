"""Directories and processes of containers on this host."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def remove_tree(directory: Path, *, last: str) -> None:
    """Remove the directory of a container. Links are not followed.

    The file `last` goes last: it holds the marker, so that another run can continue after a killed one.
    """
    with suppress(FileNotFoundError):
        for each in [each for each in directory.iterdir() if each.name != last]:
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
        (directory / last).unlink(missing_ok=True)
        directory.rmdir()


def uptime(pid: int) -> int:
    """Return the seconds since a process started (proc_pid_stat(5), field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command of a container tool, without input."""
    return subprocess.run(  # noqa: S603 - an argument list of our own
        [*command], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
