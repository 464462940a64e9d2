"""Parsed header fields, by their bytes: most fields repeat from one header to the next."""

from typing import Any

from lxcast.tar import fields
from lxcast.tar.header import byte_sum, number, text

ODD = 1 << 20
"""Added to the sum of a field that the writer would write differently; the sum of a whole header is far below it."""

SUM = ODD - 1
"""The bits of a sum without ODD."""

_REMEMBERED = 16384
_BACKS = 16  # files, directories and extended headers have few different ones, each link has its own


class HeaderCache:
    """Look-up tables: field -> its value and the sum of its bytes, plus ODD if the writer would write other bytes."""

    def __init__(self) -> None:
        self.owners: dict[bytes, tuple[tuple[int, int, int], int]] = {}
        """(permission bits, uid, gid)."""
        self.sizes: dict[bytes, tuple[int, int]] = {}
        self.times: dict[bytes, tuple[int, int]] = {}
        self.sums: dict[bytes, int] = {}
        """Checksums, less the eight spaces that stand for the checksum while a header is added up."""
        self.backs: dict[bytes, tuple[int, bytes, bytes]] = {}
        """The rest after the checksum -> (the sum of its bytes, type, ustar's prefix of the path)."""

    def learn(self, owner: bytes, size: bytes, time: bytes, checksum: bytes) -> None:
        """Put four fields of a header into the tables. Raises ValueError."""
        tables: tuple[dict[bytes, Any], ...] = (self.owners, self.sizes, self.times, self.sums)
        for table in tables:
            if len(table) > _REMEMBERED:
                table.clear()
        meta, length, mtime = fields.owner(owner), fields.size(size), fields.time(time)
        self.owners[owner] = meta, _sum(owner, b"%07o\0%07o\0%07o\0" % meta)
        self.sizes[size] = length, _sum(size, b"%011o\0" % length)
        self.times[time] = mtime, _sum(time, b"%011o\0" % mtime)
        self.sums[checksum] = number(checksum) - 8 * ord(" ") + 1

    def learn_back(self, back: bytes) -> tuple[int, bytes, bytes]:
        """Put the rest after a header's checksum into its table, and return the entry."""
        if len(self.backs) > _BACKS:
            self.backs.clear()
        prefix = text(back[189:344]) if back[101:107] == b"ustar\0" else b""
        found = self.backs[back] = byte_sum(back[:256]) + byte_sum(back[256:]), back[:1], prefix
        return found


def _sum(field: bytes, ours: bytes) -> int:
    return byte_sum(field) + (0 if field == ours else ODD)
