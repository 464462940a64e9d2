"""Fit: add what Proxmox needs and a Docker image lacks, after the last member has streamed by.

The rows (`fits/`) work on held members: the few small files that they name are taken out of the stream and written in
their final form at the end, when the survey knows the distribution, init and units.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import dirname, join
from typing import Literal

from lxcast.errors import ArchiveError, UsageError
from lxcast.identifiers import one_line
from lxcast.model import ImageConfig
from lxcast.rootfs.additions import Addition, read_additions
from lxcast.rootfs.globs import Matcher
from lxcast.rootfs.survey import Survey, follow
from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, printable, regular, symlink

HELD_LIMIT = 64 * 1024
"""Maximum size in bytes of a held file; the files that rows name are far smaller."""

ADD = "add"
"""The name of the additions in the report; no row has this identifier."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A row of the fit table.

    `holds` are the paths that `apply` may change or replace; at the paths in `links` it only replaces symbolic links.
    `reads` are the patterns (`globs.py`) of the files whose text it reads from the survey.
    """

    id: str
    default: bool
    heading: str
    why: str
    apply: "Callable[[Fitting], None]"
    holds: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options of the user. Raises UsageError for release keys and values that a shell cannot read."""

    epoch: int = 0
    """mtime of created and changed members in seconds: SOURCE_DATE_EPOCH or 0."""
    network: Literal["loopback", "dhcp"] = "loopback"
    release: Mapping[str, str] = field(default_factory=dict)
    """KEY -> value of the release file, in order."""
    additions: tuple[Addition, ...] = ()
    process: ImageConfig | None = None
    """The process for which a missing init is written; None writes no init."""
    templates: tuple[Member, ...] = ()
    """Files rendered from the templates of the image; additions of the user take precedence."""

    def __post_init__(self) -> None:
        wrong = [key for key in self.release if not re.fullmatch("[A-Z][A-Z0-9_]*", key)]
        wrong += [f"{key}={value!r}" for key, value in self.release.items() if not value.isprintable()]
        if wrong:
            raise UsageError(
                f"invalid entries for the release file: {', '.join(wrong)}",
                hint="a key has capital letters, digits and '_'; a value is one line of printable characters",
            )


