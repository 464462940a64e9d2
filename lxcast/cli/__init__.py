"""The command line: parse, call a job, print, exit. Standard output is data, standard error is talk."""

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from lxcast.interrupt import Interrupted, raise_on_signals

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command of sys.argv and exit with its code.

    0, or what `lxcast.errors` gives each class of errors; 1 where `diff` or a pin's `--check` finds a difference; 129,
    130 and 143 after SIGHUP, Ctrl-C and SIGTERM; 141 where standard output was closed, as a program that died of
    SIGPIPE.
    """
    gc.disable()  # a command ends before its few cycles weigh anything, and looking for them takes a tenth of its start
    raise_on_signals()
    try:
        from lxcast.cli.app import run  # from here on an interrupt prints no traceback

        code = run(sys.argv[1:])
    except Interrupted as interrupt:
        code = interrupt.exit_code
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process without tearing down its objects, which takes a tenth of a second after a large build."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed when the command started, or nobody reads
            stream.flush()
    os._exit(code)
