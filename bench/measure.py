"""Running a command and counting what it cost."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a command and its children: wall and CPU seconds, largest resident set of one process in MB (10^6)."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Medians of runs that alternated, and the medians of the ratios of each pair."""

    ours: Cost
    baseline: Cost
    wall_ratio: float
    cpu_ratio: float
    runs: int


# A child starts with the peak of its parent: Linux keeps ru_maxrss across exec (fs/exec.c, setmax_mm_hiwater_rss). So
# this small program, and not the bench, is the parent of what is measured, and reports its usage.
_PARENT = """
import json, os, sys, time
out = int(sys.argv[1])
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, out)])
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - began
os.write(out, json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, status]).encode())
"""


def run(command: str | list[str], env: dict[str, str]) -> Cost:
    """Run a command (a string is a bash script) to its end; if it fails, end the bench with its output."""
    arguments = ["bash", "-o", "pipefail", "-c", command] if isinstance(command, str) else command
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as report:
        parent = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PARENT, str(writer), *arguments],
            env=env,
            pass_fds=[writer],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        _, errors = parent.communicate()
        reported = report.read()
    if not reported:
        raise SystemExit(f"bench: {command} was not started:\n{errors.decode(errors='replace')}")
    wall, cpu, peak, status = json.loads(reported)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"bench: {command} ended with {code}:\n{errors.decode(errors='replace')}")
    return Cost(wall, cpu, peak * 1024 / 1e6)


def pairs(
    ours: str | list[str],
    baseline: str | list[str],
    env: dict[str, str],
    runs: int,
    *,
    start_up: Cost | None = None,
    between: Callable[[], None] = lambda: None,
    before: Callable[[], None] = lambda: None,
) -> Pair:
    """Run both in turn, once more than `runs` (the first pair warms the caches), and compare.

    `start_up` is taken off ours before a ratio is made; `between` runs untimed before each of ours, `before` before
    each of both.
    """
    mine, other = [], []
    for number in range(runs + 1):
        between()
        before()
        first = run(ours, env)
        before()
        second = run(baseline, env)
        if number:
            mine.append(first)
            other.append(second)
    less = start_up or Cost(0, 0, 0)
    return Pair(
        median(mine),
        median(other),
        statistics.median((a.wall - less.wall) / b.wall for a, b in zip(mine, other, strict=True)),
        statistics.median((a.cpu - less.cpu) / b.cpu for a, b in zip(mine, other, strict=True)),
        runs,
    )


def repeated(command: str | list[str], env: dict[str, str], runs: int) -> Cost:
    """Return the medians of some runs, after one that warms the caches."""
    return median([run(command, env) for _ in range(runs + 1)][1:])


def median(costs: list[Cost]) -> Cost:
    """Return the median of each cost by itself."""
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "memory")))


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """Return a file that `make` writes where it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        make(part)
        part.rename(path)
    return path