class Fitting:
    """Applies the selected rows to one root filesystem.

    The constructor reads the additions, which take precedence over every row. Raises UsageError for each addition that
    cannot be read.
    """

    survey: Survey
    """The survey of the members that were not held; set when the rows run."""

    def __init__(self, rows: Iterable[Fit], options: FitOptions) -> None:
        self.options = options
        self._rows = tuple(rows)
        self._templates = {member.path for member in options.templates}
        self._additions = {member.path: member for member in options.templates}
        for member in read_additions(options.additions, options.epoch):
            self._additions[member.path] = member
            self._templates.discard(member.path)
        self._targets = {path for path, member in self._additions.items() if member.type != DIR}
        held = {path.encode(): row.id for row in self._rows for path in row.holds}
        self._holders = dict.fromkeys(self._targets, ADD) | held
        self._links = {path.encode() for row in self._rows for path in row.links}
        self._held: dict[bytes, Member] = {}
        self._made: dict[bytes, Member] = {}
        self._row = ADD
        self._notes: dict[str, list[str]] = {ADD: []} if self._additions else {}
        self._notes |= {row.id: [] for row in self._rows}

    def holds(self, path: bytes, type: bytes | None = None) -> bool:
        """Return whether a member at `path`, or a hard link to it, must be passed to `hold`."""
        return path in self._holders or (type == SYM and path in self._links)

    def held(self, path: bytes) -> bool:
        """Return whether `path` was passed to `hold`, which means that the source contains it."""
        return path in self._held

    def hold(self, member: Member) -> None:
        """Keep a member until `finish`.

        Raises ArchiveError if a row would have to hold more than HELD_LIMIT bytes.
        """
        path = member.path
        if member.size > HELD_LIMIT and path in self._targets:
            # An addition replaces it. If a hard link needs the old content, `_separate_links` raises an error.
            self._held[path] = member.changed(body=b"")
            return
        if member.size > HELD_LIMIT:
            raise ArchiveError(
                f"{printable(path)} is too large for the row {self._holders[path]}: expected at most {HELD_LIMIT}"
                f" bytes, got {member.size}",
                hint=f"correct the file in the source, or build with --disable {self._holders[path]}",
            )
        held = member.held()
        self._held[path] = _expanded(held) if held.sparse is not None else held

    def finish(self, survey: Survey) -> Iterator[Member]:
        """Run the rows, then yield held and created members: directories, other members, hard links, each by path.

        Directories come first so that a template that is converted again has the same order.
        """
        self.survey = survey
        self._require_targets()
        self._apply_additions()
        for row in self._rows:
            self._row = row.id
            row.apply(self)
        members, links = self._separate_links()
        for path in list(members):
            while (path := dirname(path)) and path not in members and survey.type(path) is None:
                members[path] = directory(path, 0o755, self.options.epoch)
        yield from (members[path] for path in sorted(members, key=lambda path: (members[path].type != DIR, path)))
        yield from (links[path] for path in sorted(links))

    def _require_targets(self) -> None:
        """Raise ArchiveError for held hard links whose target is missing or that form a cycle."""
        problems = []
        for path, member in self._held.items():
            passed, target = {path}, member.link
            while member.type == LNK and target in self._held and target not in passed:
                passed.add(target)
                member = self._held[target]
                target = member.link
            if member.type == LNK and (target in passed or self.survey.type(target) is None):
                problems.append(f"{printable(path)} is a hard link to {printable(target)}, which is not a file")
        if problems:
            raise ArchiveError("; ".join(problems), hint="the archive is truncated or was made from part of a tree")

    def report(self) -> dict[str, list[str]]:
        """Return a sentence for each change, by selected row."""
        return {row: list(notes) for row, notes in self._notes.items()}

    # Methods for rows.

    def get(self, path: bytes) -> Member | None:
        """Return the held or created member at `path`."""
        return self._made.get(path) or self._held.get(path)

    def type(self, path: bytes) -> bytes | None:
        """Return the type of the member at `path` without following links; None if there is no member."""
        member = self.get(path)
        return member.type if member else self.survey.type(path)

    def resolve(self, path: bytes, *, chrooted: bool = True) -> bytes | None:
        """Resolve `path` like `Survey.resolve` or `resolve_from_host`, including held and created members."""
        return follow(path, self.type, self._link, chrooted=chrooted)

    def _link(self, path: bytes) -> bytes | None:
        member = self.get(path)
        if member is None:
            return self.survey.links.get(path)
        return member.link if member.type == SYM else None

    def text(self, path: bytes) -> str | None:
        """Return the text of the file that `path` resolves to. Files that are not held must match the row's `reads`."""
        found = self.resolve(path)
        if found is None:
            return None
        member = self.get(found)
        if member is None:
            return self.survey.text(found)
        if member.type == LNK:
            return self.text(member.link)
        return bytes(member.head()).decode("utf-8", "backslashreplace") if member.type == REG else None

    def links(self) -> dict[bytes, bytes]:
        """Return every symbolic link with its target."""
        own = {path: member for path, member in (self._held | self._made).items() if member.type == SYM}
        return self.survey.links | {path: member.link for path, member in own.items()}

    def files(self, reads: Iterable[str]) -> list[bytes]:
        """Return the regular files that match the patterns `reads`, including held and created files."""
        find = Matcher(dict.fromkeys(reads, True)).find
        own = dict.fromkeys(path for path, member in (self._held | self._made).items() if member.type == REG)
        return [path for path in {**self.survey.texts, **self.survey.hard_links, **own} if find(path)]

    def write(self, path: bytes, content: str, note: str, mode: int = 0o644) -> None:
        """Create a regular file owned by root, replacing a held member."""
        self._make(regular(path, content.encode(), mode, self.options.epoch), note)

    def link(self, path: bytes, target: bytes, note: str) -> None:
        """Create a symbolic link, replacing a held member."""
        self._make(symlink(path, target, self.options.epoch), note)

    def directory(self, path: bytes, mode: int, note: str) -> None:
        """Create a directory."""
        self._make(directory(path, mode, self.options.epoch), note)

    def note(self, sentence: str) -> None:
        """Add a sentence to the report, as one line."""
        self._notes[self._row].append(one_line(sentence))

    def _make(self, member: Member, note: str) -> None:
        """Create a member unless an addition has the same path, or a parent is a link or a file."""
        path = member.path
        old = self.get(path)
        if path in self._targets:
            return
        blocked = self._blocked(path)
        if blocked is not None:
            self.note(f"left {printable(path)} unchanged: {printable(blocked)} is not a directory")
            return
        if old is not None and old.type == DIR:
            self.note(f"left {printable(path)} unchanged: it is a directory")
            return
        assert old or self.survey.type(path) is None, f"a row that creates {path!r} must hold it"
        self._made[path] = member
        if old is None or not _same(old, member):
            self.note(note)

    def _blocked(self, path: bytes) -> bytes | None:
        """Return the first parent of `path` that exists and is not a directory."""
        parts = path.split(b"/")[:-1]
        parents = (b"/".join(parts[: n + 1]) for n in range(len(parts)))
        return next((parent for parent in parents if self.type(parent) not in (None, DIR)), None)

    def _apply_additions(self) -> None:
        """Write every addition and rendered template to the path that its own path resolves to.

        A template that cannot be written is left out. Raises UsageError for all additions that cannot be written.
        """
        problems = []
        for member in self._additions.values():
            target = self._resolve_parents(member.path)
            existing = None if target is None else self.type(target)
            if target is None:
                wrong = f"a parent of {printable(member.path)} is a file or a dangling link"
            elif existing == DIR or (member.type == DIR and self.type(self.resolve(target) or b"") == DIR):
                if member.type == DIR:
                    continue
                wrong = f"{printable(target)} is a directory in the root filesystem"
            elif existing is not None and target not in self._held:
                wrong = (
                    f"{printable(member.path)} resolves to {printable(target)} in the root filesystem: use that path"
                )
            else:
                self._made[target] = member.changed(path=target)
                self._targets.add(target)
                self.note(f"wrote {printable(target)}" + (f": {member.size} bytes" if member.type == REG else ""))
                continue
            if member.path in self._templates:
                self._targets.discard(member.path)
                self.note(f"left out a template of the image: {wrong}")
            else:
                problems.append(wrong)
        if problems:
            raise UsageError("--add: " + "; ".join(problems), hint="nothing was built; correct the --add options")

    def _resolve_parents(self, path: bytes) -> bytes | None:
        """Return `path` with links in its parents followed: lib/x is usr/lib/x if lib is a link to usr/lib."""
        resolved = b""
        *parents, name = path.split(b"/")
        for part in parents:
            resolved = join(resolved, part)
            if self.type(resolved) not in (None, DIR):
                found = self.resolve(resolved)
                if found is None or self.type(found) != DIR:
                    return None
                resolved = found
        return join(resolved, name)

    def _separate_links(self) -> tuple[dict[bytes, Member], dict[bytes, Member]]:
        """Return the members to write: (all but hard links, hard links).

        A replaced name leaves the group of its hard links; the next name of the group then becomes the file.
        """
        members: dict[bytes, Member] = {}
        links: dict[bytes, Member] = {}
        for path, member in (self._held | self._made).items():
            (links if member.type == LNK else members)[path] = member
        first: dict[bytes, bytes] = {}
        for path in sorted(links):
            target = links[path].link
            while target in self._held and self._held[target].type == LNK:
                target = self._held[target].link
            if target not in self._made or target not in self._held:
                links[path] = links[path].changed(link=target)
            elif target in first:
                links[path] = links[path].changed(link=first[target])
            else:
                old = self._held[target]
                if old.size > HELD_LIMIT:
                    raise ArchiveError(
                        f"{printable(path)} is a hard link to {printable(target)}, which --add replaces; its"
                        f" {old.size} bytes can no longer be read",
                        hint=f"also replace {printable(path)} with --add",
                    )
                members[path] = old.changed(path=path)
                first[target] = path
                del links[path]
        return members, links


def _same(old: Member, new: Member) -> bool:
    """Return whether two members are equal except for their time."""
    kept = ("type", "mode", "uid", "gid", "link", "body")
    return not old.xattrs and all(getattr(old, name) == getattr(new, name) for name in kept)


def _expanded(member: Member) -> Member:
    """Return a sparse member with its holes filled with zeros."""
    content, at = bytearray(member.size), 0
    stored = bytes(member.head())
    for offset, length in member.sparse or ():
        content[offset : offset + length] = stored[at : at + length]
        at += length
    return member.changed(body=bytes(content), sparse=None)
