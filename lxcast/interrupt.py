"""Ctrl-C and SIGTERM as an exception, so that every context manager on the way out cleans up."""

import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The process was asked to end; not an Exception, so that no error handler catches it."""

    def __init__(self, number: int, hint: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """As a shell reports a command that died of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        self.hint = hint
        """How to continue with what is kept; "" if nothing is."""
        self._number = number

    def with_hint(self, hint: str) -> "Interrupted":
        """Return a copy with a hint."""
        return Interrupted(self._number, hint)


def raise_on_signals() -> None:
    """Make SIGINT, SIGTERM and SIGHUP raise Interrupted in the main thread, once: the cleaning up is not interrupted.

    A signal that the parent ignores (nohup, a shell's background job) stays ignored. SIGQUIT still ends at once.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)
