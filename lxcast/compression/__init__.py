"""Compressed streams: detected by their first bytes, read, and written so that the same input gives the same bytes."""

from lxcast.compression.codecs import (
    Compressor,
    Peeked,
    Prefetch,
    Readable,
    compress,
    decompress,
    describe,
    sniff,
)

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
