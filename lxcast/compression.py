"""Compressed streams: told by their first bytes, read, and written so that the same input gives the same bytes.

zstd and lzma release the interpreter's lock while they work, isal's threads as well: a compressor here costs the
reading thread nothing but the hand-over.
"""

import bz2
import io
import lzma
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, Protocol

from lxcast.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_MAGIC = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)

READ = 1024 * 1024

# 16 MiB of long-distance window catch the duplicates of package data that lie apart, need 20 MB at the decoder, and
# stay far below the 128 MiB that zstd refuses by default (and so Proxmox's tar --zstd). A fixed job size makes the
# output independent of the number of threads.
_WINDOW_LOG = 24
_JOB = 4 * 1024 * 1024

_XZ_BLOCK = 8 * 1024 * 1024


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


def sniff(start: bytes) -> str:
    """Name the compression that the first 512 bytes show: "zstd", "gzip", "xz", "bzip2", "tar", or "" for none."""
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    looks_like_tar = start[257:262] == b"ustar" or (len(start) >= 512 and start[148:156].strip(b" \0").isdigit())
    return "tar" if looks_like_tar or (len(start) >= 512 and not any(start)) else ""


def window_log(start: bytes) -> int:
    """Return the base-2 logarithm of a zstd frame's window, rounded up. Raises ArchiveError for a bad frame header."""
    import zstandard

    try:
        return max(zstandard.get_frame_parameters(start).window_size - 1, 0).bit_length()
    except zstandard.ZstdError as error:
        raise ArchiveError(f"zstd frame header is malformed: {error}") from error


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


def decompress(peeked: Peeked, name: str) -> Readable:
    """Return the uncompressed stream of what `peeked` holds, told by its content; `name` is for messages.

    Raises ArchiveError at once for content of no known kind, and while reading for corrupt or truncated data.
    """
    kind = sniff(peeked.start)
    if kind == "tar":
        return peeked
    if kind == "":
        if not peeked.start:
            raise ArchiveError(f"{name}: is empty", hint="the step that should have written it failed")
        raise ArchiveError(
            f"{name}: is no tar archive, compressed or not: it begins with {peeked.start[:8].hex(' ')}",
            hint="lxcast reads tar, tar.gz, tar.xz, tar.zst and tar.bz2, told by their content",
        )
    return _Decompressed(_DECOMPRESSORS[kind](io.BufferedReader(peeked, READ)), kind, name)


