"""What the fields of headers say, by their bytes: most stand in one header after the other."""

from typing import Any

from lxcast.tar import fields
from lxcast.tar.header import byte_sum, number, text

ODD = 1 << 20
"""Added to the sum of a field that the writer would write in other bytes; a whole header's sum is far below it."""

SUM = ODD - 1
"""The bits of a sum without ODD."""

_REMEMBERED = 16384
_BACKS = 16  # those of files, folders and extended headers are few, each link's is another


class HeaderCache:
    """Look-up tables, which `learn` adds to: a value and the sum of the field's bytes, ODD where they are not ours."""

    def __init__(self) -> None:
        self.owners: dict[bytes, tuple[tuple[int, int, int], int]] = {}
        """(permission bits, uid, gid)."""
        self.sizes: dict[bytes, tuple[int, int]] = {}
        self.times: dict[bytes, tuple[int, int]] = {}
        self.sums: dict[bytes, int] = {}
        """Checksums, without the eight spaces that stand for them while they are added up."""
        self.backs: dict[bytes, tuple[int, bytes, bytes]] = {}
        """What is behind the checksum: (the sum of its bytes, type, the prefix of the path in ustar)."""

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
        """Put what is behind a header's checksum into its table, and return the entry."""
        if len(self.backs) > _BACKS:
            self.backs.clear()
        prefix = text(back[189:344]) if back[101:107] == b"ustar\0" else b""
        found = self.backs[back] = byte_sum(back[:256]) + byte_sum(back[256:]), back[:1], prefix
        return found


def _sum(field: bytes, ours: bytes) -> int:
    return byte_sum(field) + (0 if field == ours else ODD)
