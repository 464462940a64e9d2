"""The survey: what was seen of the members while they streamed by.

Checks and fits judge it when the last member has passed: a row never needs to know the future, and nothing is read
twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from lxcast.rootfs.globs import Matcher
from lxcast.tar.member import BLK, CHR, DIR, FIFO, LNK, REG, SYM, Member
from lxcast.tar.quirks import Quirks

TEXT_LIMIT = 64 * 1024
"""Bytes of a surveyed file that are kept; what the rows read (os-release, sshd_config, units) is far smaller."""

MAX_ID = 65535
"""The highest user and group id of an unprivileged container (u:0:100000:65536 in Proxmox's default map)."""

ELF_START = 20
"""Bytes of an executable that are kept: e_machine ends there (elf(5))."""

SHEBANG = 128
"""Bytes of a script that are kept: well above BINPRM_BUF_SIZE's use in practice."""

_LINKS_FOLLOWED = 40  # as many as Linux follows (MAXSYMLINKS, path_resolution(7))

_TYPES = (REG, LNK, SYM, CHR, BLK, DIR, FIFO)
_TYPE, _OWNER, _OWNER_MASK, _MTIME = 7, 3, (1 << 24) - 1, 27

Scan = Callable[[bytes, memoryview], tuple[str, ...]]
"""(path, the first 64 KiB) -> identifiers of what was found in them."""


@dataclass(frozen=True, slots=True)
class Executable:
    """A regular file with an execute bit: its mode and first bytes (enough for an ELF machine or a shebang)."""

    mode: int
    head: bytes


class Survey:
    """What was seen of the members, and questions about it; paths are like `Member.path`.

    `reads` are the patterns whose files' text and owner are kept; `scan` judges the first 64 KiB of the regular files
    below `scan_roots` (paths with a closing "/"). `quirks` is the one that the archive's reader fills, if any.
    """

    def __init__(
        self,
        reads: Iterable[str] = (),
        scan: Scan | None = None,
        scan_roots: tuple[bytes, ...] = (),
        quirks: Quirks | None = None,
    ) -> None:
        self.unpacked_size = 0
        """The bytes of all regular files."""
        self.links: dict[bytes, bytes] = {}
        """Symbolic links, with the target as written."""
        self.hard_links: dict[bytes, bytes] = {}
        """Hard links, with the path of the first name."""
        self.executables: dict[bytes, Executable] = {}
        self.texts: dict[bytes, bytes] = {}
        """Content of the regular files that match `reads`, at most TEXT_LIMIT bytes of each."""
        self.verdicts: dict[bytes, tuple[str, ...]] = {}
        """What `scan` found, by path."""
        self.devices: list[bytes] = []
        self.big_ids: list[tuple[bytes, int, int]] = []
        """(path, uid, gid) where one of the two is above 65535."""
        self.made: set[bytes] = set()
        """The paths that the source does not have: fit put them in."""
        self.quirks = quirks or Quirks()
        # path -> type, (mode, uid, gid) by number and mtime in one small int: with the path itself the only thing that
        # is kept of every member, so that its size decides the memory of a run.
        self._entries: dict[bytes, int] = {}
        self._keys: dict[tuple[int, int, int, bytes], int] = {}
        self._owners: list[tuple[int, int, int]] = []
        self._reads = Matcher(dict.fromkeys(reads, True))
        self._scan = scan
        self._scan_roots = scan_roots
        self._known: dict[Executable, Executable] = {}

    def see(self, member: Member) -> None:
        """Take note of a member that is about to be written; its body is only looked at, not consumed.

        A path that stands twice, and a hard link before its target or to a folder, are noted in `quirks`.
        """
        path, type = member.path, member.type
        if type == LNK and self.type(member.link) in (None, DIR):
            self.quirks.forward_links.append(path)
        self._enter(member)
        if type == REG:
            self.unpacked_size += member.size
            if member.mode & 0o111 or path.startswith(self._scan_roots) or self._reads.find(path):
                self._look_inside(member)
        elif type == SYM:
            self.links[path] = member.link
        elif type == LNK:
            self.hard_links[path] = self.hard_links.get(member.link, member.link)
        elif type in (CHR, BLK):
            self.devices.append(path)

    def note(self, member: Member) -> None:
        """Take note of a regular file that no pattern and no scan asks for: the same as `see`, in less time."""
        mode, entries = member.mode, self._entries
        known = len(entries)
        self.unpacked_size += member.size
        low = self._keys.get((mode, member.uid, member.gid, REG))
        entries[member.path] = member.mtime << _MTIME | (self._new_key(member) if low is None else low)
        if len(entries) == known:
            self.quirks.repeated.append(member.path)
        if mode & 0o111:
            self._look_inside(member)

    def _enter(self, member: Member) -> None:
        entries = self._entries
        known = len(entries)
        low = self._keys.get((member.mode, member.uid, member.gid, member.type))
        entries[member.path] = member.mtime << _MTIME | (self._new_key(member) if low is None else low)
        if len(entries) == known:
            self.quirks.repeated.append(member.path)

    def _new_key(self, member: Member) -> int:
        """Give a combination of owner, mode and type its number."""
        if member.uid > MAX_ID or member.gid > MAX_ID:
            self.big_ids.append((member.path, member.uid, member.gid))
        owner = (member.mode, member.uid, member.gid)
        self._owners.append(owner)
        low = self._keys[*owner, member.type] = (len(self._owners) - 1) << _OWNER | member.type[0] & _TYPE
        return low

    def _look_inside(self, member: Member) -> None:
        """Keep what a rule may ask about the content of a regular file."""
        path, head = member.path, member.head()
        if member.mode & 0o111:
            start = bytes(head[: SHEBANG if bytes(head[:2]) == b"#!" else ELF_START])
            executable = Executable(member.mode, start)
            self.executables[path] = self._known.setdefault(executable, executable)
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
        """Return the type of the member at `path`, links not followed; None where there is none."""
        entry = self._entries.get(path)
        return None if entry is None else _TYPES[entry & _TYPE]

    def owner(self, path: bytes) -> tuple[int, int, int] | None:
        """Return (mode, uid, gid) of the member at `path`, links not followed."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        return self._owners[entry >> _OWNER & _OWNER_MASK]

    def mtime(self, path: bytes) -> int | None:
        """Return the modification time of the member at `path` in seconds, links not followed."""
        entry = self._entries.get(path)
        return None if entry is None else entry >> _MTIME

    def paths(self) -> Iterable[bytes]:
        """Return every path, in the order of the members."""
        return self._entries.keys()

    def paths_with(self, part: bytes) -> list[bytes]:
        """Return every path that holds `part`, in the order of the members."""
        found: list[bytes] = []
        paths = iter(self._entries)
        # Joined blocks are searched at the speed of memory; a test of each path costs four times as much.
        while block := list(islice(paths, 4096)):
            if part in b"\0".join(block):
                found += [path for path in block if part in path]
        return found

    def resolve(self, path: bytes) -> bytes | None:
        """Follow every symbolic link in `path`, as a process whose root is this filesystem would.

        Returns the path of a member that is no symbolic link, or None where a link dangles, loops, or leads through a
        file.
        """
        return self._follow(path, chrooted=True)

    def resolve_from_host(self, path: bytes) -> bytes | None:
        """Follow `path` as a process on the node does: a link that leaves the root gives None."""
        return self._follow(path, chrooted=False)

    def _follow(self, path: bytes, *, chrooted: bool) -> bytes | None:
        done: list[bytes] = []
        left = path.split(b"/")[::-1]
        links = 0
        while left:
            part = left.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not done and not chrooted:
                    return None
                del done[-1:]
                continue
            here = b"/".join((*done, part))
            target = self.links.get(here)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS_FOLLOWED or (target.startswith(b"/") and not chrooted):
                return None
            if target.startswith(b"/"):
                done.clear()
            left.extend(target.split(b"/")[::-1])
        found = b"/".join(done)
        return found if found in self._entries else None

    def executable(self, path: bytes) -> Executable | None:
        """Return the executable that `path` leads to (links followed, hard ones too), or None."""
        found = self.resolve(path)
        return None if found is None else self.executables.get(self.hard_links.get(found, found))

    def text(self, path: bytes) -> str | None:
        """Return the text of the file that `path` leads to (links followed), or None; undecodable bytes are escaped."""
        found = self.resolve(path)
        if found is None:
            return None
        content = self.texts.get(self.hard_links.get(found, found))
        return None if content is None else content.decode("utf-8", "backslashreplace")
