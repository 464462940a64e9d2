"""One run's standard output and error, and the one place that turns what went wrong into a message and an exit code."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lxcast.errors import LxcastError
from lxcast.identifiers import one_line
from lxcast.progress import DEBUG, NORMAL, Progress, open_progress, safe


class Console:
    """Where a run is heard; `json` says that standard output is to hold one JSON document, also of an error."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.json = as_json
        self.level = NORMAL
        self.log_file: Path | None = None
        self._done: dict[str, Any] = {}
        self._progress: Progress | None = None

    @property
    def progress(self) -> Progress:
        """What the jobs speak to; made when it is first asked for, with the options that hold then."""
        if self._progress is None:
            self._progress = open_progress(self.level, self.log_file)
        return self._progress

    @property
    def interactive(self) -> bool:
        """Whether a person reads standard error and wants more than warnings."""
        return self.level >= NORMAL and sys.stderr is not None and sys.stderr.isatty()

    def out(self, text: str) -> None:
        """Write lines to standard output, control characters escaped.

        Raises SystemExit(141) where nobody reads any longer, and LxcastError where the output cannot take them.
        """
        try:
            encoding = sys.stdout.encoding or "utf-8"
            # As standard error does: in a locale that lacks a name's characters the rest of the answer still comes.
            sys.stdout.write(safe(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stdout.flush()
        except OSError as error:
            # What is left in the buffer must not raise again when the interpreter closes it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                sys.exit(141)
            raise LxcastError(f"standard output cannot be written: {error}") from error
        except AttributeError as error:  # standard output was closed when the command started
            raise LxcastError(f"standard output cannot be written: {error}") from error

    def document(self, content: dict[str, Any], error: Exception | None = None) -> None:
        """Write a JSON document with its schema number; where there is an error raise that, which is told with it."""
        if error:
            self._done = content
            raise error
        self.out(json.dumps({"schema": 1, **content}, indent=2))

    def fail(self, error: Exception, message: str, hint: str, exit_code: int) -> int:
        """Tell what failed and what to do next; return the exit code."""
        talk = self._talk()
        talk.error(message)
        if hint:
            talk.hint(hint)
        if self.json:
            told = {"class": type(error).__name__, "message": message, "hint": hint, "exit_code": exit_code}
            with suppress(LxcastError):  # standard output itself may be what failed
                self.document({**self._done, "error": told})
        return exit_code

    def crash(self, error: Exception) -> int:
        """Tell of an exception that nobody foresaw; the traceback is for --debug and the log file."""
        import traceback

        talk = self._talk()
        talk.debug("".join(traceback.format_exception(error)).rstrip())
        hint = "this is a fault of lxcast itself: please report it to the project"
        if self.level < DEBUG:
            hint += ", with what `--debug` prints"
        return self.fail(error, f"unexpected {type(error).__name__}: {error}", hint, 1)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._progress is not None:
            self._progress.close()

    def _talk(self) -> Progress:
        """Return what errors are told to, also where the log file is the error."""
        try:
            return self.progress
        except LxcastError:
            self.log_file = None
            return self.progress


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Align the cells of rows, two spaces between them and none behind the last; each row is one line."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
