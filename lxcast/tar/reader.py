"""A streaming reader of tar: ustar, pax, GNU and the oldest form, with sparse files of every dialect.

It holds one buffer, copies no body, and raises a typed error that names the member for everything malformed: what it
yields is whole, and every path in it stays below the root.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from zlib import adler32

from lxcast.compression import Prefetch
from lxcast.errors import ArchiveError
from lxcast.tar import fields, sparse
from lxcast.tar.header import BLOCK, FIELDS, ZEROS, checksum_holds, number, parse_pax, text
from lxcast.tar.header_cache import ODD, SUM, HeaderCache
from lxcast.tar.member import BLK, CHR, DIR, FIFO, HEAD, LNK, REG, SYM, Member, printable
from lxcast.tar.names import NAME_MAX, PATH_MAX, clipped, told, too_long
from lxcast.tar.quirks import Quirks

BUFFER = 1024 * 1024

MAX_EXTENDED = 1024 * 1024
"""Bytes of an extended header: far above what real paths and attributes need, far below what exhausts memory."""

MAX_GLOBAL = 64 * 1024
"""Bytes of the global headers, which count for every member; `git archive` writes a few dozen."""

_NO_DEVICE = (0, 0)

# Type letters, each with the member type it stands for: 7 is a contiguous file, S a sparse one, D a folder with a
# list of names as its body (GNU incremental), NUL the oldest form of a regular file.
_TYPES = {b"\0": REG, b"7": REG, b"S": REG, b"D": DIR} | {type: type for type in (REG, LNK, SYM, CHR, BLK, DIR, FIFO)}
_STORED = (b"0", b"\0", b"7", b"S", b"D")  # a size in the other headers counts no bytes that follow
_EXTENDED = frozenset((b"x", b"X", b"g", b"L", b"K", b"V"))


class Raw(Protocol):
    """A stream of bytes."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of `buffer`; return how many bytes, 0 at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hostile archive may not exceed: members, and bytes of all bodies together."""

    members: int = 5_000_000
    size: int = 1 << 40


def _nothing() -> None:
    pass


