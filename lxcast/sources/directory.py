"""A root filesystem in a directory, read in the order of a Docker export: directory by directory, by name.

Every name is opened relative to its open directory and never through a link, so that nothing outside can be reached,
even if the tree changes. Mounts are left out.
"""

import os
import re
import stat
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lxcast.errors import ArchiveError, SourceError
from lxcast.model import ImageConfig
from lxcast.record import Origin
from lxcast.sources.paths import exists, expand, is_directory, missing_file
from lxcast.tar.header import BLOCK
from lxcast.tar.member import BLK, CHR, DIR, FIFO, HEAD, LNK, REG, SYM, Member, printable
from lxcast.tar.reader import BUFFER, Limits

_TYPES = {stat.S_IFREG: REG, stat.S_IFDIR: DIR, stat.S_IFLNK: SYM, stat.S_IFCHR: CHR, stat.S_IFBLK: BLK}
_TYPES[stat.S_IFIFO] = FIFO

_ACLS = {"system.posix_acl_access": b"SCHILY.acl.access", "system.posix_acl_default": b"SCHILY.acl.default"}
_ACL_TAGS = {1: "user:", 2: "user:", 4: "group:", 8: "group:", 16: "mask:", 32: "other:"}
"""The numbers of <linux/posix_acl.h>; 2 and 8 have an id."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class DirectorySource:
    """A directory."""

    rereadable = True
    size: int | None = None

    def __init__(self, path: Path, origin: Origin | None = None, config: ImageConfig | None = None) -> None:
        self.origin = origin or Origin("rootfs", str(path))
        self.config = config
        self.warnings: list[str] = []
        self.read = 0
        self._path = path

    @contextmanager
    def members(self, limits: Limits | None = None) -> Iterator["Walk"]:
        """Yield the members of the directory, the directory itself first."""
        self.read = 0
        self.warnings.clear()
        with closing(Walk(self._path, limits or Limits(), self._warn, self._count)) as walk:
            yield walk

    def _warn(self, warning: str) -> None:
        self.warnings.append(f"{self.origin.reference}: {warning}")

    def _count(self, got: int) -> None:
        self.read += got


def open_rootfs(text: str) -> DirectorySource:
    """Return the root filesystem in a directory. Raises SourceError if it does not exist."""
    path = expand(text)
    if not exists(path):
        raise missing_file(path)
    if not is_directory(path):
        raise SourceError(f"{path}: not a directory", hint=f"omit the prefix to read an archive: {path}")
    return DirectorySource(path)


class Walk:
    """The members of a directory, and the buffer for their bodies.

    Small files are read into the buffer one after the other, with a block in between for the header: so they leave as
    one span, as from an archive.
    """

    def __init__(self, path: Path, limits: Limits, warn: Callable[[str], None], count: Callable[[int], None]) -> None:
        self.before_refill: Callable[[], None] = lambda: None
        self.buffer = memoryview(bytearray(BUFFER))
        self.at = self.filled = 0
        self._stored = 0
        self._pieces: list[tuple[int, int]] = []
        self._file = -1
        self._name = b""
        self._inodes: dict[tuple[int, int], bytes] = {}
        self._path, self._limits, self._warn, self._count = path, limits, warn, count
        self._mounts = _mounts(os.fsencode(path.resolve()))
        self._running = self._run()

    def __iter__(self) -> Iterator[Member]:
        return self._running

    def close(self) -> None:
        """Close all open files."""
        self._running.close()

    def _run(self) -> Generator[Member, None, None]:
        members = total = 0
        stack: list[tuple[int, bytes, list[bytes]]] = []
        try:
            with self._failing(b""):
                top = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.append((top, b"", _names(top)))
                status = os.fstat(top)
            yield _made(b"", status, _attributes(top))
            while stack:
                directory, start, names = stack[-1]
                if not names:
                    os.close(stack.pop()[0])
                    continue
                name = names.pop()
                path = start + name
                with self._failing(path):
                    member = self._member(directory, name, path)
                if member is None:
                    continue
                members += 1
                total += member.size
                if members > self._limits.members or total > self._limits.size:
                    raise ArchiveError(
                        f"{self._path}: {printable(path)} is member {members} and takes the size to {total} bytes: "
                        f"the limits are {self._limits.members} members and {self._limits.size} bytes",
                        hint="if the directory is right, raise --max-members or --max-size",
                    )
                if member.type == DIR and path not in self._mounts:
                    stack.append((self._file, path + b"/", _names(self._file)))
                    self._file = -1
                yield member
                self._leave()
        finally:
            self._leave()
            for directory, *_ in stack:
                os.close(directory)

    def _member(self, directory: int, name: bytes, path: bytes) -> Member | None:
        """Return the member of a name; a regular file or a directory stays open."""
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        type = _TYPES.get(stat.S_IFMT(status.st_mode))
        if type is None:
            self._warn(f"{printable(path)} is a socket, which is left out")
            return None
        if path in self._mounts:
            self._warn(f"{printable(path)} is a mount, whose content is left out")
            if type != DIR:
                return None
        if type != DIR and status.st_nlink > 1:
            first = self._inodes.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                return _made(path, status, None, LNK, first)
        if type == SYM:
            return _made(path, status, None, SYM, os.readlink(name, dir_fd=directory))
        if type not in (REG, DIR):
            return _made(path, status, None, type)
        self._file = os.open(name, _READ | (os.O_DIRECTORY if type == DIR else 0), dir_fd=directory)
        status = os.fstat(self._file)
        if _TYPES.get(stat.S_IFMT(status.st_mode)) != type:
            raise self._changed(path)
        member = _made(path, status, _attributes(self._file), type)
        if type == REG:
            member.sparse = self._begin(status, path)
            member.body = self
        return member

    def _begin(self, status: os.stat_result, path: bytes) -> tuple[tuple[int, int], ...] | None:
        """Read the start of a file into the buffer; return its map if it has holes."""
        pieces = _data(self._file, status) if status.st_blocks * 512 < status.st_size else None
        self._pieces = [(0, status.st_size)] if pieces is None else [*pieces]
        self._stored = sum(length for _, length in self._pieces)
        self._pieces.reverse()
        place = (self.filled + BLOCK - 1 & -BLOCK) + BLOCK
        wanted = min(self._stored, HEAD)
        if place + wanted + BLOCK > BUFFER:
            self.before_refill()
            place = BLOCK
        self.at = place
        room = (BUFFER - place) & -BLOCK
        got = self._read(self.buffer[place : place + min(self._stored, room)], path)
        self.filled = min(place + got + BLOCK - 1 & -BLOCK, BUFFER)
        self._name = path
        return pieces

    def _read(self, view: memoryview, path: bytes) -> int:
        """Fill a view with the next bytes of the file."""
        got = 0
        while got < len(view):
            at, length = self._pieces.pop()
            count = os.preadv(self._file, [view[got : got + length]], at)
            if not count:
                raise self._changed(path)
            got += count
            if count < length:
                self._pieces.append((at + count, length - count))
        self._count(got)
        return got

    def head(self) -> memoryview:
        """Return the first bytes of the current member's body."""
        return self.buffer[self.at : min(self.at + self._stored, self.filled)]

    def chunks(self) -> Iterator[memoryview]:
        """Yield the current member's body once."""
        first = self.head()
        left = self._stored - len(first)
        yield first
        while left:
            self.before_refill()
            self.at, self.filled = 0, BUFFER  # no room for the next file, so that these bytes stay until then
            with self._failing(self._name):
                got = self._read(self.buffer[: min(left, BUFFER)], self._name)
            left -= got
            yield self.buffer[:got]

    def _leave(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _changed(self, path: bytes) -> SourceError:
        return SourceError(
            f"{self._path}: {printable(path)} changed during the build",
            hint="stop what writes to it, and build it again",
        )

    @contextmanager
    def _failing(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "build it again"
            if isinstance(error, PermissionError):
                hint = "use sudo, or the user namespace that created it: unshare --map-root-user --map-auto lxcast ..."
            raise SourceError(f"{self._path}: cannot read {printable(path)}: {error.strerror}", hint=hint) from error


def _made(
    path: bytes, status: os.stat_result, xattrs: dict[bytes, bytes] | None, type: bytes = DIR, link: bytes = b""
) -> Member:
    return Member(
        path,
        type,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if type == REG else 0,
        status.st_mtime_ns // 10**9,
        link,
        xattrs=xattrs,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if type in (CHR, BLK) else (0, 0),
    )


def _names(directory: int) -> list[bytes]:
    """Return the names in a directory, in reverse order."""
    return sorted(map(os.fsencode, os.listdir(directory)), reverse=True)


def _data(file: int, status: os.stat_result) -> tuple[tuple[int, int], ...] | None:
    """Return the pieces of a file that have data; None if it has no holes."""
    pieces = []
    end = 0
    while end < status.st_size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: the rest is a hole
            break
        end = min(os.lseek(file, start, os.SEEK_HOLE), status.st_size)
        pieces.append((start, end - start))
    return None if pieces == [(0, status.st_size)] else tuple(pieces)


def _attributes(file: int) -> dict[bytes, bytes] | None:
    """Return the extended attributes that Proxmox keeps, and ACLs as text."""
    found: dict[bytes, bytes] = {}
    try:
        names = os.listxattr(file)
    except OSError:  # not supported by the filesystem
        return None
    for name in names:
        if name in _ACLS:
            found[_ACLS[name]] = _acl(os.getxattr(file, name))
        elif name.startswith("user.") or name == "security.capability":
            found[os.fsencode(name)] = os.getxattr(file, name)
    return dict(sorted(found.items())) or None


def _acl(value: bytes) -> bytes:
    """Return an ACL as GNU tar writes it, with ids for names: a version, then tag, permissions and id of each."""
    lines = []
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        letters = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        lines.append(f"{_ACL_TAGS[tag]}{number if tag in (2, 8) else ''}:{letters}")
    return ",".join(lines).encode()


def _mounts(root: bytes) -> set[bytes]:
    """Return the mount points below a directory (proc_pid_mountinfo(5))."""
    start = root.rstrip(b"/") + b"/"
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    points = (re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split()[4]) for line in lines)
    return {point.removeprefix(start) for point in points if point.startswith(start) and point != start}
