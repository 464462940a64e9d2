"""Fit: what Proxmox needs and a Docker image lacks is put in when the last member has passed.

The rows (`fits/`) work on held members: the few small files that they name are taken out of the stream as they pass
and written in their final form at the end, when the survey knows distribution, init and units.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import Literal

from lxcast.errors import ArchiveError, UsageError
from lxcast.identifiers import one_line
from lxcast.model import ImageConfig
from lxcast.rootfs.additions import Addition, read
from lxcast.rootfs.globs import Matcher
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, printable, regular, symlink

HELD_LIMIT = 64 * 1024
"""Bytes of a file that a row may hold; what the rows name is far smaller."""

ADD = "add"
"""The report's name for the additions; no row has this identifier."""

_LINKS_FOLLOWED = 40


@dataclass(frozen=True, slots=True)
class Fit:
    """A row of the fit table.

    `holds` are the paths of all that `apply` may change, or make where something may be; `links` are those where it may
    change a symbolic link and nothing else. `reads` are the patterns (`globs.py`) of the files whose text it asks the
    survey for.
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
    """What the user decides. Raises UsageError for a release key that a shell could not read."""

    epoch: int = 0
    """mtime of all that is made or changed, in seconds: SOURCE_DATE_EPOCH or 0."""
    network: Literal["loopback", "dhcp"] = "loopback"
    release: Mapping[str, str] = field(default_factory=dict)
    """KEY -> value of the release file, in its order."""
    additions: tuple[Addition, ...] = ()
    process: ImageConfig | None = None
    """What an init is written for where there is none; None: none is written."""
    templates: tuple[Member, ...] = ()
    """Files that the image's own templates make; an addition of the user's wins over them."""

    def __post_init__(self) -> None:
        wrong = [key for key in self.release if not re.fullmatch("[A-Z][A-Z0-9_]*", key)]
        wrong += [f"{key}={value!r}" for key, value in self.release.items() if not value.isprintable()]
        if wrong:
            raise UsageError(
                f"the release file cannot hold {', '.join(wrong)}",
                hint="a key has capital letters, digits and '_'; a value is one line of printable text",
            )


class Fitting:
    """The chosen rows at work on one root filesystem.

    The additions are looked at when this is made (UsageError names each that cannot be read), and win over every row.
    """

    survey: Survey
    """What was seen of the members that were not held; there when rows run."""

    def __init__(self, rows: Iterable[Fit], options: FitOptions) -> None:
        self.options = options
        self._rows = tuple(rows)
        self._templates = {member.path for member in options.templates}
        self._additions = {member.path: member for member in options.templates}
        for member in read(options.additions, options.epoch):
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
        """Say whether a member at `path`, or a hard link to it, must be given to `hold`; of some paths links alone."""
        return path in self._holders or (type == SYM and path in self._links)

    def held(self, path: bytes) -> bool:
        """Say whether `path` was given to `hold`: whatever it became, the source has it."""
        return path in self._held

    def hold(self, member: Member) -> None:
        """Keep a member until `finish`.

        Raises ArchiveError where a row would have to hold more than HELD_LIMIT bytes.
        """
        path = member.path
        if member.size > HELD_LIMIT and path in self._targets:
            # It will be replaced; should a hard link want the old content, `_spread` says so.
            self._held[path] = member.changed(body=b"")
            return
        if member.size > HELD_LIMIT:
            raise ArchiveError(
                f"{printable(path)} has {member.size} bytes, and a fit row holds at most {HELD_LIMIT}",
                hint=f"look whether that file is right, or build with --disable {self._holders[path]}",
            )
        held = member.held()
        self._held[path] = _expanded(held) if held.sparse is not None else held

    def finish(self, survey: Survey) -> Iterator[Member]:
        """Run the rows, then yield what was held or made: folders, then the rest, then hard links, each by path.

        With the folders first, a template that is cast again has the same order.
        """
        self.survey = survey
        self._require_targets()
        self._place_additions()
        for row in self._rows:
            self._row = row.id
            row.apply(self)
        members, links = self._spread()
        for path in list(members):
            while (path := dirname(path)) and path not in members and survey.type(path) is None:
                members[path] = directory(path, 0o755, self.options.epoch)
        yield from (members[path] for path in sorted(members, key=lambda path: (members[path].type != DIR, path)))
        yield from (links[path] for path in sorted(links))

    def _require_targets(self) -> None:
        """Raise ArchiveError for held hard links that lead nowhere, or in a circle."""
        problems = []
        for path, member in self._held.items():
            passed, target = {path}, member.link
            while member.type == LNK and target in self._held and target not in passed:
                passed.add(target)
                member = self._held[target]
                target = member.link
            if member.type == LNK and (target in passed or self.survey.type(target) is None):
                problems.append(f"{printable(path)} is a hard link to {printable(target)}, which is no file")
        if problems:
            raise ArchiveError("; ".join(problems), hint="the archive was cut, or made from a part of a folder")

    def report(self) -> dict[str, list[str]]:
        """Return for each chosen row a sentence for each thing that it changed."""
        return {row: list(notes) for row, notes in self._notes.items()}

    # What rows ask and say.

    def get(self, path: bytes) -> Member | None:
        """Return what was held or made at `path`."""
        return self._made.get(path) or self._held.get(path)

    def type(self, path: bytes) -> bytes | None:
        """Return the type of the member at `path`, links not followed; None where there is none."""
        member = self.get(path)
        return member.type if member else self.survey.type(path)

    def resolve(self, path: bytes, *, chrooted: bool = True) -> bytes | None:
        """Follow links as `Survey.resolve` does (`resolve_from_host` where not `chrooted`), held members included."""
        for _ in range(_LINKS_FOLLOWED):
            member = self.get(path)
            if member is None:
                return self.survey.resolve(path) if chrooted else self.survey.resolve_from_host(path)
            if member.type != SYM:
                return path
            if member.link.startswith(b"/") and not chrooted:
                return None
            path = normpath(join(b"/", dirname(path), member.link)).lstrip(b"/")
        return None

    def text(self, path: bytes) -> str | None:
        """Return the text of the file that `path` leads to; of those not held, it must match the row's `reads`."""
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
        """Return the regular files whose text the patterns `reads` asked for, held and made ones included."""
        find = Matcher(dict.fromkeys(reads, True)).find
        own = dict.fromkeys(path for path, member in (self._held | self._made).items() if member.type == REG)
        return [path for path in {**self.survey.texts, **self.survey.hard_links, **own} if find(path)]

    def write(self, path: bytes, content: str, note: str, mode: int = 0o644) -> None:
        """Make a regular file of root's, in the place of whatever is held there."""
        self._make(regular(path, content.encode(), mode, self.options.epoch), note)

    def link(self, path: bytes, target: bytes, note: str) -> None:
        """Make a symbolic link, in the place of whatever is held there."""
        self._make(symlink(path, target, self.options.epoch), note)

    def folder(self, path: bytes, mode: int, note: str) -> None:
        """Make a folder."""
        self._make(directory(path, mode, self.options.epoch), note)

    def note(self, sentence: str) -> None:
        """Put a sentence into the report, on one line whatever name it repeats."""
        self._notes[self._row].append(one_line(sentence))

    def _make(self, member: Member, note: str) -> None:
        """Make a member unless an addition has its place, or the way to it leads through a link or a file."""
        path = member.path
        old = self.get(path)
        if path in self._targets:
            return
        blocked = self._blocked(path)
        if blocked is not None:
            self.note(f"left {printable(path)} alone: {printable(blocked)} is no folder")
            return
        if old is not None and old.type == DIR:
            self.note(f"left {printable(path)} alone: it is a folder")
            return
        assert old or self.survey.type(path) is None, f"a row that makes {path!r} must hold it"
        self._made[path] = member
        if old is None or not _same(old, member):
            self.note(note)

    def _blocked(self, path: bytes) -> bytes | None:
        """Return the first parent of `path` that is there and no folder."""
        parts = path.split(b"/")[:-1]
        parents = (b"/".join(parts[: n + 1]) for n in range(len(parts)))
        return next((parent for parent in parents if self.type(parent) not in (None, DIR)), None)

    def _place_additions(self) -> None:
        """Put every addition and template where its path leads.

        A template that cannot be put there is left out; UsageError names all such additions.
        """
        problems = []
        for member in self._additions.values():
            place = self._place(member.path)
            there = None if place is None else self.type(place)
            if place is None:
                wrong = f"{printable(member.path)} leads through a file or a dangling link"
            elif there == DIR or (member.type == DIR and self.type(self.resolve(place) or b"") == DIR):
                if member.type == DIR:
                    continue
                wrong = f"{printable(place)} is a folder in the root filesystem"
            elif there is not None and place not in self._held:
                wrong = f"{printable(member.path)} is {printable(place)} in the root filesystem: name it so"
            else:
                self._made[place] = member.changed(path=place)
                self._targets.add(place)
                self.note(f"wrote {printable(place)}" + (f": {member.size} bytes" if member.type == REG else ""))
                continue
            if member.path in self._templates:
                self._targets.discard(member.path)
                self.note(f"left out a template of the image: {wrong}")
            else:
                problems.append(wrong)
        if problems:
            raise UsageError("--add: " + "; ".join(problems), hint="nothing was built; correct the --add options")

    def _place(self, path: bytes) -> bytes | None:
        """Return `path` with the links in its folders followed (lib/x is usr/lib/x where lib leads to usr/lib)."""
        done = b""
        *folders, name = path.split(b"/")
        for part in folders:
            done = join(done, part)
            if self.type(done) not in (None, DIR):
                found = self.resolve(done)
                if found is None or self.type(found) != DIR:
                    return None
                done = found
        return join(done, name)

    def _spread(self) -> tuple[dict[bytes, Member], dict[bytes, Member]]:
        """Return the members to write, hard links apart.

        Replacing a name takes it away from the group of its hard links: the next name of the group becomes the file.
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
                        f"{printable(path)} is a hard link to {printable(target)}, which --add replaces,"
                        f" and its {old.size} bytes have passed",
                        hint=f"add a file in the place of {printable(path)} as well",
                    )
                members[path] = old.changed(path=path)
                first[target] = path
                del links[path]
        return members, links


def _same(old: Member, new: Member) -> bool:
    """Say whether two members differ in nothing but their time."""
    kept = ("type", "mode", "uid", "gid", "link", "body")
    return not old.xattrs and all(getattr(old, name) == getattr(new, name) for name in kept)


def _expanded(member: Member) -> Member:
    """Return a sparse member with its holes written out."""
    content, at = bytearray(member.size), 0
    stored = bytes(member.head())
    for offset, length in member.sparse or ():
        content[offset : offset + length] = stored[at : at + length]
        at += length
    return member.changed(body=bytes(content), sparse=None)
