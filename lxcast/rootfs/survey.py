"""The survey: what was recorded about the members while they streamed by.

Checks and fits examine it after the last member, so they see the whole filesystem and nothing is read twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from lxcast.rootfs.globs import Matcher
from lxcast.tar.member import BLK, CHR, DIR, FIFO, LNK, REG, SYM, Member
from lxcast.tar.quirks import Quirks

TEXT_LIMIT = 64 * 1024
"""Bytes kept of a surveyed file; the files that rows read (os-release, sshd_config, units) are far smaller."""

MAX_ID = 65535
"""The highest user and group id of an unprivileged container (u:0:100000:65536 in Proxmox's default map)."""

ELF_START = 20
"""Bytes kept of an executable: up to the end of e_machine (elf(5))."""

SHEBANG = 128
"""Bytes kept of a script, enough for interpreter lines in practice (the limit is BINPRM_BUF_SIZE)."""

_LINKS_FOLLOWED = 40  # the limit of Linux (MAXSYMLINKS, path_resolution(7))

_TYPES = (REG, LNK, SYM, CHR, BLK, DIR, FIFO)
_TYPE, _OWNER, _OWNER_MASK, _MTIME = 7, 3, (1 << 24) - 1, 27

Scan = Callable[[bytes, memoryview], tuple[str, ...]]
"""(path, the first 64 KiB) -> identifiers of the findings."""


def follow(
    path: bytes,
    type_of: Callable[[bytes], bytes | None],
    link_of: Callable[[bytes], bytes | None],
    *,
    chrooted: bool = True,
) -> bytes | None:
    """Resolve `path` like the kernel (path_resolution(7)) in a filesystem that the two functions describe.

    `chrooted` resolves for a process whose root is the filesystem; otherwise a link that leaves it gives None. Returns
    None if a link dangles or loops, or if a component is not a directory. Directories without a member are accepted as
    components.
    """
    resolved: list[bytes] = []
    left = path.split(b"/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part == b"":
            continue
        if resolved and type_of(b"/".join(resolved)) not in (DIR, None):
            return None
        if part == b".":
            continue
        if part == b"..":
            if not resolved and not chrooted:
                return None
            del resolved[-1:]
            continue
        target = link_of(b"/".join((*resolved, part)))
        if target is None:
            resolved.append(part)
            continue
        links += 1
        if links > _LINKS_FOLLOWED or (target.startswith(b"/") and not chrooted):
            return None
        if target.startswith(b"/"):
            resolved.clear()
        left.extend(target.split(b"/")[::-1])
    found = b"/".join(resolved)
    return found if type_of(found) is not None else None


@dataclass(frozen=True, slots=True)
class Executable:
    """A regular file with an execute bit: its mode and first bytes (enough for an ELF machine or a shebang)."""

    mode: int
    head: bytes


class Survey:
    """Records facts about members and answers questions about them; paths are like `Member.path`.

    `reads` are the patterns of the files whose content is kept. `scan` examines the first 64 KiB of the regular files
    below `scan_roots` (paths with a final "/"). `quirks` is the one that the archive's reader fills, if any.
    """

    def __init__(
        self,
        reads: Iterable[str] = (),
        scan: Scan | None = None,
        scan_roots: tuple[bytes, ...] = (),
        quirks: Quirks | None = None,
    ) -> None:
        self.unpacked_size = 0
        """Total size of all regular files in bytes."""
        self.links: dict[bytes, bytes] = {}
        """Symbolic link -> target as written."""
        self.hard_links: dict[bytes, bytes] = {}
        """Hard link -> path of the first name."""
        self.executables: dict[bytes, Executable] = {}
        self.texts: dict[bytes, bytes] = {}
        """Content of the regular files that match `reads`, at most TEXT_LIMIT bytes of each."""
        self.verdicts: dict[bytes, tuple[str, ...]] = {}
        """Results of `scan`, by path."""
        self.devices: list[bytes] = []
        self.big_ids: list[tuple[bytes, int, int]] = []
        """(path, uid, gid) of members with an id above 65535."""
        self.made: set[bytes] = set()
        """Paths that are not in the source: fit created them."""
        self.quirks = quirks or Quirks()
        # path -> type, number of (mode, uid, gid) and mtime in one small int. These two are all that is kept of every
        # member, so their size determines the memory of a run.
        self._entries: dict[bytes, int] = {}
        self._keys: dict[tuple[int, int, int, bytes], int] = {}
        self._owners: list[tuple[int, int, int]] = []
        self._reads = Matcher(dict.fromkeys(reads, True))
        self._scan = scan
        self._scan_roots = scan_roots
        self._executables: dict[Executable, Executable] = {}

    def see(self, member: Member) -> None:
        """Record a member that is about to be written, without consuming its body.

        Repeated paths, and hard links to directories or to later members, are recorded in `quirks`.
        """
        path, type = member.path, member.type
        if type == LNK and self.type(member.link) in (None, DIR):
            self.quirks.forward_links.append(path)
        self._enter(member)
        if type == REG:
            self.unpacked_size += member.size
            if member.mode & 0o111 or path.startswith(self._scan_roots) or self._reads.find(path):
                self._read_head(member)
        elif type == SYM:
            self.links[path] = member.link
        elif type == LNK:
            self.hard_links[path] = self.hard_links.get(member.link, member.link)
        elif type in (CHR, BLK):
            self.devices.append(path)

    def note(self, member: Member) -> None:
        """Record a regular file that matches no pattern and no scan root: a faster `see`."""
        mode, entries = member.mode, self._entries
        count = len(entries)
        self.unpacked_size += member.size
        low = self._keys.get((mode, member.uid, member.gid, REG))
        entries[member.path] = member.mtime << _MTIME | (self._new_key(member) if low is None else low)
        if len(entries) == count:
            self.quirks.repeated.append(member.path)
        if mode & 0o111:
            self._read_head(member)

    def _enter(self, member: Member) -> None:
        entries = self._entries
        count = len(entries)
        low = self._keys.get((member.mode, member.uid, member.gid, member.type))
        entries[member.path] = member.mtime << _MTIME | (self._new_key(member) if low is None else low)
        if len(entries) == count:
            self.quirks.repeated.append(member.path)

    def _new_key(self, member: Member) -> int:
        """Assign a number to a combination of owner, mode and type."""
        if member.uid > MAX_ID or member.gid > MAX_ID:
            self.big_ids.append((member.path, member.uid, member.gid))
        owner = (member.mode, member.uid, member.gid)
        self._owners.append(owner)
        low = self._keys[*owner, member.type] = (len(self._owners) - 1) << _OWNER | member.type[0] & _TYPE
        return low

    def _read_head(self, member: Member) -> None:
        """Keep what rows need of the content of a regular file."""
        path, head = member.path, member.head()
        if member.mode & 0o111:
            start = bytes(head[: SHEBANG if bytes(head[:2]) == b"#!" else ELF_START])
            executable = Executable(member.mode, start)
            self.executables[path] = self._executables.setdefault(executable, executable)
        if self._scan and path.startswith(self._scan_roots):
            verdicts = self._scan(path, head[:TEXT_LIMIT])
            if verdicts:
                self.verdicts[path] = verdicts
        if self._reads.find(path):
            self.texts[path] = bytes(head[:TEXT_LIMIT])

    @property
    def members(self) -> int:
        """The number of distinct paths."""
        return len(self._entries)

    def type(self, path: bytes) -> bytes | None:
        """Return the type of the member at `path` without following links; None if there is no member."""
        entry = self._entries.get(path)
        return None if entry is None else _TYPES[entry & _TYPE]

    def owner(self, path: bytes) -> tuple[int, int, int] | None:
        """Return (mode, uid, gid) of the member at `path` without following links."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        return self._owners[entry >> _OWNER & _OWNER_MASK]

    def mtime(self, path: bytes) -> int | None:
        """Return the modification time in seconds of the member at `path` without following links."""
        entry = self._entries.get(path)
        return None if entry is None else entry >> _MTIME

    def paths(self) -> Iterable[bytes]:
        """Return every path in member order."""
        return self._entries.keys()

    def paths_with(self, part: bytes) -> list[bytes]:
        """Return every path that contains `part`, in member order."""
        found: list[bytes] = []
        paths = iter(self._entries)
        # Searching joined blocks takes a quarter of the time of testing each path.
        while block := list(islice(paths, 4096)):
            if part in b"\0".join(block):
                found += [path for path in block if part in path]
        return found

    def resolve(self, path: bytes) -> bytes | None:
        """Follow every symbolic link in `path`, as the kernel does for a process whose root is this filesystem.

        Returns the path of a member that is not a symbolic link, or None if a link dangles, loops or passes through a
        file.
        """
        return self._follow(path, chrooted=True)

    def resolve_from_host(self, path: bytes) -> bytes | None:
        """Follow `path` as a process on the node does. A link that leaves the root gives None."""
        return self._follow(path, chrooted=False)

    def _follow(self, path: bytes, *, chrooted: bool) -> bytes | None:
        return follow(path, self.type, self.links.get, chrooted=chrooted)

    def unread_texts(self, paths: Iterable[str]) -> list[bytes]:
        """Return the files that `paths` resolve to through links but whose content was not kept.

        The target of a link is unknown until the link streams by, so these files need a second reading.
        """
        found = (self.resolve(path.encode()) for path in paths)
        files = (path for path in found if path is not None and self.type(path) in (REG, LNK))
        return sorted({first for path in files if (first := self.hard_links.get(path, path)) not in self.texts})

    def executable(self, path: bytes) -> Executable | None:
        """Return the executable that `path` resolves to through symbolic and hard links, or None."""
        found = self.resolve(path)
        return None if found is None else self.executables.get(self.hard_links.get(found, found))

    def text(self, path: bytes) -> str | None:
        """Return the text of the file that `path` resolves to, or None; undecodable bytes are escaped."""
        found = self.resolve(path)
        if found is None:
            return None
        content = self.texts.get(self.hard_links.get(found, found))
        return None if content is None else content.decode("utf-8", "backslashreplace")
