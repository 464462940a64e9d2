"""What the formats have in common: streams to read from, compressors to write to."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from lxcast.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Buffer: TypeAlias = WriteableBuffer

READ = 1024 * 1024
"""Bytes that are asked for at once."""


def is_skippable(start: bytes) -> bool:
    """Tell whether data begins with a skippable frame (RFC 8878, 3.1.2), with which pzstd begins its files."""
    return start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5


class Readable(Protocol):
    """A stream of bytes that fills buffers."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of `buffer`; return how many bytes, 0 at the end."""


class Compressor(Protocol):
    """Takes bytes in order; `finish` writes what is left, but does not close what it writes to."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take the next bytes."""

    def finish(self) -> None:
        """Write what is left."""


class Peeked(io.RawIOBase):
    """A stream whose first 512 bytes (or all of a shorter one) were looked at in `start`, and are read all the same."""

    def __init__(self, raw: Readable) -> None:
        super().__init__()
        self._raw = raw
        start = bytearray(512)
        view, got = memoryview(start), 0
        while got < 512 and (more := raw.readinto(view[got:])):
            got += more
        self.start = bytes(start[:got])
        self._left = self.start

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill the start of `buffer`."""
        view = memoryview(buffer)
        if not self._left:
            return self._raw.readinto(view) or 0
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class Decompressed:
    """Maps what a library raises for bad data to one error that names the archive."""

    def __init__(self, raw: Readable, errors: tuple[type[Exception], ...], kind: str, name: str) -> None:
        self._raw, self._errors, self._kind, self._name = raw, errors, kind, name

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`. Raises ArchiveError."""
        if not len(buffer):
            return 0  # liblzma and libzstd call it an error
        try:
            return self._raw.readinto(buffer) or 0
        except self._errors as error:
            raise ArchiveError(
                f"{self._name}: its {self._kind} data is truncated or corrupt: {error}",
                hint="write it again: the copy was cut off or damaged",
            ) from error


class Blocks:
    """Cuts what is written into blocks of one size: a compressor's output must not depend on how much comes at once."""

    def __init__(self, size: int, take: Callable[[bytearray], object]) -> None:
        self._size, self._take = size, take
        self._block, self._filled = bytearray(size), 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes; the receiver owns a block that is passed on."""
        view = memoryview(data)
        while len(view):
            end = min(self._filled + len(view), self._size)
            count = end - self._filled
            self._block[self._filled : end] = view[:count]
            view, self._filled = view[count:], end
            if end == self._size:
                self._take(self._block)
                self._block, self._filled = bytearray(self._size), 0

    def finish(self) -> None:
        """Pass on the rest."""
        if self._filled:
            self._take(self._block[: self._filled])
            self._filled = 0


class Plain:
    """No compression."""

    def __init__(self, out: BinaryIO) -> None:
        self.write: Callable[[bytes | memoryview], object] = out.write

    def finish(self) -> None:
        """Do nothing: nothing is held back."""