class Reader:
    """Iterates over the members of a tar stream; `raw` is uncompressed, `name` is for messages.

    `before_refill` is called before bytes that were handed out (heads, chunks, rooms) are overwritten. With `quirks`
    given the archive is judged rather than trusted: a name that leaves the root is noted there instead of raised.
    """

    def __init__(
        self, raw: Raw | Prefetch, name: str, limits: Limits | None = None, quirks: Quirks | None = None
    ) -> None:
        self.before_refill: Callable[[], None] = _nothing
        self.position = 0
        """Bytes of the stream that were read."""
        self._raw = raw
        self._name = name
        self._limits = limits or Limits()
        self._quirks = quirks
        self.buffer = memoryview(bytearray(0 if isinstance(raw, Prefetch) else BUFFER))
        self.at = 0
        """Where in the buffer the next byte is: of the current member's body, and behind it of the next header."""
        self.filled = 0
        """The end of the bytes in the buffer."""
        self._current: Member | None = None
        self._body = 0  # bytes of the current member's body that are stored at _at, without padding
        self._orphan = False  # whether one of them is for the next member alone
        self._pending = 0  # bytes of the extended headers that were read for the next member
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Member]:
        # One long loop: at 400,000 members a call for each field would double the time of a whole run. The member is
        # one object that changes.
        unpack, adler = FIELDS.unpack_from, adler32
        cache = HeaderCache()
        owners, sizes, times, sums, backs = cache.owners, cache.sizes, cache.times, cache.sums, cache.backs
        # What is behind the checksum of the last header, which mostly is the same in the next one, and what it says.
        back = type = prefix = b""
        back_sum = 0
        is_file = extends = False
        # What the last file's name had before its own part, the path that this is, whether they only differ by "./".
        begin: bytes | None = None
        folder, dotted = b"", False
        extended: dict[bytes, bytes] = {}
        trusted = self._quirks is None
        alone = trusted  # whether no extended header says more of the next member
        member = Member(b"", body=self)
        plain = False  # whether the member is a file like any other already
        members = total = 0
        max_members, max_size = self._limits.members, self._limits.size
        while True:
            at = self.at
            after = at + BLOCK
            if after > self.filled:
                at, after = self._fill(BLOCK), BLOCK
            name, owner, size_field, time, checksum, behind = unpack(self.buffer, at)
            if behind != back:
                back = behind
                back_sum, type, prefix = backs.get(back) or cache.learn_back(back)
                is_file, extends = type == REG, type in _EXTENDED
            try:
                meta, first = owners[owner]
                size, second = sizes[size_field]
                mtime, third = times[time]
                # Adler-32's low half is 1 + the sum of the bytes, exact for up to 256: the quickest sum there is.
                front = (adler(name) & 0xFFFF) + first + second + third
                found, written = front + back_sum, sums[checksum]
            except KeyError:
                if not any(self.buffer[at:after]):
                    self._finish()
                    return
                self._learn(cache, bytes(self.buffer[at:after]))
                continue
            if found != written != found & SUM and not checksum_holds(bytes(self.buffer[at:after])):
                raise self._wrong_checksum(name)
            self.at = after
            if extends:
                self._extend(type, size, extended)
                alone = False
                continue
            path, _, padding = name.partition(b"\0")
            if prefix:
                path, front = prefix + b"/" + path, front + ODD
            if extended and is_file and b"mtime" in extended and not self._globals:
                # What most pax headers are written for.
                try:
                    own = fields.whole(extended.pop(b"mtime"))
                    fields.require(mtime=own)
                except ValueError as error:
                    raise self._error(f"{told(path)} has a malformed header: {error}") from error
                if own != mtime:
                    mtime, front = own, front + ODD
                alone = trusted and not extended
            start, _, leaf = path.rpartition(b"/")
            if is_file and alone and leaf:
                # A folder's name is looked at once for all files in it; a file's own cannot hurt but by a first dot,
                # which is less than "/" (to ask for the order is quicker than for a byte).
                if start == begin and leaf > b"/":
                    member.path = folder + leaf
                else:
                    member.path = self._path(path)
                    if not member.path:
                        raise self._error("has a file in the place of the root folder")
                    begin, folder = None if leaf == b"." else start, member.path[: -len(leaf)]
                    dotted = path == b"./" + member.path
                self._body = member.size = size
                member.mode, member.uid, member.gid = meta
                member.mtime = mtime
                member.front = front if dotted and front < ODD and padding == ZEROS[len(padding)] else None
                total += size
                if not plain:
                    member.type, member.link, member.sparse, member.device = REG, b"", None, _NO_DEVICE
                    member.xattrs, plain = None, True
                    self._current = member
            else:
                self._body = size if type in _STORED else 0
                header = bytes(self.buffer[at:after])
                self._unusual(member, path, type, meta, size, mtime, header, extended)
                extended, alone = {}, trusted and not self._globals
                total += member.size
                plain = False
                self._current = member
            if self._pending:
                self._pending, self._orphan = 0, False
            members += 1
            if members > max_members or total > max_size:
                raise self._over_limits(member, members, total)
            yield member
            body = self._body
            if body:
                self._body = 0
                after = self.at + (body + 511 & -512)
                if after <= self.filled:
                    self.at = after
                else:
                    self._skip(after - self.at)

    def _learn(self, cache: HeaderCache, header: bytes) -> None:
        """Have the fields of a header in the tables. Raises ArchiveError."""
        name, owner, size, time, checksum, _ = FIELDS.unpack(header)
        try:
            cache.learn(owner, size, time, checksum)
        except ValueError as error:
            if not checksum_holds(header):
                raise self._wrong_checksum(name) from error
            raise self._error(f"{told(text(name))} has a malformed header: {error}") from error

    def _wrong_checksum(self, name: bytes) -> ArchiveError:
        return self._error(f"{told(text(name))} has a wrong checksum in its header")

    def _unusual(
        self,
        member: Member,
        path: bytes,
        type: bytes,
        meta: tuple[int, int, int],
        size: int,
        mtime: int,
        header: bytes,
        extended: dict[bytes, bytes],
    ) -> None:
        """Set any member but a plain file of a short name: what extended headers say goes before the header."""
        records = {**self._globals, **extended} if self._globals else extended
        kind = _TYPES.get(type)
        if kind is None:
            where = told(records.get(b"path", path))
            raise self._error(f"{where} has the type {type!r}, which no root filesystem holds")
        path = records.get(b"GNU.sparse.name") or records.get(b"path", path)
        try:
            mode, uid, gid = meta
            if kind == REG and path.endswith(b"/") and type != b"S":
                kind = DIR  # the oldest tar knew no other way to say so
            link = (records.get(b"linkpath") or text(header[157:257])) if kind in (LNK, SYM) else b""
            if records:
                size = fields.count(records[b"size"]) if b"size" in records else size
                uid = fields.count(records[b"uid"]) if b"uid" in records else uid
                gid = fields.count(records[b"gid"]) if b"gid" in records else gid
                mtime = fields.whole(records[b"mtime"]) if b"mtime" in records else mtime
                if self._body or type in _STORED:
                    self._body = size
            fields.require(size, uid, gid, mtime)
            member.__init__(self._path(path), kind, mode, uid, gid, size, mtime, body=self)  # type: ignore[misc]
            if not member.path and kind != DIR:
                raise ValueError("it stands in the place of the root folder")
            if kind in (LNK, SYM) and (not link or 0 in link):
                raise ValueError(f"it links to {link[:40]!r}")
            if kind == SYM:
                member.link = link
                if len(link) > PATH_MAX:
                    self._refuse_length(member.path, f"a target of {len(link)} bytes, and Linux takes {PATH_MAX}")
            elif kind == LNK:
                member.link = self._path(link)
            elif kind in (CHR, BLK):
                member.device = number(header[329:337]), number(header[337:345])
            member.xattrs = fields.xattrs(records) if records else None
            if kind == REG and (type == b"S" or b"GNU.sparse.map" in records or b"GNU.sparse.major" in records):
                self._read_map(member, header if type == b"S" else None, records)
            if kind != REG:
                member.size = 0
        except ValueError as error:
            raise self._error(f"{told(path)} has a malformed header: {error}") from error

    def _extend(self, type: bytes, size: int, extended: dict[bytes, bytes]) -> None:
        """Read an extended header into `extended`, or into the globals."""
        self._pending += BLOCK + size
        self._orphan = self._orphan or type not in b"gV"
        if self._pending > MAX_EXTENDED:
            raise self._error(
                f"has extended headers of {self._pending} bytes for one member: the limit is {MAX_EXTENDED}"
            )
        data = self._take(size)
        if type == b"L":
            extended[b"path"] = text(data)
        elif type == b"K":
            extended[b"linkpath"] = text(data)
        elif type in b"xXg":
            try:
                parse_pax(data, self._globals if type == b"g" else extended)
            except ArchiveError as error:
                raise self._error(error.message) from error
            if type == b"g":
                length = sum(map(len, self._globals)) + sum(map(len, self._globals.values()))
                if length > MAX_GLOBAL:
                    raise self._error(f"has global headers of {length} bytes: the limit is {MAX_GLOBAL}")

    def _read_map(self, member: Member, header: bytes | None, records: dict[bytes, bytes]) -> None:
        """Read a sparse file's map; what is left of the stored body is its data."""
        if header is not None:
            numbers, more, member.size = sparse.from_old_gnu(header)
            while more:
                found, more = sparse.from_extension(self._take(BLOCK))
                numbers += found
                if len(numbers) > 2 * sparse.MAX_PIECES:
                    raise ValueError(f"sparse map has more than {sparse.MAX_PIECES} pieces")
        elif b"GNU.sparse.map" in records:
            numbers = sparse.from_pax(records[b"GNU.sparse.map"])
            member.size = fields.whole(records.get(b"GNU.sparse.size", b""))
        else:
            version = records[b"GNU.sparse.major"] + b"." + records.get(b"GNU.sparse.minor", b"0")
            if version != b"1.0":
                raise ValueError(f"its sparse format {version[:20]!r} is unknown")
            member.size = fields.whole(records.get(b"GNU.sparse.realsize", b""))
            numbers, length = sparse.from_body(self._take, self._body)
            self._body -= length
        member.sparse = sparse.pieces(numbers, member.size)
        stored = sum(length for _, length in member.sparse)
        if stored != self._body:
            raise ValueError(f"sparse map names {stored} bytes of data, the archive stores {self._body}")

    def _path(self, name: bytes) -> bytes:
        """Return a member's path, or a hard link's target, without "./", "//" and a closing "/"."""
        if len(name) > PATH_MAX:
            self._refuse_length(name, f"a path of {len(name)} bytes, and Linux takes {PATH_MAX}")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        quirks = self._quirks
        if 0 in name:
            raise self._error(f"{clipped(name)!r} is no name: it holds a NUL")
        if name.startswith(b"/") or b".." in parts:
            if quirks is None:
                raise self._error(
                    f"{clipped(name)!r} leaves the root filesystem",
                    hint="a root filesystem's archive holds relative names only: write it again with ./ names",
                )
            quirks.absolute.append(name)
            parts = [part for part in parts if part != b".."]
        elif quirks is not None and not name.startswith(b"./") and name != b".":
            quirks.unprefixed += 1
        path = b"/".join(parts)
        if len(path) > NAME_MAX and (what := too_long(path)):
            self._refuse_length(path, what)
        return path

    def _refuse_length(self, path: bytes, what: str) -> None:
        """Note a member that cannot be unpacked; raise ArchiveError where the archive is not judged, or hostile."""
        if self._quirks is None or len(path) > PATH_MAX:
            raise self._error(
                f"{told(path)} has {what}", hint="no filesystem of Linux holds it: make the archive again"
            )
        self._quirks.too_long.append((path, what))

    # The body of the current member: what lxcast.tar.member.Body promises.

    def head(self) -> memoryview:
        """Return the first bytes of the current member's body."""
        if self._holds_names():
            return self.buffer[:0]
        wanted = min(self._body, HEAD)
        if self.at + wanted > self.filled:
            self._fill(wanted)
        return self.buffer[self.at : min(self.at + self._body, self.filled)]

    def chunks(self) -> Iterator[memoryview]:
        """Yield the current member's body once."""
        if self._holds_names():
            return
        left, padding = self._body, -self._body % BLOCK
        self._body = 0
        while left:
            if self.at == self.filled:
                self._fill(1)
            chunk = self.buffer[self.at : min(self.at + left, self.filled)]
            self.at += len(chunk)
            left -= len(chunk)
            yield chunk
        self._skip(padding)

    def _holds_names(self) -> bool:
        """Whether the stored body is none of the member's: GNU's incremental folders have a list of names there."""
        return self._current is not None and self._current.type == DIR

    # The buffer.

    def _fill(self, wanted: int) -> int:
        """Have at least `wanted` bytes at the place to parse; return that place. Raises ArchiveError at the end."""
        while self.filled - self.at < wanted:
            if not self._refill():
                raise self._truncated()
        return self.at

    def _refill(self) -> int:
        """Put what is left in front, and what comes behind it; return how many bytes came."""
        self.before_refill()
        raw, rest = self._raw, self.buffer[self.at : self.filled]
        left = len(rest)
        if isinstance(raw, Prefetch):
            self.buffer = raw.exchange(rest)
            got = len(self.buffer) - left
        else:
            self.buffer[:left] = rest
            got = raw.readinto(self.buffer[left:]) or 0
        self.at, self.filled = 0, left + got
        self.position += got
        return got

    def _take(self, size: int) -> bytes:
        """Return the next `size` bytes and skip their padding."""
        at, end = self.at, self.at + size + -size % BLOCK
        if end <= self.filled:
            self.at = end
            return bytes(self.buffer[at : at + size])
        parts = bytearray()
        while len(parts) < size:
            if self.at == self.filled:
                self._fill(1)
            part = self.buffer[self.at : min(self.at + size - len(parts), self.filled)]
            parts += part
            self.at += len(part)
        self._skip(-size % BLOCK)
        return bytes(parts)

    def _skip(self, size: int) -> None:
        while self.at + size > self.filled:
            size -= self.filled - self.at
            self.at = self.filled
            self._fill(1)
        self.at += size

    def _finish(self) -> None:
        """Read on behind the first block of zeros: nothing but zeros may come."""
        if self._orphan:
            raise self._error("ends behind an extended header that has no member")
        self._current = None
        while True:
            if self.at == self.filled and not self._refill():
                return
            if any(self.buffer[self.at : self.filled]):
                raise self._error(
                    "has members after the end of the archive",
                    hint="archives that were joined by cat are no one archive: unpack and pack them again",
                )
            self.at = self.filled

    def _over_limits(self, member: Member, members: int, total: int) -> ArchiveError:
        limits = self._limits
        return self._error(
            f"{printable(member.path)} is member {members} and takes the unpacked size to {total} bytes: "
            f"the limits are {limits.members} members and {limits.size} bytes",
            hint="raise --max-members or --max-size where the archive is right",
        )

    def _truncated(self) -> ArchiveError:
        if not self.position:
            return ArchiveError(f"{self._name}: is empty", hint="a tar archive has at least one block")
        return self._error(
            f"is truncated after {self.position} bytes", hint="write it again: the copy or the export was cut off"
        )

    def _error(self, text: str, *, hint: str = "") -> ArchiveError:
        behind = f" (behind {printable(self._current.path)})" if self._current is not None else ""
        return ArchiveError(f"{self._name}{behind}: {text}", hint=hint)
