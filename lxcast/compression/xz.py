"""xz and bzip2, by the standard library."""

import bz2
import io
import lzma
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from lxcast.compression.stream import Blocks, Readable

ERRORS = (lzma.LZMAError, OSError, EOFError)  # bz2 raises OSError for bad data

_BLOCK = 8 * 1024 * 1024


def reader(raw: io.BufferedReader) -> Readable:
    """Return the uncompressed stream of xz data."""
    return lzma.LZMAFile(raw)


def bzip2_reader(raw: io.BufferedReader) -> Readable:
    """Return the uncompressed stream of bzip2 data."""
    return bz2.BZ2File(raw)


class Compressor:
    """Blocks of a fixed size, each a stream of its own: xz and tar read them as one file, whoever compressed them."""

    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        self._out, self._preset, self._threads = out, _preset(small), threads
        self._pool = ThreadPoolExecutor(threads)
        self._running: deque[Future[bytes]] = deque()
        self._blocks = Blocks(_BLOCK, self._submit)
        self.write = self._blocks.write

    def _submit(self, block: bytearray) -> None:
        if len(self._running) >= self._threads:
            self._out.write(self._running.popleft().result())
        self._running.append(self._pool.submit(lzma.compress, block, preset=self._preset))

    def finish(self) -> None:
        """Compress the last block and write all that are under way."""
        self._blocks.finish()
        while self._running:
            self._out.write(self._running.popleft().result())
        self._pool.shutdown()


def describe(small: bool) -> str:
    """Name the library and the settings; its version Python does not tell."""
    return f"liblzma, preset {_preset(small)}, blocks of {_BLOCK >> 20} MiB"


def _preset(small: bool) -> int:
    return 6 if small else 3
