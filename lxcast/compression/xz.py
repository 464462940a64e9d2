"""xz and bzip2, by the standard library."""

import bz2
import io
import lzma
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from lxcast.compression.stream import READ, Blocks, Readable

ERRORS = (lzma.LZMAError, OSError, EOFError)  # bz2 raises OSError for bad data

_BLOCK = 8 * 1024 * 1024


class _Streams:
    """xz data: streams, and behind each any number of zeros by fours (The .xz File Format, 2.2).

    lzma.LZMAFile passes over whatever comes behind a stream and begins none; `xz -dc`, and so Proxmox's tar, fails.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        self._rest = b""  # what was read and not decompressed

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`."""
        while not self._stream.eof or self._begin():
            data = b""
            if self._stream.needs_input:
                data, self._rest = self._rest or self._raw.read(READ), b""
                if not data:
                    raise EOFError("it ends within a stream")
            out = self._stream.decompress(data, len(buffer))
            if out:
                buffer[: len(out)] = out
                return len(out)
        return 0

    def _begin(self) -> bool:
        """Begin the next stream, where there is one."""
        padding, data = 0, self._stream.unused_data or self._raw.read(READ)
        while data:
            self._rest = data.lstrip(b"\0")
            padding += len(data) - len(self._rest)
            if self._rest:
                break
            data = self._raw.read(READ)
        if padding % 4:
            raise lzma.LZMAError(f"{padding} zeros behind a stream are no multiple of 4")
        if data:
            self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        return bool(data)


def reader(raw: io.BufferedReader) -> Readable:
    """Return the uncompressed stream of xz data."""
    return _Streams(raw)


def bzip2_reader(raw: io.BufferedReader) -> Readable:
    """Return the uncompressed stream of bzip2 data."""
    return bz2.BZ2File(raw)


class Compressor:
    """Blocks of a fixed size, each a stream of its own: xz and tar read them as one file."""

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
