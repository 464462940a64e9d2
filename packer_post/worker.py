"""The main thread's work, and its interruption: only the main thread of a Python process can be interrupted."""

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

from lxcast.interrupt import Interrupted


class Worker:
    """Runs in the main thread what other threads ask for. Once cancelled, what runs and what comes is Interrupted."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._cancelled = False
        self._interruptible = False
        # Ctrl-C reaches the whole group of processes, and Packer, which says Cancel then, waits for the answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._interrupt)

    def run(self) -> None:
        """Work until `stop`; called by the main thread."""
        while (work := self._asked.get()) is not None:
            work()

    def do(self, work: Callable[[], None]) -> BaseException | None:
        """Have the work done, wait for its end, and return what it raised."""
        raised: SimpleQueue[BaseException | None] = SimpleQueue()

        def run() -> None:
            try:
                try:
                    self._interruptible = True
                    if self._cancelled:
                        raise Interrupted(signal.SIGTERM)
                    work()
                finally:
                    self._interruptible = False
            except BaseException as error:
                raised.put(error)
            else:
                raised.put(None)

        self._asked.put(run)
        return raised.get()

    def cancel(self) -> None:
        """Interrupt what runs, so that it cleans up, and let nothing begin."""
        self._cancelled = True
        main = threading.main_thread().ident
        assert main is not None
        # The signal that other code holds back where it must not be interrupted.
        signal.pthread_kill(main, signal.SIGTERM)

    def stop(self) -> None:
        """Cancel, and let `run` return."""
        self.cancel()
        self._asked.put(None)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._cancelled and self._interruptible:
            self._interruptible = False
            raise Interrupted(number)
