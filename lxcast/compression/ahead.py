"""Reading ahead in a thread."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from lxcast.compression.stream import READ, Readable

ROOM = 64 * 1024
"""Bytes that a reader may have left when it asks for more."""


class Prefetch:
    """Reads ahead in a thread: decompression, or an engine's export, runs in parallel to the use of the bytes.

    `observe` is called with the bytes when they are handed out, in the thread of who asks for them.
    """

    def __init__(self, raw: Readable, observe: Callable[[memoryview], None] | None = None, buffers: int = 3) -> None:
        self._raw, self._observe = raw, observe
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(bytearray(ROOM + READ))
        self._current: bytearray | None = None
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._run, name="lxcast-read", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (buffer := self._free.get()) is not None and not self._closed:
                view, end = memoryview(buffer), ROOM
                while end < len(buffer) and (more := self._raw.readinto(view[end:])):
                    end += more
                self._full.put((buffer, end))
                if end == ROOM:
                    return
        except BaseException as error:
            self._full.put(error)

    def exchange(self, rest: memoryview | bytes) -> memoryview:
        """Return `rest`, at most ROOM bytes, and what comes behind it; nothing more comes at the end.

        The bytes are the caller's, to read and to write, until the next call. What the thread met is raised here.
        """
        left = len(rest)
        if self._ended:
            return memoryview(rest)
        item = self._full.get()
        if isinstance(item, BaseException):
            self._full.put(item)
            raise item
        buffer, end = item
        self._ended = end == ROOM
        view = memoryview(buffer)[ROOM - left : end]
        view[:left] = rest
        if self._observe is not None:
            self._observe(view[left:])
        if self._current is not None:
            self._free.put(self._current)
        self._current = buffer
        return view

    def close(self) -> None:
        """End the thread; one that waits for a silent pipe is left to the end of the process."""
        self._closed = True
        self._free.put(None)
        self._thread.join(timeout=1)
