"""The real command, run as a user runs it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lxcast.tar.member import Member
from lxcast.tar.writer import Writer

COMMAND = (sys.executable, "-m", "lxcast")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that holds no setting but those given."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    root = str(Path(__file__).parents[3])
    return {**inherited, "PYTHONPATH": root, "XDG_CONFIG_HOME": "/nonexistent", "TERM": "xterm", **environ}


def lxcast(
    *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(environ or {}),
    )


def wait_for(text: str, log: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until a command's log file has a text; fail where the command ends without it."""
    end = time.monotonic() + 240
    while text not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, f"it ended with {process.returncode} and never said {text!r}"
        assert time.monotonic() < end, f"it never said {text!r}"
        time.sleep(0.05)


def archive(members: Iterable[Member]) -> bytes:
    """Return members as a tar."""
    out = bytearray()
    writer = Writer(out.extend)
    for member in members:
        writer.add(member)
    writer.finish()
    return bytes(out)
