"""gzip, by python-isal: several times as fast as zlib."""

import io
from collections.abc import Callable
from importlib.metadata import version as installed
from typing import BinaryIO

from isal import igzip, igzip_threaded, isal_zlib

from lxcast.compression.stream import READ, Blocks, Readable

ERRORS: tuple[type[Exception], ...] = (
    igzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment] # its stub says that this class is an object
    EOFError,
)


def reader(raw: io.BufferedReader) -> Readable:
    """Return the uncompressed stream."""
    stream: Readable = igzip.IGzipFile(fileobj=raw, mode="rb")  # type: ignore[no-untyped-call] # isal has no types
    return stream


class Compressor:
    """Writes one member, without a time in its header."""

    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        open_threaded: Callable[..., BinaryIO] = igzip_threaded.open
        self._stream: BinaryIO = open_threaded(out, "wb", compresslevel=_level(small), threads=threads, block_size=READ)
        self._blocks = Blocks(READ, self._stream.write)
        self.write = self._blocks.write

    def finish(self) -> None:
        """End the member."""
        self._blocks.finish()
        self._stream.close()


def describe(small: bool) -> str:
    """Name the library, its version and the settings."""
    return f"isal {installed('isal')}, level {_level(small)}"


def _level(small: bool) -> int:
    return 3 if small else 1
