"""What a row of the bench is given, and what it gives."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

from bench import inputs
from bench.measure import Cost, Pair, repeated, run

PYTHON = sys.executable
ZSTD = "zstd -q -T0 -3 --long=24"


@dataclass(slots=True)
class Line:
    """What was measured; a figure above its limit is marked, one without a limit is only told."""

    name: str
    what: str
    figure: float
    limit: float | None
    detail: str = ""

    def __str__(self) -> str:
        if self.limit is None:
            mark, limit = "", ""
        else:
            mark, limit = "ok" if self.figure <= self.limit else "OVER", f"(limit {self.limit:g})"
        return f"{mark:<4} {self.name:<16} {self.what:<44} {self.figure:8.2f} {limit:<14} {self.detail}"


class Bench:
    """The inputs, created at first use, and a directory for outputs."""

    def __init__(self, directory: Path, stack: ExitStack, runs: int) -> None:
        self.directory, self.runs, self._stack = directory, runs, stack
        self.env = {**os.environ, "PYTHONPATH": str(inputs.REPOSITORY), "PYTHONDONTWRITEBYTECODE": ""}
        self.env.pop("SOURCE_DATE_EPOCH", None)

    @cached_property
    def start_up(self) -> Cost:
        """What an empty typer command costs."""
        return repeated([PYTHON, "-m", "bench.empty"], self.env, self.runs)

    @cached_property
    def bare_start_up(self) -> Cost:
        """What the bare conversion costs on an archive without members."""
        empty = self.directory / "empty.tar"
        empty.write_bytes(bytes(1024))
        return repeated(self.convert(empty, "zst", "one"), self.env, self.runs)

    @cached_property
    def container(self) -> str:
        """A container of the image that the tests boot."""
        container = inputs.service_container()
        self._stack.callback(subprocess.run, ["docker", "rm", container], capture_output=True, check=True)
        return container

    @cached_property
    def export(self) -> Path:
        """Its export."""
        return inputs.export(self.container)

    @cached_property
    def big_template(self) -> Path:
        """A template of more than 1 GB unpacked."""
        run(self.build(inputs.tenfold(self.export), "--name", "big", "--output", str(self.directory / "big")), self.env)
        return self.directory / "big" / "big-v1.tar.zst"

    def build(self, source: Path | str, *options: str) -> list[str]:
        """Return a build that passes every check: what is measured is the work, not the verdict."""
        allow = [f"--allow={check}=measured" for check in ("init", "distribution", "few-members", "no-sbin")]
        return [PYTHON, "-m", "lxcast", "--quiet", "build", str(source), *allow, *options]

    def into_storage(self, source: Path | str, *options: str) -> list[str]:
        """Return a build into the storage of the bench."""
        return self.build(source, "--name", "bench", "--storage", f"local={self.directory / 'storage'}", *options)

    def empty(self) -> None:
        """Remove what earlier runs wrote, so that the disk's cache holds the inputs."""
        shutil.rmtree(self.directory / "storage", ignore_errors=True)

    def convert(self, source: Path, format: str, digests: str, rows: str = "none") -> list[str]:
        """Return the bare conversion, without checks and record."""
        return [PYTHON, "-m", "bench.convert", str(source), str(self.directory / "bare.out"), format, digests, rows]

    def baseline(self, source: Path) -> str:
        """Return the shell's own way to a compressed archive with a digest."""
        return f"{ZSTD} < {quote(str(source))} | openssl dgst -sha256"


def walls(pair: Pair) -> str:
    """Return both walls."""
    return f"{pair.ours.wall:.2f} s / {pair.baseline.wall:.2f} s, {pair.runs} pairs"


def cpus(pair: Pair) -> str:
    """Return both processor times."""
    return f"{pair.ours.cpu:.2f} s / {pair.baseline.cpu:.2f} s of CPU, {pair.runs} pairs"
