"""The pipeline: the members of a source pass through cleanup, fit and survey to the writer, once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lxcast.errors import SourceError
from lxcast.rootfs.cleanup import Cleanup, Hit
from lxcast.rootfs.fit import Fitting
from lxcast.rootfs.globs import Matcher
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, Member, directory, printable
from lxcast.tar.writer import Writer

_TOUCHED = frozenset((b"dev", b"etc"))
"""Directories whose time an engine changes when it starts a container, because it creates mount points in them."""

_LISTED = 10  # problems of one kind that an error lists


class Members(Protocol):
    """A stream of members; `before_refill` is called before the bytes of earlier members are overwritten."""

    before_refill: Callable[[], None]

    def __iter__(self) -> Iterator[Member]:
        """Yield each member."""


@dataclass(slots=True)
class Repairs:
    """Facts found in a first reading that only a second reading can apply."""

    repeated: dict[bytes, int] = field(default_factory=dict)
    """Path -> number of occurrences, if more than one; the last occurrence counts."""
    directories: dict[bytes, Member] = field(default_factory=dict)
    """The last form of a repeated directory; it replaces the first one, which comes before the directory's content."""
    promoted: dict[bytes, bytes] = field(default_factory=dict)
    """A file that cleanup drops -> a hard link to it that stays and takes over its content."""
    parents: dict[bytes, Member] = field(default_factory=dict)
    """The parent directories of such a link, which may come too late."""
    rows: dict[bytes, str] = field(default_factory=dict)
    """Dropped file -> row that drops it."""

    def __bool__(self) -> bool:
        return bool(self.repeated or self.promoted)

    def refuse(self, name: str) -> SourceError:
        """Return the error for a source that cannot be read twice."""
        problems = [f"{printable(path)} occurs {count} times" for path, count in sorted(self.repeated.items())] + [
            f"{printable(link)} is a hard link to {printable(target)}, which the row {self.rows[target]} drops"
            for target, link in sorted(self.promoted.items())
        ]
        rows = sorted({self.rows[target] for target in self.promoted})
        either = "".join(f", or --disable {row}" for row in rows)
        return SourceError(
            f"{name}: {'; '.join(problems)}", hint=f"use a source that can be read twice, such as a file{either}"
        )


