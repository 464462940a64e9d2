"""The real command, run as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

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


def archive(members: Iterable[Member]) -> bytes:
    """Return members as a tar."""
    out = bytearray()
    writer = Writer(out.extend)
    for member in members:
        writer.add(member)
    writer.finish()
    return bytes(out)
