"""zstd, by python-zstandard."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from lxcast.compression.stream import READ, Readable, is_skippable

if TYPE_CHECKING:
    from lxcast.compression.stream import Buffer

ERRORS = (zstandard.ZstdError, EOFError)

MAGIC = b"\x28\xb5\x2f\xfd"

# 16 MiB of long-distance window catch the duplicates of package data that lie apart, need 20 MB at the decoder, and
# stay far below the 128 MiB that zstd refuses by default (and so Proxmox's tar --zstd). A fixed job size makes the
# output independent of the number of threads.
_WINDOW_LOG = 24
_JOB = 2 * 1024 * 1024

# Eight places in each bucket of the long-distance hashes, as zstd 1.5.4 has unasked (1.5.7: sixteen): a root filesystem
# grows by 0.02 %, and small files take a fifth less wall time, for no two threads share that search.
_BUCKET_LOG = 3


class _Frames(io.RawIOBase):
    """Passes zstd data on and follows its frames (RFC 8878, 3.1): the library takes a cut frame for a finished one."""

    def __init__(self, raw: io.BufferedReader, see_window: Callable[[int], object] | None) -> None:
        super().__init__()
        self._raw, self._see_window = raw, see_window
        self._skip = 0  # bytes until the next header
        self._header = b""
        self._next: Callable[[bytes], None] = self._magic
        self._wanted = 4
        self._checksum = 0
        self._flags = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        got = self._raw.readinto(buffer)
        if not got and (self._skip or self._header or self._next != self._magic):
            raise EOFError("it ends within a frame")
        self._follow(memoryview(buffer)[:got])
        return got

    def _follow(self, data: memoryview) -> None:
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            part = data[at : at + self._wanted - len(self._header)]
            self._header += part
            at += len(part)
            if len(self._header) == self._wanted:
                header, self._header = self._header, b""
                self._next(header)

    def _magic(self, header: bytes) -> None:
        if header == MAGIC:
            self._expect(self._descriptor, 1)
        elif is_skippable(header):
            self._expect(self._skippable, 4)
        else:
            raise EOFError(f"behind a frame comes {header.hex(' ')}, which begins none")

    def _skippable(self, header: bytes) -> None:
        self._skip = int.from_bytes(header, "little")
        self._expect(self._magic, 4)

    def _descriptor(self, header: bytes) -> None:
        flags = header[0]
        single = flags >> 5 & 1
        self._checksum = 4 * (flags >> 2 & 1)
        self._flags = header
        self._expect(self._window, (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6])

    def _window(self, rest: bytes) -> None:
        size = zstandard.get_frame_parameters(MAGIC + self._flags + rest).window_size
        if self._see_window:
            self._see_window(max(size - 1, 0).bit_length())
        self._expect(self._block, 3)

    def _block(self, header: bytes) -> None:
        value = int.from_bytes(header, "little")
        self._skip = 1 if value >> 1 & 3 == 1 else value >> 3  # a run is one byte, however long
        if value & 1:
            self._skip += self._checksum
            self._expect(self._magic, 4)

    def _expect(self, what: Callable[[bytes], None], wanted: int) -> None:
        self._next, self._wanted = what, wanted


def reader(raw: io.BufferedReader, see_window: Callable[[int], object] | None = None) -> Readable:
    """Return the uncompressed stream; `see_window` as for `decompress`."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frames = io.BufferedReader(_Frames(raw, see_window), READ)
    return decompressor.stream_reader(frames, read_size=READ, read_across_frames=True)


class Compressor:
    """Writes one frame."""

    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _level(small),
            window_log=_WINDOW_LOG,
            enable_ldm=True,
            ldm_bucket_size_log=_BUCKET_LOG,
            threads=threads,
            job_size=_JOB,
            write_checksum=True,
            write_content_size=False,
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._stream = compressor.stream_writer(out, write_size=128 * 1024, closefd=False)
        self._end_of_frame = zstandard.FLUSH_FRAME
        self.write = self._stream.write

    def finish(self) -> None:
        """End the frame."""
        self._stream.flush(self._end_of_frame)


def describe(small: bool) -> str:
    """Name the library, its version and the settings."""
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    window = f"long window {_WINDOW_LOG} (buckets of {1 << _BUCKET_LOG})"
    return f"zstd {version}, level {_level(small)}, {window}, jobs of {_JOB >> 20} MiB"


def _level(small: bool) -> int:
    return 9 if small else 3