class Pipeline:
    """One reading of a source.

    `made` is the mtime of members that lxcast creates or changes, `clamp` the latest mtime of all others (None keeps
    them), both in seconds. `repairs` are the result of an earlier reading.
    """

    def __init__(
        self,
        cleanup: Cleanup,
        fitting: Fitting,
        survey: Survey,
        writer: Writer,
        *,
        interests: Iterable[str],
        made: int = 0,
        clamp: int | None = None,
        repairs: Repairs | None = None,
        name: str = "the source",
    ) -> None:
        self._cleanup, self._fitting, self._survey, self._writer = cleanup, fitting, survey, writer
        # Most members match no row. One test shows this, for most directories for their whole content.
        self._interests = Matcher(dict.fromkeys(interests, True))
        self._made, self._clamp, self._name = made, clamp, name
        self._repairs = repairs or Repairs()
        self._found = Repairs()
        self._left = dict(self._repairs.repeated)
        self._dropped: dict[bytes, str] = {}
        self._aliases: dict[bytes, bytes] = {}  # hard links that were dropped or are held
        self._twice: dict[bytes, int] = {}
        self._ready: deque[Member] | None = None
        self._waiting: dict[bytes, list[Member]] = {}
        self._early: set[bytes] = set()
        self._promoted = frozenset(self._repairs.promoted.values())
        self._replaced: set[bytes] = set()

    def run(self, members: Members) -> Repairs:
        """Process every member; return the repairs for a second reading (empty if the template is complete).

        Raises SourceError for a hard link without a target, members below a path that is not a directory, and a source
        that differs in the second reading.
        """
        survey, writer, interest, clamp = self._survey, self._writer, self._interests.find, self._clamp
        note, add, waiting, strip = survey.note, writer.add, self._waiting, self._cleanup.strip
        members.before_refill = writer.flush
        plain, unmatched = not self._repairs, b"/"
        # Not every archive has a member for the root directory, and an archive of a temporary directory gives it mode
        # 0700.
        self._write(directory(b"", 0o755, self._made))
        for member in members:
            path = member.path
            if member.xattrs:
                strip(member)
            if not plain or member.type != REG or (waiting and path in waiting):
                self._take(member)
                continue
            if not path.startswith(unmatched):
                if interest(path) is not None:
                    self._take(member)
                    continue
                unmatched = self._interests.unmatched_prefix(path)
            if clamp is not None and member.mtime > clamp:
                member.mtime, member.front = clamp, None
            note(member)
            add(member)
        if self._waiting:
            raise SourceError(
                f"{self._name}: {_describe_waiting(self._waiting)}",
                hint="the archive is truncated or was made from part of a tree",
            )
        if any(self._left.values()) or self._promoted - self._early:
            raise SourceError(f"{self._name} changed while it was read", hint="build it again")
        for member in self._fitting.finish(survey):
            if not self._fitting.held(member.path):
                survey.made.add(member.path)
            self._write(member)
        _require_directories(survey, self._name)
        writer.finish()
        return self._result()

    def _take(self, member: Member) -> None:
        """Process one member that a row, a link or a repair may affect."""
        path = member.path
        if not path or path in self._early or (member.type == LNK and path in self._promoted):
            return
        hit = self._cleanup.action(path, member.type)
        if hit is not None and not self._clean(member, hit):
            return
        if path in self._left and not self._is_last(member):
            return
        if hit is not None and hit.verb == "truncate":
            member = member.changed(size=0, body=b"", sparse=None)
        if member.type == LNK:
            self._take_link(member)
        else:
            self._write_or_hold(member)

    def _write_or_hold(self, member: Member) -> None:
        """Write a member, or pass it to the fits if a row holds its path."""
        if self._fitting.holds(member.path, member.type):
            self._fitting.hold(member)
            self._release(member.path)
        else:
            self._write(member)

    def _clean(self, member: Member, hit: Hit) -> bool:
        """Apply a hit; return whether the member itself stays."""
        self._cleanup.count(hit, member)
        if hit.verb != "drop":
            return True
        path = member.path
        link = self._repairs.promoted.get(path)
        if link is not None:
            if path in self._left and not self._is_last(member):
                return False
            for parent in _parents(link):
                if self._survey.type(parent) is None:
                    self._write(self._repairs.parents[parent])
                    self._early.add(parent)
            self._early.add(link)
            self._write_or_hold(member.changed(path=link))
        elif member.type == LNK:
            self._aliases[path] = member.link
            self._release(path)
        elif member.type != DIR:
            if path in self._dropped:
                self._twice[path] = self._twice.get(path, 1) + 1
            self._dropped[path] = hit.row
            self._release(path)
        return False

    def _take_link(self, member: Member) -> None:
        """Process a hard link to a file that was written, held or dropped, or that comes later."""
        survey = self._survey
        target = self._origin(member.link)
        target = self._repairs.promoted.get(target, target)
        target = survey.hard_links.get(target, target)
        if target in self._dropped:
            row = self._dropped[target]
            link = self._found.promoted.setdefault(target, member.path)
            self._found.rows[target] = row
            if link == member.path:
                # Write an empty file as the target of further links; the result of this reading is discarded.
                self._write_or_hold(Member(link, REG, member.mode, member.uid, member.gid))
        elif (
            self._fitting.holds(target)
            or self._fitting.held(target)
            or (self._fitting.holds(member.path) and survey.type(target) not in (None, DIR))
        ):
            self._fitting.hold(member.changed(link=target, body=b""))
            self._aliases[member.path] = target
            self._release(member.path)
        elif survey.type(target) is None:
            self._waiting.setdefault(target, []).append(member.changed(link=target, body=b""))
        elif survey.type(target) == DIR:
            raise SourceError(
                f"{self._name}: {printable(member.path)} is a hard link to the directory {printable(target)}",
                hint="no filesystem supports that; create the archive again",
            )
        else:
            mode, uid, gid = survey.owner(target) or (member.mode, member.uid, member.gid)
            mtime = survey.mtime(target) or 0
            changes = {"link": target, "mode": mode, "uid": uid, "gid": gid, "mtime": mtime, "xattrs": None}
            self._write(member.changed(**changes))

    def _write(self, member: Member) -> None:
        path = member.path
        if path in _TOUCHED:
            member.mtime, member.front = self._made, None
        elif self._clamp is not None and member.mtime > self._clamp:
            member.mtime, member.front = self._clamp, None
        if member.type == DIR and self._survey.type(path) is not None:
            self._found.directories[path] = member.changed(body=b"")
        self._survey.see(member)
        self._writer.add(member)
        self._release(path)

    def _release(self, path: bytes) -> None:
        """Process the links that waited for `path`, and then the links that waited for those, without recursion."""
        waiting = self._waiting.pop(path, ())
        if self._ready is not None:
            self._ready.extend(waiting)
        elif waiting:
            self._ready = ready = deque(waiting)
            while ready:
                self._take_link(ready.popleft())
            self._ready = None

    def _origin(self, path: bytes) -> bytes:
        """Follow hard links that were not written to the file that they name."""
        visited = set()
        while path in self._aliases and path not in visited:
            visited.add(path)
            path = self._aliases[path]
        return path

    def _is_last(self, member: Member) -> bool:
        """Count down a repeated path; the first occurrence of a directory gets the form of the last one."""
        path = member.path
        self._left[path] -= 1
        last = self._repairs.directories.get(path)
        if last is None:
            return self._left[path] == 0
        if member.type != DIR or path in self._replaced:
            return False
        self._replaced.add(path)
        for name in ("mode", "uid", "gid", "mtime", "xattrs"):
            setattr(member, name, getattr(last, name))
        return True

    def _result(self) -> Repairs:
        found, survey = self._found, self._survey
        for path in survey.quirks.repeated:
            found.repeated[path] = found.repeated.get(path, 1) + 1
            if survey.type(path) != DIR:
                found.directories.pop(path, None)
        found.repeated |= {path: count for path, count in self._twice.items() if path in found.promoted}
        for link in found.promoted.values():
            for parent in _parents(link):
                mode, uid, gid = survey.owner(parent) or (0o755, 0, 0)
                found.parents[parent] = Member(parent, DIR, mode, uid, gid, mtime=survey.mtime(parent) or 0)
        return found


def _parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:depth]) for depth in range(1, len(parts))]


def _require_directories(survey: Survey, name: str) -> None:
    below = {path.rpartition(b"/")[0]: path for path in survey.paths()}
    wrong = sorted(path for path in below if survey.type(path) not in (None, DIR))
    if wrong:
        lines = []
        for path in wrong[:_LISTED]:
            target = survey.links.get(path, b"").decode("utf-8", "backslashreplace")
            what = f"a link to {target}" if target else "not a directory"
            lines.append(f"{printable(path)} is {what}, but {printable(below[path])} is below it")
        raise SourceError(
            f"{name}: {'; '.join(lines)}{_more(wrong)}",
            hint="unpack the archive with tar and build from the directory: lxcast build rootfs:DIR",
        )


def _describe_waiting(waiting: dict[bytes, list[Member]]) -> str:
    lines = [
        f"{printable(link.path)} is a hard link to {printable(target)}, which is not in the source"
        for target, links in waiting.items()
        for link in links
    ]
    return "; ".join(lines[:_LISTED]) + _more(lines)


def _more(problems: Sequence[object]) -> str:
    return f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
