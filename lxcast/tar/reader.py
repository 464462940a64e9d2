"""A streaming reader of tar: ustar, pax, GNU and the oldest format, with sparse files of every dialect.

It holds one buffer, copies no body, and raises an error that names the member for anything malformed. Every member that
it yields is complete, and every path is relative to the root and free of "..".
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
from lxcast.tar.names import NAME_MAX, PATH_MAX, clipped, describe_name, find_excess
from lxcast.tar.quirks import Quirks

BUFFER = 1024 * 1024

MAX_EXTENDED = 1024 * 1024
"""Bytes of extended headers for one member: far more than real paths and attributes need, and harmless in memory."""

MAX_GLOBAL = 64 * 1024
"""Bytes of the global headers, which apply to every member; `git archive` writes a few dozen."""

MAX_TRAILING = 64 * 1024 * 1024
"""Bytes of zeros after the end of an archive: tar fills up its last record, which is 10 KiB by default and at most some
MiB on tapes."""

_MAX_LINKS = 40  # followed in one path, as many as Linux follows (path_resolution(7))

_NO_DEVICE = (0, 0)

# Type letters and the member types they mean: 7 is a contiguous file, S a sparse one, D a directory with a list of
# names as its body (GNU incremental), NUL the oldest tar's regular file.
_TYPES = {b"\0": REG, b"7": REG, b"S": REG, b"D": DIR} | {type: type for type in (REG, LNK, SYM, CHR, BLK, DIR, FIFO)}
_STORED = (b"0", b"\0", b"7", b"S", b"D")  # types whose body follows; in other headers the size means nothing
_EXTENDED = frozenset((b"x", b"X", b"g", b"L", b"K", b"V"))


class Raw(Protocol):
    """A stream of bytes."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of `buffer`; return the number of bytes, 0 at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for hostile archives: the number of members, and the bytes of all bodies together."""

    members: int = 5_000_000
    size: int = 1 << 40


def _nothing() -> None:
    pass


