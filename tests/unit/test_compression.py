"""Compressed streams against the programs that everybody has, cut and damaged ones, and the reader's thread."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
import zstandard

from lxcast.compression import Peeked, Prefetch, compress, decompress, describe, sniff
from lxcast.compression.stream import Compressor
from lxcast.errors import ArchiveError

FORMATS = ("zst", "gz", "xz", "tar")
KINDS = {"zst": "zstd", "gz": "gzip", "xz": "xz", "tar": "tar"}


def tar_like(size: int) -> bytes:
    """Return bytes that begin as a tar does; half of them are noise."""
    noise = random.Random(size)
    data = bytearray(b"ustar".rjust(262, b"\0").ljust(512, b"\0"))
    while len(data) < size:
        data += noise.randbytes(3000) + b"text that repeats itself " * 120
    return bytes(data[:size])


DATA = tar_like(9_000_000)
SMALL = tar_like(300_000)


def packed(data: bytes, format: str, *, threads: int = 2, small: bool = False, step: int = 1 << 20) -> bytes:
    out = io.BytesIO()
    compressor = compress(out, format, threads=threads, small=small)
    for at in range(0, len(data), step):
        compressor.write(memoryview(data)[at : at + step])
    compressor.finish()
    return out.getvalue()


def unpacked(data: bytes, see_window: Callable[[int], object] | None = None) -> bytes:
    stream = decompress(Peeked(io.BytesIO(data)), "the.tar", see_window)
    out, buffer = bytearray(), memoryview(bytearray(100_000))
    while got := stream.readinto(buffer):
        out += buffer[:got]
    return bytes(out)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(format: str, small: bool) -> None:
    data = packed(DATA, format, small=small)
    assert sniff(data[:512]) == KINDS[format]
    assert unpacked(data) == DATA


@pytest.mark.parametrize("command", [("zst", "zstd", "-dc"), ("gz", "gzip", "-dc"), ("xz", "xz", "-dc")])
def test_the_programs_read_what_is_written(command: tuple[str, ...]) -> None:
    format, *program = command
    if not shutil.which(program[0]):
        pytest.skip(f"{program[0]} is missing")
    told = subprocess.run(program, input=packed(DATA, format), capture_output=True)
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout == DATA


@pytest.mark.parametrize(
    "command",
    [
        "zstd -3",
        "zstd -19 --long=27 --no-check",
        "zstd --single-thread",
        "pzstd -p 2",
        "gzip -6",
        "pigz -9",
        "xz -1 -T2",
        "xz -0 -C none",
        "bzip2",
    ],
)
def test_what_the_programs_write_is_read(command: str) -> None:
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is missing")
    data = subprocess.run([*command.split(), "-c"], input=SMALL, capture_output=True, check=True).stdout
    assert unpacked(data) == SMALL


ONCE: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("kind", ONCE)
def test_joined_parts_are_one_stream(kind: str) -> None:
    parts = [SMALL[:100_000], b"", SMALL[100_000:100_001], SMALL[100_001:]]
    assert unpacked(b"".join(map(ONCE[kind], parts))) == SMALL


@pytest.mark.parametrize("kind", ONCE)
def test_no_bytes_can_be_asked_for_at_any_place(kind: str) -> None:
    stream = decompress(Peeked(io.BytesIO(ONCE[kind](b"abc"))), "x")
    buffer = memoryview(bytearray(10))
    read = [stream.readinto(buffer[:size]) for size in (0, 2, 0, 10, 0, 10)]
    assert (read, bytes(buffer[:1])) == ([0, 2, 0, 1, 0, 0], b"c")


def test_skippable_frames_are_skipped() -> None:
    frame = ONCE["zstd"]
    skippable = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skipped"
    assert unpacked(skippable + frame(SMALL[:5000]) + skippable + frame(SMALL[5000:]) + skippable) == SMALL


def test_zeros_by_fours_between_xz_streams_are_passed_over() -> None:
    """As `xz -dc` passes over them; more than one reading's worth of them, too."""
    zeros = bytes((2 << 20) + 4)
    assert unpacked(lzma.compress(SMALL[:5000]) + zeros + lzma.compress(SMALL[5000:]) + zeros) == SMALL


@pytest.mark.parametrize(
    ("kind", "behind"),
    [("xz", b"other data"), ("xz", bytes(511)), ("zstd", b"other data"), ("zstd", bytes(512)), ("gzip", b"other data")],
)
def test_what_is_no_stream_behind_one_is_an_error_as_the_programs_have_it(kind: str, behind: bytes) -> None:
    told = subprocess.run([kind, "-dc"], input=ONCE[kind](SMALL) + behind, capture_output=True)
    assert told.returncode != 0
    with pytest.raises(ArchiveError, match=f"its {kind} data"):
        unpacked(ONCE[kind](SMALL) + behind)


