"""Compressed streams: detected by their first bytes, read, and written so that the same input gives the same bytes.

zstd and lzma release the interpreter's lock while they work, isal's threads as well: a compressor here costs the
reading thread nothing but the hand-over. A format's library is imported when it is needed.
"""

import io
import os
from collections.abc import Callable
from typing import BinaryIO

from lxcast.compression.ahead import Prefetch
from lxcast.compression.stream import READ, Compressor, Decompressed, Peeked, Plain, Readable, is_skippable
from lxcast.errors import ArchiveError

__all__ = [
    "Compressor",
    "Peeked",
    "Prefetch",
    "Readable",
    "compress",
    "decompress",
    "describe",
    "sniff",
]

_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}


def sniff(start: bytes) -> str:
    """Name the compression that the first 512 bytes show: "zstd", "gzip", "xz", "bzip2", "tar", or "" for none."""
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            return name
    if is_skippable(start):
        return "zstd"
    looks_like_tar = start[257:262] == b"ustar" or (len(start) >= 512 and start[148:156].strip(b" \0").isdigit())
    return "tar" if looks_like_tar or (len(start) >= 512 and not any(start)) else ""


def decompress(peeked: Peeked, name: str, see_window: Callable[[int], object] | None = None) -> Readable:
    """Return the uncompressed stream of what `peeked` holds, detected by its content; `name` is for messages.

    `see_window` is called with the base-2 logarithm of each zstd frame's window, rounded up, while the frame is read.
    Raises ArchiveError at once for content of no known kind, and while reading for corrupt or truncated data.
    """
    kind = sniff(peeked.start)
    if kind == "tar":
        return peeked
    raw: io.BufferedReader = io.BufferedReader(peeked, READ)
    if kind == "zstd":
        from lxcast.compression import zstd

        return Decompressed(zstd.reader(raw, see_window), zstd.ERRORS, kind, name)
    if kind == "gzip":
        from lxcast.compression import gz

        return Decompressed(gz.reader(raw), gz.ERRORS, kind, name)
    if kind in ("xz", "bzip2"):
        from lxcast.compression import xz

        return Decompressed(xz.reader(raw) if kind == "xz" else xz.bzip2_reader(raw), xz.ERRORS, kind, name)
    if peeked.start.startswith(b"hsqs"):
        raise ArchiveError(
            f"{name}: is a squashfs image, which Proxmox does not take", hint="lxcast build or repack makes a template"
        )
    if not peeked.start:
        raise ArchiveError(f"{name}: is empty", hint="the step that should have written it failed")
    raise ArchiveError(
        f"{name}: not a tar archive, compressed or not: it begins with {peeked.start[:8].hex(' ')}",
        hint="lxcast reads tar, tar.gz, tar.xz, tar.zst and tar.bz2, detected by content",
    )


def compress(out: BinaryIO, format: str, *, small: bool = False, threads: int = 0) -> Compressor:
    """Return a compressor that writes to `out`; `format` is "zst", "gz", "xz" or "tar", 0 threads are all cores.

    The bytes depend on the format, `small` and the library's version alone.
    """
    threads = threads or os.cpu_count() or 1
    if format == "zst":
        from lxcast.compression import zstd

        return zstd.Compressor(out, small, threads)
    if format == "gz":
        from lxcast.compression import gz

        return gz.Compressor(out, small, threads)
    if format == "xz":
        from lxcast.compression import xz

        return xz.Compressor(out, small, threads)
    return Plain(out)


def describe(format: str, *, small: bool = False) -> str:
    """Name the library that compresses, its version and settings: with them the same content gives the same bytes."""
    if format == "zst":
        from lxcast.compression import zstd

        return zstd.describe(small)
    if format == "gz":
        from lxcast.compression import gz

        return gz.describe(small)
    if format == "xz":
        from lxcast.compression import xz

        return xz.describe(small)
    return "none"
