import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from lxcast import progress
from lxcast.errors import UsageError
from lxcast.progress import DEBUG, NORMAL, QUIET, VERBOSE, Lines, Progress, Step, amount, open_progress

WORK = """
import sys, time
from lxcast.progress import open_progress
with open_progress({level}) as progress:
    with progress.step("reading \\x1b[31mroot"):
        progress.total(1000 << 20)
        for count in range(1000):
            progress.advance(1 << 20)
            time.sleep(0.0005)
        progress.warn("careful")
    progress.say("written")
"""


def on_a_terminal(columns: int, level: int = NORMAL, **environ: str) -> str:
    """Run WORK with standard error on a terminal that is so wide, and return what reached the terminal."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    program = subprocess.Popen(
        [sys.executable, "-c", WORK.format(level=level)],
        stderr=side,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **environ},
    )
    os.close(side)
    seen = b""
    try:
        while piece := os.read(main, 65536):
            seen += piece
    except OSError:  # EIO: Linux's end of file for a terminal
        pass
    finally:
        os.close(main)
    assert program.communicate()[0] == b""
    return seen.decode()


def screen(seen: str) -> list[str]:
    """Return the lines that stay on the screen."""
    lines = [re.split(r"\r(?!$)", line.rstrip("\r"))[-1] for line in seen.split("\n")]
    return [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in lines]


def test_a_terminal_gets_one_line_that_moves_and_goes() -> None:
    began = time.monotonic()
    seen = on_a_terminal(100)
    elapsed = time.monotonic() - began
    drawn = [line for line in re.split(r"[\r\n]", seen) if "[#" in line or "-]" in line]
    assert 3 <= len(drawn) <= 10 * elapsed + 1
    assert all(len(line.removesuffix("\x1b[K")) < 100 for line in drawn)
    assert re.search(r"\d+ %  .* [MG]B of 1\.0 GB  .* [MG]B/s  \d+:\d\d left", drawn[-1])
    assert screen(seen) == ["lxcast: warning: careful", "written", ""]
    assert "\x1b[33mlxcast: warning: \x1b[0mcareful" in seen
    assert "\x1b[31m" not in seen, "a name's own escape reached the terminal"


def test_a_narrow_terminal_is_not_wrapped() -> None:
    lines = [line.removesuffix("\x1b[K") for line in re.split(r"[\r\n]", on_a_terminal(20))]
    assert max(len(line) for line in lines if "reading" in line) == 19


@pytest.mark.parametrize(
    ("columns", "pattern"),
    [
        (40, r"reading \\x1b\[31mroot  \d+ %  \d+:\d\d left"),
        (60, r"reading \\x1b\[31mroot  \[[#-]{10,}\]  \d+ %  \d+:\d\d left"),
        (80, r"reading \\x1b\[31mroot  \[[#-]{10,}\]  \d+ %  .* [kMG]?B of 1\.0 GB  (.*B/s  )?\d+:\d\d left"),
        (200, r"reading \\x1b\[31mroot  \[[#-]{40}\]  \d+ %  .* [kMG]?B of 1\.0 GB  .*B/s  \d+:\d\d left"),
    ],
)
def test_the_moving_line_fits_any_terminal_of_40_columns_and_more(columns: int, pattern: str) -> None:
    lines = [line.removesuffix("\x1b[K") for line in re.split(r"[\r\n]", on_a_terminal(columns))]
    moving = [line for line in lines if " % " in line]
    assert moving
    assert all(len(line) < columns and re.fullmatch(pattern, line) for line in moving), moving


def test_no_color_is_honoured() -> None:
    assert "\x1b[33m" not in on_a_terminal(80, NO_COLOR="1")
    assert "\x1b[33m" in on_a_terminal(80, NO_COLOR="")


def test_verbose_keeps_a_line_for_each_step() -> None:
    assert re.fullmatch(r"reading \\x1b\[31mroot: done in \d+\.\d\d s, 1\.0 GB", screen(on_a_terminal(80, VERBOSE))[1])


def test_a_terminal_without_abilities_gets_lines() -> None:
    seen = on_a_terminal(80, TERM="dumb")
    assert "\x1b" not in seen
    assert seen.splitlines()[0] == r"reading \x1b[31mroot"


def lines_of(level: int, work: Any) -> list[str]:
    stream = io.StringIO()
    with Progress(Lines(stream, level)) as talk:
        work(talk)
    return re.sub(r"\d+\.\d\d s", "N s", stream.getvalue()).splitlines()


def everything(talk: Progress) -> None:
    with talk.step("outer"), talk.step("inner"):
        talk.advance(1500)
        talk.say("said")
        talk.warn("warned")
        talk.debug("debugged")
    talk.error("failed")


def test_lines_name_and_time_each_step() -> None:
    assert lines_of(NORMAL, everything) == [
        "outer",
        "  inner",
        "said",
        "lxcast: warning: warned",
        "  inner: done in N s, 1.5 kB",
        "outer: done in N s",
        "lxcast: error: failed",
    ]
    assert "lxcast: debug: debugged" in lines_of(DEBUG, everything)


def test_quiet_lets_only_warnings_and_errors_through() -> None:
    assert lines_of(QUIET, everything) == ["lxcast: warning: warned", "lxcast: error: failed"]


def test_a_step_that_raises_says_so() -> None:
    def work(talk: Progress) -> None:
        with pytest.raises(KeyError), talk.step("a"):
            raise KeyError
        talk.say("later")

    assert lines_of(NORMAL, work) == ["a", "a: failed after N s", "later"]


def test_lines_tell_every_ten_seconds_how_far_it_is() -> None:
    stream = io.StringIO()
    sink = Lines(stream, NORMAL)
    step = Step(Progress(), "reading", 0)
    step.began = 1000.0  # where no sum of tenths is rounded
    sink.began(step)
    step.total, step.done = 4_000_000, 1_000_000
    for tenth in range(1, 250):
        sink.moved(step, step.began + tenth / 10)
    assert stream.getvalue().splitlines() == [
        "reading",
        "reading: 25 %, 1.0 MB of 4.0 MB, 100.0 kB/s, 0:30 left",
        "reading: 25 %, 1.0 MB of 4.0 MB, 50.0 kB/s, 1:00 left",
    ]


def test_the_log_file_has_everything_with_its_time(tmp_path: Path) -> None:
    for _ in range(2):
        with open_progress(QUIET, tmp_path / "log", io.StringIO()) as talk:
            everything(talk)
            talk.say("two\nlines")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    lines = (tmp_path / "log").read_text().splitlines()
    assert all(re.match(stamp, line) for line in lines)
    assert [re.sub(r"\d+\.\d\d s", "N s", re.sub(stamp, "", line)) for line in lines[: len(lines) // 2]] == [
        "begin   outer",
        "begin     inner",
        "say     said",
        "warning warned",
        "debug   debugged",
        "end       inner: done in N s, 1.5 kB",
        "end     outer: done in N s",
        "error   failed",
        "say     two",
        "say     lines",
    ]
    assert len(lines) == 20, "a second run is appended"


def test_a_log_file_that_fills_up_does_not_end_the_work() -> None:
    stream = io.StringIO()
    with open_progress(QUIET, Path("/dev/full"), stream) as talk:
        everything(talk)
    full = "lxcast: warning: --log-file /dev/full cannot be written any longer: No space left on device"
    assert stream.getvalue().splitlines() == [full, "lxcast: warning: warned", "lxcast: error: failed"]


def test_a_log_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        open_progress(log_file=tmp_path / "none/log")


def test_a_reader_that_goes_away_does_not_end_the_work() -> None:
    program = f"{WORK.format(level=NORMAL)}\nprint('alive')"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stderr=writer, stdout=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stdout == b"alive\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB"), (5e15, "5000.0 TB")],
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_importing_it_costs_no_heavy_module() -> None:
    program = f"import sys; import {progress.__name__}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True).stdout
    assert {"rich", "logging", "shutil", "typer"}.isdisjoint(loaded.split())
