"""One entry of a root filesystem, from any kind of source."""

from collections.abc import Iterator
from typing import Protocol

from lxcast.identifiers import one_line

REG = b"0"
LNK = b"1"
SYM = b"2"
CHR = b"3"
BLK = b"4"
DIR = b"5"
FIFO = b"6"

TYPE_NAMES = {
    REG: "file",
    LNK: "hard link",
    SYM: "symbolic link",
    CHR: "character device",
    BLK: "block device",
    DIR: "directory",
    FIFO: "named pipe",
}
"""The types' names in messages."""

HEAD = 64 * 1024
"""Bytes of a body that `Member.head` returns at least (all of a shorter one)."""


class Body(Protocol):
    """The stream that a member's bytes come from.

    `buffer` holds the bytes that were read so far, up to `filled`; the current body begins at `at`. The writer may put
    a header into the block before the body, and zeros into its padding.
    """

    buffer: memoryview
    at: int
    filled: int

    def head(self) -> memoryview:
        """Return the first bytes, at least min(size, HEAD) of them, without consuming any."""

    def chunks(self) -> Iterator[memoryview]:
        """Yield the whole body once; each chunk is valid until the next one is asked for."""


class Member:
    """One entry of a root filesystem: metadata, and a body that may still be streaming.

    `path` is relative to the root filesystem, without "./" and without a closing "/"; the root itself is b"".
    `type` is one of REG, LNK, SYM, CHR, BLK, DIR, FIFO. `mode` holds the permission bits only (mode & 0o7777).
    `size` is the length of the body in bytes as a program would read it; 0 for all but regular files. `mtime` is in
    whole seconds. `link` is the target: of a symbolic link as it was written, of a hard link a path like `path`.
    `xattrs` maps names (b"user.x", b"security.capability") to values; ACLs are in it as text, under the names
    b"SCHILY.acl.access" and b"SCHILY.acl.default". `sparse` lists (offset, length) of the data of a sparse file, whose
    stored body is these pieces one after the other. `device` is (major, minor).

    `front` is 1 + the sum of the header's bytes before its checksum, if the block before the body already holds them as
    they should be written; else None. Set it to None after changing an attribute.

    A streaming member is valid until the source is asked for the next one; `held` returns a copy to keep.
    """

    __slots__ = (
        "body",
        "device",
        "front",
        "gid",
        "link",
        "mode",
        "mtime",
        "path",
        "size",
        "sparse",
        "type",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        path: bytes,
        type: bytes = REG,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime: int = 0,
        link: bytes = b"",
        body: bytes | Body = b"",
        xattrs: dict[bytes, bytes] | None = None,
        sparse: tuple[tuple[int, int], ...] | None = None,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        self.path = path
        self.type = type
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = link
        self.body = body
        self.xattrs = xattrs
        self.sparse = sparse
        self.device = device
        self.front: int | None = None

    @property
    def stored(self) -> int:
        """The length of the stored body in bytes: less than `size` for a sparse file."""
        return self.size if self.sparse is None else sum(length for _, length in self.sparse)

    def head(self) -> memoryview:
        """Return the first bytes of the stored body: all of it, or at least HEAD bytes."""
        body = self.body
        return memoryview(body) if isinstance(body, bytes) else body.head()

    def chunks(self) -> Iterator[memoryview]:
        """Yield the stored body once."""
        body = self.body
        if isinstance(body, bytes):
            yield memoryview(body)
        else:
            yield from body.chunks()

    def held(self) -> "Member":
        """Return a copy whose body is bytes, so that it outlives the stream."""
        return self.changed(body=b"".join(bytes(chunk) for chunk in self.chunks()))

    def changed(self, **changes: object) -> "Member":
        """Return a copy with some attributes replaced."""
        copy = Member.__new__(Member)
        for name in Member.__slots__:
            setattr(copy, name, changes.get(name, getattr(self, name)))
        copy.front = None
        return copy

    def __repr__(self) -> str:
        return f"Member({self.path!r}, {self.type!r}, {self.mode:04o}, {self.uid}:{self.gid}, {self.size} bytes)"


def regular(path: bytes, content: bytes, mode: int = 0o644, mtime: int = 0) -> Member:
    """Return a regular file that root owns."""
    return Member(path, REG, mode, size=len(content), mtime=mtime, body=content)


def directory(path: bytes, mode: int = 0o755, mtime: int = 0) -> Member:
    """Return a directory that root owns."""
    return Member(path, DIR, mode, mtime=mtime)


def symlink(path: bytes, target: bytes, mtime: int = 0) -> Member:
    """Return a symbolic link that root owns."""
    return Member(path, SYM, 0o777, mtime=mtime, link=target)


def printable(path: bytes) -> str:
    """Return a member's path for a message: undecodable and control bytes escaped, the root as "/"."""
    return "/" + one_line(path.decode("utf-8", "backslashreplace"))