class _ZstdFrames(io.RawIOBase):
    """Passes zstd data on and follows its frames (RFC 8878, 3.1): the library takes a cut frame for a finished one."""

    def __init__(self, raw: io.BufferedReader) -> None:
        super().__init__()
        self._raw = raw
        self._skip = 0  # bytes until the next header
        self._header = b""
        self._next: Callable[[bytes], None] = self._magic
        self._wanted = 4
        self._checksum = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        got = self._raw.readinto(buffer)
        if not got and (self._skip or self._header or self._next != self._magic):
            raise EOFError("it ends within a frame")
        self._follow(bytes(memoryview(buffer)[:got]))
        return got

    def _follow(self, data: bytes) -> None:
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
        if header == _MAGIC[0][0]:
            self._expect(self._descriptor, 1)
        else:
            self._expect(self._skippable, 4)  # 0x184D2A5?; the library refuses anything else

    def _skippable(self, header: bytes) -> None:
        self._skip = int.from_bytes(header, "little")
        self._expect(self._magic, 4)

    def _descriptor(self, header: bytes) -> None:
        flags = header[0]
        single = flags >> 5 & 1
        self._checksum = 4 * (flags >> 2 & 1)
        self._skip = (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        self._expect(self._block, 3)

    def _block(self, header: bytes) -> None:
        value = int.from_bytes(header, "little")
        self._skip = 1 if value >> 1 & 3 == 1 else value >> 3  # a run is one byte, however long
        if value & 1:
            self._skip += self._checksum
            self._expect(self._magic, 4)

    def _expect(self, what: Callable[[bytes], None], wanted: int) -> None:
        self._next, self._wanted = what, wanted


def _read_zstd(raw: io.BufferedReader) -> Readable:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frames = io.BufferedReader(_ZstdFrames(raw), READ)
    return decompressor.stream_reader(frames, read_size=READ, read_across_frames=True)


def _read_gzip(raw: io.BufferedReader) -> Readable:
    from isal import igzip

    stream: Readable = igzip.IGzipFile(fileobj=raw, mode="rb")  # type: ignore[no-untyped-call] # isal has no types
    return stream


def _read_xz(raw: io.BufferedReader) -> Readable:
    return lzma.LZMAFile(raw)


def _read_bzip2(raw: io.BufferedReader) -> Readable:
    return bz2.BZ2File(raw)


_DECOMPRESSORS: dict[str, Callable[[io.BufferedReader], Readable]] = {
    "zstd": _read_zstd,
    "gzip": _read_gzip,
    "xz": _read_xz,
    "bzip2": _read_bzip2,
}


class _Decompressed:
    """Maps what the libraries raise to one error that names the archive."""

    def __init__(self, raw: Readable, kind: str, name: str) -> None:
        self._raw, self._kind, self._name = raw, kind, name

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return self._raw.readinto(buffer) or 0
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            cause: Exception = error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("zstandard", "zstd", "isal"):
                raise
            cause = error
        raise ArchiveError(
            f"{self._name}: its {self._kind} data is truncated or corrupt: {cause}",
            hint="write it again: the copy was cut off or damaged",
        ) from cause


class _Zstd:
    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(
            9 if small else 3,
            window_log=_WINDOW_LOG,
            enable_ldm=True,
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
        self._stream.flush(self._end_of_frame)


class _Gzip:
    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        from isal import igzip_threaded

        open_threaded: Callable[..., BinaryIO] = igzip_threaded.open
        self._stream: BinaryIO = open_threaded(
            out, "wb", compresslevel=3 if small else 2, threads=threads, block_size=READ
        )
        self.write: Callable[[bytes | memoryview], object] = self._stream.write

    def finish(self) -> None:
        self._stream.close()


class _Xz:
    """Blocks of a fixed size, each a stream of its own: xz and tar read them as one file, whoever compressed them."""

    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        self._out, self._preset, self._threads = out, 6 if small else 3, threads
        self._pool = ThreadPoolExecutor(threads)
        self._running: deque[Future[bytes]] = deque()
        self._block = bytearray()

    def write(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data)
        while len(view):
            part = view[: _XZ_BLOCK - len(self._block)]
            self._block += part
            view = view[len(part) :]
            if len(self._block) == _XZ_BLOCK:
                self._submit()

    def _submit(self) -> None:
        if len(self._running) >= self._threads:
            self._out.write(self._running.popleft().result())
        self._running.append(self._pool.submit(lzma.compress, bytes(self._block), preset=self._preset))
        self._block.clear()

    def finish(self) -> None:
        if self._block:
            self._submit()
        while self._running:
            self._out.write(self._running.popleft().result())
        self._pool.shutdown()


class _Plain:
    def __init__(self, out: BinaryIO, small: bool, threads: int) -> None:
        self.write: Callable[[bytes | memoryview], object] = out.write

    def finish(self) -> None:
        pass


_COMPRESSORS: dict[str, Callable[[BinaryIO, bool, int], Compressor]] = {
    "zst": _Zstd,
    "gz": _Gzip,
    "xz": _Xz,
    "tar": _Plain,
}


def compress(out: BinaryIO, format: str, *, small: bool = False, threads: int = 0) -> Compressor:
    """Return a compressor that writes to `out`; `format` is "zst", "gz", "xz" or "tar", 0 threads are all cores.

    The bytes depend on the format, `small` and the library's version alone.
    """
    return _COMPRESSORS[format](out, small, threads or os.cpu_count() or 1)


def version(format: str) -> str:
    """Name the library that compresses, with its version: the bytes of a template depend on it."""
    if format == "zst":
        import zstandard

        return "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
    if format == "gz":
        from importlib.metadata import version as installed

        return f"isal {installed('isal')}"
    return "liblzma" if format == "xz" else ""
