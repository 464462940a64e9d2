"""A streaming writer of the canonical form that every template has.

`./` names, numeric owners only, ustar if it suffices and else POSIX pax with its keys in a fixed order, zeros in every
unused byte, two blocks of zeros at the end: the members alone determine every byte.
"""

from collections.abc import Callable
from struct import Struct
from zlib import adler32

from lxcast.tar.header import BLOCK, USTAR, XATTR, ZEROS, byte_sum, pax_record
from lxcast.tar.member import BLK, CHR, DIR, LNK, REG, Body, Member
from lxcast.tar.sparse import to_body

Sink = Callable[[memoryview | bytes], object]

END = b"\0" * (2 * BLOCK)

_MAX_ID = 8**7 - 1
_MAX_SIZE = 8**11 - 1
_TAIL = USTAR + b"\0" * 64 + b"0000000\0" * 2 + b"\0" * 167  # magic, no owner's names, no device, no prefix, padding
_PAX_NAME = b"./@PaxHeader".ljust(100, b"\0")
_REMEMBERED = 16384


class Writer:
    """Writes members to `sink`, which takes the bytes of the archive in order.

    A member's header is put into the body's buffer if there is room before the body, so that unchanged members leave as
    one span. `flush` passes that span on; call it before the buffer is filled again.
    """

    def __init__(self, sink: Sink) -> None:
        self.size = 0
        """Bytes written."""
        self._sink = sink
        self._pieces: list[memoryview | bytes] = []
        self._span: memoryview | None = None
        self._start = 0
        self._end = 0
        # Header fields, each with the sum of its bytes, and checksums.
        self._owners: dict[tuple[int, int, int], tuple[bytes, int]] = {}
        self._numbers: dict[int, tuple[bytes, int]] = {}
        self._sums: dict[int, bytes] = {}

    def add(self, member: Member) -> None:
        """Write one member: header, body and padding."""
        front = member.front
        if front is None and isinstance(member.body, bytes):
            self._add_apart(member, self._header(member))
            return
        body: Body = member.body  # type: ignore[assignment] # a member with a front streams
        at, buffer = body.at, body.buffer
        after = at + member.size
        end = after + 511 & -BLOCK
        if end > body.filled or at < BLOCK:
            self._add_apart(member, self._header(member))
            return
        start = at - BLOCK
        if front is not None:
            try:
                checksum = self._sums[front]
            except KeyError:
                checksum = self._sum(front)
            _pack_back(buffer, at - _BACK, checksum, _FILE)
        elif usual := self._usual(member):
            _pack_whole(buffer, start, b"./", *usual, _FILE)
        else:
            header = self._header(member)
            if len(header) != BLOCK:
                self._add_apart(member, header)
                return
            buffer[start:at] = header
        if end != after:
            _PADDING[end - after](buffer, after)
        if start != self._end or buffer is not self._span:
            self._cut()
            self._span, self._start = buffer, start
        self._end = end

    def _add_apart(self, member: Member, header: bytes) -> None:
        """Write a member that has no room for a header before its body, or whose body is not all in the buffer."""
        self._cut()
        self._pieces.append(header)
        stored, size = 0, member.stored
        if size:
            for chunk in member.chunks():
                self._pieces.append(chunk)
                stored += len(chunk)
                if stored < size:
                    self.flush()  # a chunk is overwritten when the next one is requested
        if stored % BLOCK:
            self._pieces.append(ZEROS[-stored % BLOCK])

    def finish(self) -> None:
        """Write the end of the archive."""
        self._cut()
        self._pieces.append(END)
        self.flush()

    def flush(self) -> None:
        """Pass everything that was added to the sink."""
        self._cut()
        pieces = self._pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
            self.size += len(data)
            self._sink(data)

    def _cut(self) -> None:
        """End the span of members that follow each other in their buffer."""
        if self._span is not None:
            self._pieces.append(self._span[self._start : self._end])
            self._span = None

    def _usual(self, member: Member) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
        """Return path, owner, size, time and checksum of an ordinary file, fast: cached values are in range."""
        path = member.path
        if member.type != REG or len(path) > 98 or member.xattrs or member.sparse is not None:
            return None
        try:
            owner, first = self._owners[member.mode, member.uid, member.gid]
            length, second = self._numbers[member.size]
            time, third = self._numbers[member.mtime]
        except KeyError:
            return None
        front = (adler32(path) & 0xFFFF) + _DOT_SUM + first + second + third
        return path, owner, length, time, self._sums.get(front) or self._sum(front)

    def _sum(self, front: int) -> bytes:
        """Return a file's checksum; `front` is 1 + the sum of the bytes before it."""
        checksum = self._sums[front] = b"%06o\0 " % (front + _FILE_SUM)
        return checksum

    def _header(self, member: Member) -> bytes:
        """Return a member's header: one block, or a pax header, its records and the block."""
        path, type, link = member.path, member.type, member.link
        name = b"./" + path + b"/" if type == DIR and path else b"./" + path
        link = b"./" + link if type == LNK else link
        if (
            len(name) > 100
            or len(link) > 100
            or member.size > _MAX_SIZE
            or not 0 <= member.mtime <= _MAX_SIZE
            or member.uid > _MAX_ID
            or member.gid > _MAX_ID
            or member.xattrs
            or member.sparse is not None
            or type in (CHR, BLK)
        ):
            return _extended(member, name)
        if len(self._owners) > _REMEMBERED or len(self._numbers) > _REMEMBERED:
            self._owners.clear()
            self._numbers.clear()
        meta = (member.mode, member.uid, member.gid)
        owner = b"%07o\0%07o\0%07o\0" % meta
        length, time = b"%011o\0" % member.size, b"%011o\0" % member.mtime
        self._owners[meta] = owner, byte_sum(owner)
        self._numbers[member.size], self._numbers[member.mtime] = (length, byte_sum(length)), (time, byte_sum(time))
        return _block(name.ljust(100, b"\0") + owner + length + time, type, link)


