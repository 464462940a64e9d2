"""The real command, as a user runs it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lxcast.cli.app import run
from lxcast.tar.member import Member
from lxcast.tar.writer import Writer

COMMAND = (sys.executable, "-m", "lxcast")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that holds no setting but those given; its configuration directory cannot be created."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    root = str(Path(__file__).parents[3])
    return {**inherited, "PYTHONPATH": root, "XDG_CONFIG_HOME": "/proc/none", "TERM": "xterm", **environ}


def lxcast(
    *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: the same code, streams and exit code without a start of Python.

    A directory, an environment and streams belong to a whole process: other threads get one of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        return lxcast_process(*arguments, cwd=cwd, environ=environ)
    words = [str(word) for word in arguments]
    with lent_process(cwd or Path.cwd(), environment(environ or {})) as (out, err):
        code = run(words)
    return subprocess.CompletedProcess([*COMMAND, *words], code, out.text, err.text)


def lxcast_process(
    *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: for what happens at the start of one, or for other threads."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(environ or {}),
    )


@dataclass
class Output:
    """What a command wrote to one of its streams, complete when the command has ended."""

    text: str = ""


@contextmanager
def lent_process(cwd: Path, environ: Mapping[str, str]) -> Iterator[tuple[Output, Output]]:
    """Give the block a directory, an environment, and standard streams that are files, down to the descriptors."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = Path.cwd(), dict(os.environ), (sys.stdin, sys.stdout, sys.stderr), [os.dup(number) for number in range(3)]
    outputs = Output(), Output()
    with Path(os.devnull).open() as null, TemporaryFile("w+b") as out, TemporaryFile("w+b") as err:
        try:
            for number, file in enumerate((null, out, err)):
                os.dup2(file.fileno(), number)
            sys.stdin, sys.stdout, sys.stderr = (
                open(0, closefd=False),  # noqa: SIM115 # a descriptor
                open(1, "w", closefd=False),  # noqa: SIM115
                open(2, "w", closefd=False, buffering=1),  # noqa: SIM115
            )
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(cwd)
            yield outputs
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            directory, variables, (sys.stdin, sys.stdout, sys.stderr), descriptors = before
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(variables)
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            for file, output in zip((out, err), outputs, strict=True):
                file.seek(0)
                output.text = file.read().decode()


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
