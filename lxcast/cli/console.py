"""Standard output and standard error of one run."""

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
    """The output of a run. With `json`, standard output has one JSON document, also for an error."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.json = as_json
        self.level = NORMAL
        self.log_file: Path | None = None
        self._done: dict[str, Any] = {}
        self._progress: Progress | None = None

    @property
    def progress(self) -> Progress:
        """The progress that jobs report to; created at first use, with the options set by then."""
        if self._progress is None:
            self._progress = open_progress(self.level, self.log_file)
        return self._progress

    @property
    def interactive(self) -> bool:
        """Whether standard error is a terminal, and more than warnings are shown."""
        return self.level >= NORMAL and sys.stderr is not None and sys.stderr.isatty()

    def out(self, text: str) -> None:
        """Write lines to standard output, control characters escaped.

        Raises SystemExit(141) if the reader closed it, and LxcastError if it cannot be written.
        """
        try:
            encoding = sys.stdout.encoding or "utf-8"
            # As standard error does: characters that the locale lacks do not stop the rest of the output.
            sys.stdout.write(safe(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stdout.flush()
        except OSError as error:
            # The rest of the buffer must not raise again when the interpreter closes it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                sys.exit(141)
            raise LxcastError(f"standard output cannot be written: {error}") from error
        except AttributeError as error:  # standard output was closed when the command started
            raise LxcastError(f"standard output cannot be written: {error}") from error

    def document(self, content: dict[str, Any], error: Exception | None = None) -> None:
        """Write a JSON document with its schema number; with an error, raise it, and `fail` writes both."""
        if error:
            self._done = content
            raise error
        self.out(json.dumps({"schema": 1, **content}, indent=2))

    def fail(self, error: Exception, message: str, hint: str, exit_code: int) -> int:
        """Print an error and its hint; return the exit code."""
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
        """Print an unexpected exception; the traceback goes to --debug and the log file."""
        self.trace(error)
        hint = "this is a bug in lxcast: please report it to the project"
        if self.level < DEBUG:
            hint += ", with the output of `--debug`"
        return self.fail(error, f"unexpected {type(error).__name__}: {error}", hint, 1)

    def trace(self, error: Exception) -> None:
        """Show the traceback with --debug, and write it to the log file."""
        import traceback  # start-up time

        self._talk().debug("".join(traceback.format_exception(error)).rstrip())

    def close(self) -> None:
        """Clear the progress bar."""
        if self._progress is not None:
            self._progress.close()

    def _talk(self) -> Progress:
        """Return the progress for errors, even if the log file is the error."""
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
