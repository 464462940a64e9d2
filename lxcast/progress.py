"""What a job says while it works: named, timed steps, bytes, and lines for people; never on standard output.

A job speaks to a Progress; where that is shown is a matter of its sinks: one line on a terminal, plain lines in a log
of CI, a log file, or nowhere. A Progress is spoken to from one thread.
"""

import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from lxcast.errors import UsageError

QUIET, NORMAL, VERBOSE, DEBUG = range(4)
"""How much is shown: errors and warnings; what happens; each step with its time as well; everything."""

_LEVELS = {"error": QUIET, "hint": QUIET, "warning": QUIET, "say": NORMAL, "debug": DEBUG}
_PREFIXES = {"say": "", "hint": "hint: "}
_COLORS = {"warning": "33", "error": "31"}
_REDRAW = 0.1
_REPORT = 10.0


class Step:
    """One step of the work, while it runs. `total` and `done` are bytes; a total of None is unknown."""

    __slots__ = ("_progress", "began", "depth", "done", "failed", "name", "total")

    def __init__(self, progress: "Progress", name: str, depth: int) -> None:
        self._progress = progress
        self.name = name
        self.depth = depth
        self.began = time.monotonic()
        self.done = 0
        self.total: int | None = None
        self.failed = False

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._progress._begin(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.failed = kind is not None
        self._progress._end(self)


class Sink(Protocol):
    """Where a Progress is shown. `now` is of time.monotonic()."""

    def line(self, kind: str, text: str) -> None:
        """Show a text of kind "say", "warning", "error", "hint" or "debug"."""

    def began(self, step: Step) -> None:
        """Take note that a step begins."""

    def moved(self, step: Step, now: float) -> None:
        """Show how far the step is; called at most ten times a second."""

    def ended(self, step: Step, now: float) -> None:
        """Take note that a step ended, well or not."""

    def close(self) -> None:
        """Leave the place tidy."""


class Progress:
    """What a job speaks to. Without sinks it is silent."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self._steps = [Step(self, "", -1)]
        self._step = self._steps[0]
        self._due = 0.0

    def step(self, name: str) -> Step:
        """Return a context manager: a named and timed part of the work, to which total and advance then belong."""
        return Step(self, name, self._step.depth + 1)

    def total(self, count: int | None) -> None:
        """Say how many bytes the step will read; None where that is unknown."""
        self._step.total = count

    def advance(self, count: int) -> None:
        """Say that `count` more bytes were read."""
        self._step.done += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _REDRAW
            for sink in self._sinks:
                sink.moved(self._step, now)

    def say(self, text: str) -> None:
        """Tell what happens."""
        self._line("say", text)

    def warn(self, text: str) -> None:
        """Tell what the user should look at, though the work goes on."""
        self._line("warning", text)

    def error(self, text: str) -> None:
        """Tell why the work ended."""
        self._line("error", text)

    def hint(self, text: str) -> None:
        """Tell what to do about the error that was just told."""
        self._line("hint", text)

    def debug(self, text: str) -> None:
        """Tell what helps to understand a fault."""
        self._line("debug", text)

    def close(self) -> None:
        """Clear the terminal and close the log file. Nothing can be reported afterwards."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def _line(self, kind: str, text: str) -> None:
        for sink in self._sinks:
            sink.line(kind, text)

    def _begin(self, step: Step) -> None:
        self._steps.append(step)
        self._step = step
        for sink in self._sinks:
            sink.began(step)

    def _end(self, step: Step) -> None:
        now = time.monotonic()
        self._steps.remove(step)
        self._step = self._steps[-1]
        for sink in self._sinks:
            sink.ended(step, now)


def open_progress(
    level: int = NORMAL,
    log_file: Path | None = None,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> Progress:
    """Return a Progress that is shown as `stream` (default: standard error) allows, and in the log file.

    A terminal that can clear a line gets the moving line, anything else plain lines; quiet is plain lines without
    steps. Raises UsageError where the log file cannot be written.
    """
    stream = sys.stderr if stream is None else stream
    environ = os.environ if environ is None else environ
    sinks: list[Sink] = []
    if stream is not None:  # a process may be started with a closed standard error
        terminal = level > QUIET and stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        # https://no-color.org: set and not empty
        sinks.append(Terminal(stream, level, not environ.get("NO_COLOR")) if terminal else Lines(stream, level))
    if log_file is not None:
        sinks.append(LogFile(log_file, sinks))
    return Progress(*sinks)


class Lines:
    """Plain lines: a step's begin and end, and every ten seconds how far it is."""

    def __init__(self, stream: TextIO, level: int) -> None:
        self._stream: TextIO | None = stream
        self._level = level
        self._due = 0.0

    def line(self, kind: str, text: str) -> None:
        """Show a text, where the level allows."""
        if self._level >= _LEVELS[kind]:
            self._write(f"{_prefix(kind)}{safe(text)}\n")

    def began(self, step: Step) -> None:
        """Name the step."""
        self._due = step.began + _REPORT
        if self._level >= NORMAL:
            self._write(f"{'  ' * step.depth}{safe(step.name)}\n")

    def moved(self, step: Step, now: float) -> None:
        """Tell how far the step is, when ten seconds went by since a line told something."""
        if now >= self._due and self._level >= NORMAL:
            self._due = now + _REPORT
            self._write(f"{'  ' * step.depth}{safe(step.name)}: {', '.join(_position(step, now))}\n")

    def ended(self, step: Step, now: float) -> None:
        """Tell how long the step took."""
        if self._level >= NORMAL:
            self._write(f"{'  ' * step.depth}{safe(step.name)}: {_summary(step, now)}\n")

    def close(self) -> None:
        """Nothing stays behind."""

    def _write(self, text: str) -> None:
        """Write at once; that nobody reads any longer does not end the work."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


class Terminal(Lines):
    """One moving line below the lines that stay."""

    def __init__(self, stream: TextIO, level: int, color: bool) -> None:
        super().__init__(stream, level)
        self._color = color
        self._shown = False

    def line(self, kind: str, text: str) -> None:
        """Show a text above the moving line."""
        if self._level >= _LEVELS[kind]:
            prefix = _prefix(kind)
            if self._color and kind in _COLORS:
                prefix = f"\x1b[{_COLORS[kind]}m{prefix}\x1b[0m"
            self._clear()
            self._write(f"{prefix}{safe(text)}\n")

    def began(self, step: Step) -> None:
        """Show the step's name: its first bytes may take a while."""
        self._draw(_shorten(safe(step.name), self._width() - 1))

    def moved(self, step: Step, now: float) -> None:
        """Show as much as fits: a bar if the total is known, bytes, rate, and the time that is left or went by."""
        self._draw(_fit(step, _position(step, now), self._width() - 1))

    def ended(self, step: Step, now: float) -> None:
        """Take the line away; with --verbose tell how long the step took."""
        self._clear()
        if self._level >= VERBOSE:
            super().ended(step, now)

    def close(self) -> None:
        """Take the line away."""
        self._clear()

    def _draw(self, text: str) -> None:
        self._write(f"\r{text}\x1b[K")
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80 if self._stream else 80
        except (OSError, ValueError):
            return 80


class LogFile:
    """Everything, each line with its time, appended to a file.

    If it can no longer be written, the work continues, and the other sinks report it.
    """

    def __init__(self, path: Path, beside: Sequence[Sink] = ()) -> None:
        self._path, self._beside = path, tuple(beside)
        try:
            self._file: io.FileIO | None = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"--log-file {path} cannot be written: {error.strerror}") from error

    def line(self, kind: str, text: str) -> None:
        """Write a text, each of its lines."""
        for each in safe(text).splitlines():
            self._write(f"{kind:7} {each}")

    def began(self, step: Step) -> None:
        """Write that a step begins."""
        self._write(f"{'begin':7} {'  ' * step.depth}{safe(step.name)}")

    def moved(self, step: Step, now: float) -> None:
        """Nothing: the end of a step tells its bytes and time."""

    def ended(self, step: Step, now: float) -> None:
        """Write how long a step took."""
        self._write(f"{'end':7} {'  ' * step.depth}{safe(step.name)}: {_summary(step, now)}")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        try:
            self._file.write(f"{stamp}.{int(now * 1000) % 1000:03}Z {text}\n".encode())
        except OSError as error:
            self.close()
            for sink in self._beside:
                sink.line("warning", f"--log-file {self._path} cannot be written any longer: {error.strerror}")


def amount(count: float) -> str:
    """Return a number of bytes as people read it, in powers of 1000: "374.1 MB"."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def age(seconds: float) -> str:
    """Return a length of time as people read it: "36 h", "120 d"."""
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"


def _position(step: Step, now: float) -> list[str]:
    """Return how far a step is: bytes, rate, and the time that is left or went by."""
    elapsed = max(now - step.began, 1e-6)
    rate = step.done / elapsed
    if not step.total:
        return [amount(step.done), f"{amount(rate)}/s", _clock(elapsed)]
    left = max(step.total - step.done, 0) / rate if rate else 0
    share = min(100 * step.done // step.total, 100)
    return [f"{share} %", f"{amount(step.done)} of {amount(step.total)}", f"{amount(rate)}/s", f"{_clock(left)} left"]


def _fit(step: Step, parts: list[str], width: int) -> str:
    """Return one line of at most `width` columns: the rate goes first, then the bytes, the bar, and the time."""
    name, first, last = safe(step.name), parts[0], parts[-1]
    without_rate = [*parts[:-2], last]
    layouts = [(10, parts), (10, without_rate), (10, [first, last])] if step.total else []
    layouts += [(0, parts), (0, without_rate), (0, [first, last])] if not step.total else [(0, [first, last])]
    for bar, shown in layouts:
        text = "  ".join(shown)
        room = min(width - len(name) - len(text) - 2 - (4 if bar else 0), 40)
        if room >= bar:
            return f"{name}  {_bar(step, room)}{text}" if bar else f"{name}  {text}"
    return f"{_shorten(name, width - len(first) - 2)}  {first}"


def _bar(step: Step, length: int) -> str:
    full = min(length * step.done // (step.total or 1), length)
    return f"[{'#' * full}{'-' * (length - full)}]  "


def _shorten(text: str, length: int) -> str:
    """Return the start and the end of a string that is longer than `length` columns."""
    if len(text) <= length:
        return text
    half = max(length - 3, 0) // 2
    return f"{text[:half]}...{text[len(text) - half :]}"[: max(length, 0)]


def _summary(step: Step, now: float) -> str:
    elapsed = now - step.began
    size = f", {amount(step.done)}" if step.done else ""
    return f"{'failed after' if step.failed else 'done in'} {elapsed:.2f} s{size}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02}"


def _prefix(kind: str) -> str:
    return _PREFIXES.get(kind, f"lxcast: {kind}: ")


def safe(text: str) -> str:
    """Escape control characters: names out of an archive reach the terminal here."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