def _block(front: bytes, type: bytes, link: bytes, tail: bytes = _TAIL) -> bytes:
    back = type + link[:100].ljust(100, b"\0") + tail
    return b"%b%06o\0 %b" % (front, byte_sum(front) + _back_sum(back), back)


def _back_sum(back: bytes) -> int:
    """Add up the bytes after the checksum, and the eight spaces that stand for the checksum."""
    return byte_sum(back[:256]) + byte_sum(back[256:]) + 8 * ord(" ")


_FILE = REG + b"\0" * 100 + _TAIL
_DOT_SUM = byte_sum(b"./")
_FILE_SUM = _back_sum(_FILE) - 1  # Adler-32 starts at 1
_PADDING = [Struct(f"{length}x").pack_into for length in range(BLOCK)]  # faster than an assignment to a slice
_pack_whole = Struct("2s98s24s12s12s8s356s").pack_into
_BACK = 364  # bytes from the checksum on
_pack_back = Struct("8s356s").pack_into


def _extended(member: Member, name: bytes) -> bytes:
    """Return the header of a member that does not fit into ustar, and a sparse file's map after it."""
    records: dict[bytes, bytes] = {}
    link = b"./" + member.link if member.type == LNK else member.link
    prefix, short = _split(name)
    size, behind = member.size, b""
    if member.sparse is not None:
        behind = to_body(member.sparse, member.size)
        size = len(behind) + sum(length for _, length in member.sparse)
        short = b"./GNUSparseFile.0/" + name.rpartition(b"/")[2][:80]
        prefix = b""
    elif not short:
        records[b"path"], short = name, name[:100]
    if len(link) > 100:
        records[b"linkpath"] = link
    numbers = {b"size": (size, _MAX_SIZE), b"uid": (member.uid, _MAX_ID), b"gid": (member.gid, _MAX_ID)}
    numbers[b"mtime"] = (member.mtime, _MAX_SIZE)
    fields = []
    for key, (value, limit) in numbers.items():
        if not 0 <= value <= limit:
            records[key] = b"%d" % value
        fields.append(value if 0 <= value <= limit else 0)
    if member.sparse is not None:
        records |= {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
        records |= {b"GNU.sparse.name": name, b"GNU.sparse.realsize": b"%d" % member.size}
    for key, content in sorted((member.xattrs or {}).items()):
        records[key if key.startswith(b"SCHILY.") else XATTR + key.replace(b"%", b"%25").replace(b"=", b"%3D")] = (
            content
        )
    stored, uid, gid, mtime = fields
    front = short.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (member.mode, uid, gid, stored, mtime)
    tail = USTAR + b"\0" * 64 + b"%07o\0%07o\0" % member.device + prefix.ljust(155, b"\0") + b"\0" * 12
    header = _block(front, member.type, link, tail)
    if records:
        data = b"".join(pax_record(key, value) for key, value in records.items())
        start = _PAX_NAME + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, len(data), 0)
        header = _block(start, b"x", b"") + data + ZEROS[-len(data) % BLOCK] + header
    return header + behind


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return (prefix, name), ustar's two fields for a path; an empty name if it does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101, -1)
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= 155 else (b"", b"")