class Reader:
    """Iterates over the members of a tar stream; `raw` is uncompressed, `name` is for messages.

    `before_refill` is called before bytes that were handed out (heads, chunks) are overwritten. With `quirks`, names
    that tar would refuse are collected there instead of raised.

    Members below a relative link get the path that tar would write to: tar makes such a link at once, and follows it
    (an absolute one, or one with "..", it makes last; GNU tar, extract.c, create_placeholder_file).

    `verified` is for a stream whose bytes a digest verifies, such as a layer: it may lack the end-of-archive blocks, as
    Docker accepts (Go's archive/tar), and its members keep their names, since the merge of layers follows links.
    """

    def __init__(
        self,
        raw: Raw | Prefetch,
        name: str,
        limits: Limits | None = None,
        quirks: Quirks | None = None,
        *,
        verified: bool = False,
    ) -> None:
        self.before_refill: Callable[[], None] = _nothing
        self.position = 0
        """Bytes of the stream that were read."""
        self._raw = raw
        self._name = name
        self._limits = limits or Limits()
        self._quirks = quirks
        self._verified = verified
        self.buffer = memoryview(bytearray(0 if isinstance(raw, Prefetch) else BUFFER))
        self.at = 0
        """Offset in the buffer of the next byte: of the current member's body, then of the next header."""
        self.filled = 0
        """The end of the bytes in the buffer."""
        self._current: Member | None = None
        self._body = 0  # bytes of the current member's body that are stored at `at`, without padding
        self._pending = 0  # bytes of the extended headers that were read for the next member
        self._orphan = False  # whether one of these is for the next member alone
        self._globals: dict[bytes, bytes] = {}
        self._links: dict[bytes, bytes] = {}  # the symbolic links that tar follows
        self._directories: set[bytes] = set()  # those that tar has made so far

    def __iter__(self) -> Iterator[Member]:
        # One long loop over one object: with 400,000 members, a call for each field would double the time of a run.
        unpack, adler = FIELDS.unpack_from, adler32
        cache = HeaderCache()
        owners, sizes, times, sums, backs = cache.owners, cache.sizes, cache.times, cache.sums, cache.backs
        # The part of the last header after its checksum, which mostly is the same in the next one, and its meaning.
        back = type = prefix = b""
        back_sum = 0
        is_file = extends = False
        # The last file's directory as its name has it, the path this stands for, whether they only differ by "./".
        begin: bytes | None = None
        folder, dotted = b"", False
        extended: dict[bytes, bytes] = {}
        trusted = self._quirks is None
        alone = trusted  # whether no extended header belongs to the next member
        member = Member(b"", body=self)
        plain = False  # whether the object is set up as an ordinary file already
        members = total = 0
        max_members, max_size = self._limits.members, self._limits.size
        while True:
            at = self.at
            after = at + BLOCK
            if after > self.filled:
                if self._verified and at == self.filled and not self._refill():
                    self._require_no_orphan()
                    return
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
                # Most pax headers are there for the time alone.
                try:
                    own = fields.whole(extended.pop(b"mtime"))
                    fields.require(mtime=own)
                except ValueError as error:
                    raise self._error(f"{describe_name(path)} has a malformed header: {error}") from error
                if own != mtime:
                    mtime, front = own, front + ODD
                alone = trusted and not extended
            start, _, leaf = path.rpartition(b"/")
            if is_file and alone and leaf:
                # A directory's name is checked once for all files in it. A file's own name can only do harm if it
                # begins with a dot, which sorts before "/": comparing is faster than looking at one byte.
                if start == begin and leaf > b"/":
                    member.path = folder + leaf
                else:
                    member.path = self._path(path)
                    if not member.path:
                        raise self._error("has a file in place of the root directory")
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
                if member.type == SYM:
                    begin = None  # names that were resolved before may lead through it
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
                    self._skip(body)
                    self._skip_padding(body)

    def _learn(self, cache: HeaderCache, header: bytes) -> None:
        """Put the fields of a header into the cache. Raises ArchiveError."""
        name, owner, size, time, checksum, _ = FIELDS.unpack(header)
        try:
            cache.learn(owner, size, time, checksum)
        except ValueError as error:
            if not checksum_holds(header):
                raise self._wrong_checksum(name) from error
            raise self._error(f"{describe_name(text(name))} has a malformed header: {error}") from error

    def _wrong_checksum(self, name: bytes) -> ArchiveError:
        return self._error(f"{describe_name(text(name))} has a header whose checksum is wrong")

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
        """Set any member but an ordinary file with a short name; extended headers take precedence over the header."""
        records = {**self._globals, **extended} if self._globals else extended
        kind = _TYPES.get(type)
        if kind is None:
            where = describe_name(records.get(b"path", path))
            raise self._error(f"{where} has the unsupported type {type!r}")
        path = records.get(b"GNU.sparse.name") or records.get(b"path", path)
        try:
            mode, uid, gid = meta
            if kind == REG and path.endswith(b"/") and type != b"S":
                kind = DIR  # as the oldest tar writes it
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
            if self._quirks is not None and member.path.startswith(b"dev/") and not path.startswith(b"./dev/"):
                self._quirks.unexcluded.add(member.path)
            if not member.path and kind != DIR:
                raise ValueError("it takes the place of the root directory")
            if kind in (LNK, SYM) and (not link or 0 in link):
                raise ValueError(f"it links to {link[:40]!r}")
            if kind == SYM:
                member.link = link
                if len(link) > PATH_MAX:
                    self._refuse_length(member.path, f"a target of {len(link)} bytes, the limit is {PATH_MAX}")
                self._note_link(member)
            elif kind == LNK:
                member.link = self._path(link)
            elif kind == DIR:
                self._links.pop(member.path, None)
                self._directories.add(member.path)
            elif kind in (CHR, BLK):
                member.device = number(header[329:337]), number(header[337:345])
            member.xattrs = fields.xattrs(records) if records else None
            if kind == REG and (type == b"S" or b"GNU.sparse.map" in records or b"GNU.sparse.major" in records):
                self._read_map(member, header if type == b"S" else None, records)
            if kind != REG:
                member.size = 0
        except ValueError as error:
            raise self._error(f"{describe_name(path)} has a malformed header: {error}") from error

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
                raise ValueError(f"unknown sparse format {version[:20]!r}")
            member.size = fields.whole(records.get(b"GNU.sparse.realsize", b""))
            numbers, length = sparse.from_body(self._take, self._body)
            self._body -= length
        member.sparse = sparse.pieces(numbers, member.size)
        stored = sum(length for _, length in member.sparse)
        if stored != self._body:
            raise ValueError(f"the sparse map lists {stored} bytes of data, the archive stores {self._body}")

    def _path(self, name: bytes) -> bytes:
        """Return a member's path, or a hard link's target, without a leading "/", "./", "//" and a closing "/"."""
        if len(name) > PATH_MAX:
            self._refuse_length(name, f"a path of {len(name)} bytes, the limit is {PATH_MAX}")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        quirks = self._quirks
        if 0 in name:
            raise self._error(f"{clipped(name)!r} is not a valid name: it contains a NUL byte")
        if b".." in parts:
            if quirks is None:
                raise self._error(
                    f"{clipped(name)!r} contains '..' and may leave the root filesystem",
                    hint="write the archive again with names relative to the root: tar -C DIR -cf FILE .",
                )
            parts = [part for part in parts if part != b".."]
        if quirks is not None:
            # GNU tar, Docker and skopeo cut a leading "/" off, and so do we.
            if name.startswith(b"/") or b".." in name.split(b"/"):
                quirks.absolute.append(name)
            elif not name.startswith(b"./") and name != b".":
                quirks.unprefixed += 1
        path = b"/".join(parts)
        if len(path) > NAME_MAX and (excess := find_excess(path)):
            self._refuse_length(path, excess)
        return path if self._verified or len(parts) < 2 else self._follow_links(path, parts)

    def _note_link(self, link: Member) -> None:
        if not self._verified and not link.link.startswith(b"/") and b".." not in link.link.split(b"/"):
            self._links[link.path] = link.link

    def _follow_links(self, path: bytes, parts: list[bytes]) -> bytes:
        """Return where tar puts a member: its directory resolved, if every link on the way leads to one already made.

        If not, the path is returned unchanged: checks and the pipeline refuse members below something else.
        """
        parent = path[: -len(parts[-1]) - 1]
        if parent in self._directories:
            return path
        resolved: list[bytes] = []
        left = parts[-2::-1]
        ends: list[int] = []  # of the links that are being followed: how many parts are left after their target
        followed = 0
        while left or ends:
            if ends and len(left) == ends[-1]:
                ends.pop()
                if resolved and b"/".join(resolved) not in self._directories:
                    return path
                continue
            resolved.append(left.pop())
            target = self._links.get(b"/".join(resolved)) if self._links else None
            if target is not None:
                followed += 1
                if followed > _MAX_LINKS:
                    return path
                resolved.pop()
                ends.append(len(left))
                left += [part for part in target.split(b"/")[::-1] if part not in (b"", b".")]
        self._directories.update(b"/".join(resolved[:depth]) for depth in range(1, len(resolved) + 1))
        return b"/".join((*resolved, parts[-1])) if followed else path

    def _refuse_length(self, path: bytes, excess: str) -> None:
        """Note a member that cannot be unpacked; raise ArchiveError without `quirks`, or if the archive is hostile."""
        if self._quirks is None or len(path) > PATH_MAX:
            raise self._error(
                f"{describe_name(path)} has {excess}", hint="shorten the name, and write the archive again"
            )
        self._quirks.too_long.append((path, excess))

    # The body of the current member: the protocol lxcast.tar.member.Body.

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
        left = size = self._body
        self._body = 0
        while left:
            if self.at == self.filled:
                self._fill(1)
            chunk = self.buffer[self.at : min(self.at + left, self.filled)]
            self.at += len(chunk)
            left -= len(chunk)
            yield chunk
        self._skip_padding(size)

    def _holds_names(self) -> bool:
        """Whether the stored body is not a file's content: GNU's incremental directories have a list of names there."""
        return self._current is not None and self._current.type == DIR

    # The buffer.

    def _fill(self, wanted: int) -> int:
        """Have at least `wanted` bytes at the returned offset. Raises ArchiveError if the stream ends before."""
        while self.filled - self.at < wanted:
            if not self._refill():
                raise self._truncated()
        return self.at

    def _refill(self) -> int:
        """Move the rest to the front and read on behind it; return the number of bytes read."""
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
        """Return the next `size` bytes, and skip their padding."""
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

    def _skip_padding(self, size: int) -> None:
        """Skip what fills up the last block of a body; a verified stream may end before it."""
        padding = -size % BLOCK
        while self.at + padding > self.filled:
            padding -= self.filled - self.at
            self.at = self.filled
            if not self._refill():
                if self._verified:
                    return
                raise self._truncated()
        self.at += padding

    def _finish(self) -> None:
        """Read to the end of the stream: only zeros may follow the first block of zeros."""
        self._require_no_orphan()
        self._current = None
        end = self.position - (self.filled - self.at)
        while True:
            if self.at == self.filled and not self._refill():
                return
            if any(self.buffer[self.at : self.filled]):
                raise self._error(
                    "has members after the end of the archive",
                    hint="concatenated archives are not supported: unpack them into one directory and pack that",
                )
            if self.position - end > MAX_TRAILING:
                raise self._error(
                    f"has more than {MAX_TRAILING} bytes of zeros after its end at byte {end}",
                    hint=f"cut them off: head -c {end} FILE",
                )
            self.at = self.filled

    def _require_no_orphan(self) -> None:
        if self._orphan:
            raise self._error("ends after an extended header without a member")

    def _over_limits(self, member: Member, members: int, total: int) -> ArchiveError:
        limits = self._limits
        return self._error(
            f"{printable(member.path)} is member {members} and takes the unpacked size to {total} bytes: "
            f"the limits are {limits.members} members and {limits.size} bytes",
            hint="if the archive is right, raise --max-members or --max-size",
        )

    def _truncated(self) -> ArchiveError:
        if not self.position:
            return ArchiveError(f"{self._name}: is empty", hint="check the step that should have written it")
        return self._error(
            f"is truncated after {self.position} bytes", hint="write it again: the copy or export was cut off"
        )

    def _error(self, text: str, *, hint: str = "") -> ArchiveError:
        after = f" (after {printable(self._current.path)})" if self._current is not None else ""
        return ArchiveError(f"{self._name}{after}: {text}", hint=hint)