@pytest.mark.parametrize("kind", ONCE)
def test_a_cut_stream_is_an_error(kind: str) -> None:
    """At each of the first and last bytes and at some between; no bytes at all are an empty file."""
    whole = ONCE[kind](SMALL)
    ends = [*range(8, 40), *range(1000, len(whole), len(whole) // 17), *range(len(whole) - 40, len(whole))]
    for end in ends:
        with pytest.raises(ArchiveError, match=rf"the\.tar: its {kind} data is truncated or corrupt"):
            unpacked(whole[:end])


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_a_cut_second_part_is_an_error(kind: str) -> None:
    first, second = ONCE[kind](SMALL), ONCE[kind](SMALL)
    for end in (len(second) - 1, len(second) // 2, 20, 12):
        with pytest.raises(ArchiveError, match=f"its {kind} data"):
            unpacked(first + second[:end])


@pytest.mark.parametrize("kind", ONCE)
def test_a_damaged_stream_is_an_error(kind: str) -> None:
    whole = bytearray(ONCE[kind](SMALL))
    for at in range(len(whole) // 3, len(whole) - 30, len(whole) // 11):
        damaged = whole.copy()
        damaged[at] ^= 0x55
        with pytest.raises(ArchiveError, match=f"its {kind} data"):
            unpacked(bytes(damaged))


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_depend_on_neither_threads_nor_the_size_of_writes(format: str) -> None:
    data = DATA
    expected = packed(data, format, threads=1)
    for threads in (2, 3, 4, 8) if format != "xz" else (3,):
        assert packed(data, format, threads=threads) == expected, f"{threads} threads"
    for step in (4097, len(data)):
        assert packed(data, format, step=step) == expected, f"writes of {step} bytes"


def test_no_format_holds_the_time() -> None:
    first = [packed(SMALL, format) for format in FORMATS]
    time.sleep(1.1)
    assert [packed(SMALL, format) for format in FORMATS] == first


def test_what_is_no_archive_is_told() -> None:
    with pytest.raises(ArchiveError, match="not a tar archive") as caught:
        decompress(Peeked(io.BytesIO(b"PK\3\4" + bytes(600))), "a.zip")
    assert "tar.zst" in caught.value.hint
    with pytest.raises(ArchiveError, match=r"a\.tar: is empty"):
        decompress(Peeked(io.BytesIO(b"")), "a.tar")


def test_the_window_of_every_frame_is_told() -> None:
    seen: list[int] = []
    frames = (packed(SMALL, "zst"), zstandard.ZstdCompressor().compress(SMALL), packed(DATA, "zst"))
    unpacked(b"".join(frames), seen.append)
    assert seen == [24, (len(SMALL) - 1).bit_length(), 24]
    with pytest.raises(ArchiveError, match="its zstd data"):
        unpacked(frames[0] + b"\x28\xb5\x2f\xfd" + b"\xff" * 600)


@pytest.mark.parametrize("format", FORMATS)
def test_what_compresses_is_told(format: str) -> None:
    assert re.search(r"\d" if format != "tar" else "none", describe(format))


class Broken:
    """Gives some bytes, then fails."""

    def __init__(self, error: BaseException) -> None:
        self.left, self.error = 3, error

    def readinto(self, buffer: memoryview, /) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        buffer[:10] = b"0123456789"
        return 10


@pytest.mark.parametrize("error", [ArchiveError("cut"), OSError("gone"), MemoryError()])
def test_what_the_thread_meets_is_raised_to_the_reader_each_time(error: BaseException) -> None:
    ahead = Prefetch(Broken(error))
    for _ in range(2):
        with pytest.raises(type(error)):
            ahead.exchange(b"")
    ahead.close()


def test_reading_ahead_gives_the_same_bytes_and_stays_at_the_end() -> None:
    ahead = Prefetch(io.BytesIO(DATA))
    out, rest = bytearray(), b""
    while len(chunk := ahead.exchange(rest)) > len(rest):
        out += chunk[:-1000]
        rest = bytes(chunk[-1000:])
    assert out + rest == DATA
    assert not len(ahead.exchange(b""))
    ahead.close()


def ended(before: set[threading.Thread]) -> bool:
    """Whether every thread that began since then ends."""
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    return set(threading.enumerate()) <= before


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    ahead = Prefetch(io.BytesIO(DATA))
    ahead.exchange(b"")
    ahead.close()
    assert ended(before)


def test_a_silent_pipe_does_not_hold_up_the_end() -> None:
    before = set(threading.enumerate())
    reader, writer = os.pipe()
    with io.FileIO(reader) as silent:
        ahead = Prefetch(silent)
        ahead.close()
        os.close(writer)
        assert ended(before)


class Full(io.RawIOBase):
    """A disk that is full after some bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1_000_000

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type] # whatever holds bytes
        self.left -= size
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return size


def fill(compressor: Compressor) -> None:
    for seed in range(20):
        compressor.write(random.Random(seed).randbytes(1 << 20))
    compressor.finish()


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_raised(format: str) -> None:
    with pytest.raises(OSError, match="No space left"):
        fill(compress(Full(), format, threads=2))  # type: ignore[arg-type] # all that a compressor asks for
