"""Reading ahead in a thread."""

import threading
from queue import SimpleQueue

from lxcast.compression.stream import READ, Readable


class Prefetch:
    """Reads ahead in a thread: decompression, or an engine's export, runs beside what is done with the bytes."""

    def __init__(self, raw: Readable, buffers: int = 3) -> None:
        self._raw = raw
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(bytearray(READ))
        self._current: bytearray | None = None
        self._at = self._end = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lxcast-read", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (buffer := self._free.get()) is not None and not self._closed:
                view, got = memoryview(buffer), 0
                while got < len(buffer) and (more := self._raw.readinto(view[got:])):
                    got += more
                self._full.put((buffer, got))
                if not got:
                    return
        except BaseException as error:
            self._full.put(error)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`; what the thread met is raised here."""
        if self._at == self._end:
            if self._current is not None:
                if not self._end:
                    return 0
                self._free.put(self._current)
                self._current = None
            item = self._full.get()
            if isinstance(item, BaseException):
                self._full.put(item)
                raise item
            (self._current, self._end), self._at = item, 0
        assert self._current is not None
        count = min(len(buffer), self._end - self._at)
        buffer[:count] = memoryview(self._current)[self._at : self._at + count]
        self._at += count
        return count

    def close(self) -> None:
        """End the thread; one that waits for a silent pipe is left to the end of the process."""
        self._closed = True
        self._free.put(None)
        self._thread.join(timeout=1)
