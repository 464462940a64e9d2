"""The 512-byte header: its numbers, its checksum, and pax records, read and written.

The layout is POSIX.1-2017's ustar interchange format (pax(1), "ustar Interchange Format"); base-256 numbers and the
type letters L, K and S are GNU's (tar manual, "Basic Tar Format").
"""

import re
import struct
from zlib import adler32

from lxcast.errors import ArchiveError

BLOCK = 512

FIELDS = struct.Struct("100s24s12s12s8s356s")
"""name, (mode, uid, gid), size, mtime, checksum, and the rest: type, link (100 bytes), `magic` and so on."""

USTAR = b"ustar\x0000"

ZEROS = [b"\0" * length for length in range(BLOCK)]
"""Padding of fields and blocks, by its length."""

_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")


IGNORED = frozenset((b"atime", b"ctime", b"uname", b"gname", b"comment", b"charset", b"hdrcharset"))
"""Pax keys that a template never keeps."""

XATTR = b"SCHILY.xattr."
"""The prefix of an extended attribute's name; its value may be empty."""


def number(field: bytes) -> int:
    """Read a numeric field: octal digits, or base-256 if the first bit is set.

    An empty field is 0, as for every tar. Raises ValueError for anything else.
    """
    digits = field[:-1]
    if digits.isdigit() and field[-1] <= 32:
        return int(digits, 8)
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        # The first bit is the mark, the second one the sign: 0x80... is positive, 0xff... negative.
        return value + (1 << (8 * len(field) - 1)) if field[0] < 0xC0 else value
    match = _OCTAL.match(field)
    if match is None:
        raise ValueError(f"{field!r} is not a number")
    return int(match[1] or b"0", 8)


def byte_sum(data: bytes | memoryview) -> int:
    """Add up at most 256 bytes: the low half of Adler-32 is 1 + their sum modulo 65521, and 256 * 255 stays below."""
    return (adler32(data) & 0xFFFF) - 1


def checksum_holds(block: bytes) -> bool:
    """Return whether a header's checksum is right: the sum of its bytes, or of signed bytes as old tars wrote it."""
    try:
        written = number(block[148:156])
    except ValueError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return written == unsigned or written == unsigned - 256 * sum(byte > 127 for byte in rest)


def text(field: bytes) -> bytes:
    """Return a field up to its first NUL."""
    return field.partition(b"\0")[0]


def parse_pax(data: bytes, into: dict[bytes, bytes]) -> None:
    """Add the records (length, key, "=", value, newline) of a pax header to a dict.

    An empty value removes its key, unless it is an extended attribute's. GNU.sparse.offset and .numbytes, which format
    0.0 repeats, are joined into one GNU.sparse.map. Raises ArchiveError.
    """
    at, end = 0, len(data)
    pieces: list[bytes] = []
    while at < end and data[at]:
        space = data.find(b" ", at, at + 20)
        length = data[at:space]
        if space < 0 or not length.isdigit():
            raise ArchiveError(f"the pax record at byte {at} has no length")
        after = at + int(length)
        key, equals, value = data[space + 1 : after - 1].partition(b"=")
        if after > end or after <= space + 1 or data[after - 1 : after] != b"\n" or not equals or not key:
            raise ArchiveError(f"the pax record at byte {at} is malformed: {data[at : at + 40]!r}")
        at = after
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)
        elif key in IGNORED:
            continue
        elif value or key.startswith(XATTR):
            into[key] = value
        else:
            into.pop(key, None)
    if pieces:
        into[b"GNU.sparse.map"] = b",".join(pieces)


def pax_record(key: bytes, value: bytes) -> bytes:
    """Write one record; its length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
