"""The bench measures what it runs, and nothing of itself."""

import os
import sys

import pytest

from bench.measure import run


def test_a_command_does_not_inherit_the_peak_memory_of_the_bench() -> None:
    """The first run makes the inputs in the bench's own process, which then has a large peak."""
    block = bytearray(200_000_000)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    del block
    assert run([sys.executable, "-S", "-c", "pass"], dict(os.environ)).memory < 60


def test_the_memory_of_a_command_is_measured() -> None:
    cost = run([sys.executable, "-S", "-c", "bytearray(b'x') * 100_000_000"], dict(os.environ))
    assert 100 < cost.memory < 160
    assert cost.wall > 0


def test_a_failed_command_ends_the_bench_with_its_output() -> None:
    with pytest.raises(SystemExit, match=r"ended with 3:\nno input"):
        run("echo no input >&2; exit 3", dict(os.environ))
