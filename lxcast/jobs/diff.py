"""What differs between two root filesystems, member by member."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from lxcast.identifiers import one_line
from lxcast.model import rfc3339
from lxcast.progress import Progress
from lxcast.sources import DeferredSource, open_source, without_secrets
from lxcast.tar.member import BLK, CHR, LNK, REG, SYM, TYPE_NAMES, Member, printable

_FORM = struct.Struct(">cHqqqq32s8s")
"""Type, mode, uid, gid, mtime, size, SHA-256 of the content, start of the SHA-256 of the extended attributes; a link's
target or a device's numbers follow. So a member takes about 100 bytes in addition to its path."""

_NO_CONTENT = bytes(32)
_NO_XATTRS = bytes(8)
_ZEROS = bytes(1 << 20)
_FAR = 1 << 62
_YEAR_10000 = 253402300800


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: of a member that both have `what` names the attribute, with both values."""

    path: bytes
    change: str
    """"added", "removed" or "changed"."""
    what: str = ""
    a: str = ""
    b: str = ""

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.change]
        values = f" {self.what} {one_line(self.a)} -> {one_line(self.b)}" if self.what else ""
        return f"{sign} {printable(self.path)}{values}"

    def as_dict(self) -> dict[str, str]:
        """Return it as --json tells it; what, a and b only where a member changed."""
        told = {"path": printable(self.path), "change": self.change}
        return told | {"what": self.what, "a": self.a, "b": self.b} if self.what else told


def diff(
    a: str, b: str, progress: Progress, *, platform: str = "", sha256: Sequence[str | None] = (None, None)
) -> list[Difference]:
    """Compare two templates, or any two sources as `open_source` names them, in the order of the paths.

    `platform` is chosen where one is an image for several. `sha256` is what each must have, as for
    `open_source`.

    Hard links are compared as groups of names: which of them carries the data follows from a source's order. A path
    that occurs twice counts as its last occurrence. Raises SourceError and its children.
    """
    first, second = _Side(), _Side()
    for path, record, link in _read(a, platform, sha256[0], progress):
        first.take(path, record, link)
    same: dict[bytes, bytes] = {}  # members move here from `first`, so that two equal templates take the memory of one
    for path, record, link in _read(b, platform, sha256[1], progress):
        if path in same:
            first.records[path] = same.pop(path)
        if link is None and first.records.get(path) == record:
            same[path] = first.records.pop(path)
            second.forget(path)
        else:
            second.take(path, record, link)
    paths = sorted(first.records.keys() | first.links.keys() | second.records.keys() | second.links.keys())
    found: list[Difference] = []
    for path in paths:
        one, other = first.record(path, same), second.record(path, same)
        if one is None and other is None:
            continue  # hard links to nowhere: only their names can be compared
        if other is None:
            found.append(Difference(path, "removed"))
        elif one is None:
            found.append(Difference(path, "added"))
        else:
            found += _compare(path, one, other)
    groups = first.groups(), second.groups()
    gone = {each.path for each in found if each.change != "changed"}
    for path in (groups[0].keys() | groups[1].keys()) - gone:
        names = [sorted(group.get(path, {path}) - gone - {path}) for group in groups]
        if names[0] != names[1]:
            texts = [" ".join(map(printable, each)) or "none" for each in names]
            found.append(Difference(path, "changed", "hard links", *texts))
    return sorted(found, key=lambda each: each.path)


class _Side:
    """What was read of one of the two, as far as it is not known to be the same."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.links: dict[bytes, bytes] = {}
        """Hard links, with the path that they name."""

    def take(self, path: bytes, record: bytes, link: bytes | None) -> None:
        self.forget(path)
        if link is None:
            self.records[path] = record
        else:
            self.links[path] = link

    def forget(self, path: bytes) -> None:
        self.records.pop(path, None)
        self.links.pop(path, None)

    def root(self, path: bytes) -> bytes:
        """Return the name that carries the data of `path`."""
        passed = set()
        while path in self.links and path not in passed:
            passed.add(path)
            path = self.links[path]
        return path

    def record(self, path: bytes, same: dict[bytes, bytes]) -> bytes | None:
        if path in self.links:
            path = self.root(path)
        found = self.records.get(path)
        return same.get(path) if found is None else found

    def groups(self) -> dict[bytes, set[bytes]]:
        """Return for every hard-linked path the names of its file."""
        groups: dict[bytes, set[bytes]] = {}
        for path in self.links:
            root = self.root(path)
            groups.setdefault(root, {root}).add(path)
        return {name: group for group in groups.values() for name in group}


def _read(
    name: str, platform: str, sha256: str | None, progress: Progress
) -> Iterator[tuple[bytes, bytes, bytes | None]]:
    """Yield path, record and, of a hard link, the path that it names."""
    source = open_source(name, platform, sha256)
    source = source.resolve() if isinstance(source, DeferredSource) else source
    with progress.step(f"reading {without_secrets(name)}"), source.members() as members:
        progress.total(source.size)
        known = 0
        for member in members:
            link = member.link if member.type == LNK else None
            yield member.path, b"" if link is not None else _record(member), link
            if source.read != known:
                progress.advance(source.read - known)
                known = source.read


def _record(member: Member) -> bytes:
    content = _digest(member) if member.type == REG else _NO_CONTENT
    mode = 0o777 if member.type == SYM else member.mode  # Linux knows no other (symlink(7))
    mtime = max(-_FAR, min(member.mtime, _FAR))
    xattrs = _NO_XATTRS
    if member.xattrs:
        each = sorted(member.xattrs.items())
        xattrs = sha256(b"".join(struct.pack(">II", len(k), len(v)) + k + v for k, v in each)).digest()[:8]
    link = member.link if member.type == SYM else b""
    if member.type in (CHR, BLK):
        link = b"%d:%d" % member.device
    return _FORM.pack(member.type, mode, member.uid, member.gid, mtime, member.size, content, xattrs) + link


def _digest(member: Member) -> bytes:
    """Return the SHA-256 of a file's content as a program reads it, holes as zeros."""
    digest = sha256()
    if member.sparse is None:
        for chunk in member.chunks():
            digest.update(chunk)
        return digest.digest()
    at = 0
    chunks = member.chunks()
    rest = memoryview(b"")
    for offset, length in (*member.sparse, (member.size, 0)):
        while at < offset:
            hole = min(offset - at, len(_ZEROS))
            digest.update(memoryview(_ZEROS)[:hole])
            at += hole
        at += length
        while length:
            rest = rest or next(chunks)
            digest.update(rest[:length])
            length, rest = length - len(rest[:length]), rest[length:]
    for _ in chunks:
        pass  # an empty last piece
    return digest.digest()


def _compare(path: bytes, one: bytes, other: bytes) -> Iterator[Difference]:
    """Yield what differs between two records of one path."""
    if one == other:
        return
    a, b = _values(one), _values(other)
    if a["type"] != b["type"]:
        a, b = {"type": a["type"]}, {"type": b["type"]}
    for what in a:
        if a[what] != b[what]:
            yield Difference(path, "changed", what, a[what], b[what])


def _values(record: bytes) -> dict[str, str]:
    type, mode, uid, gid, mtime, size, content, xattrs = _FORM.unpack_from(record)
    target = record[_FORM.size :]
    return {
        "type": TYPE_NAMES[type],
        "mode": f"{mode:04o}",
        "owner": f"{uid}:{gid}",
        "size": str(size),
        "content": f"sha256:{content.hex()}",
        "link": target.decode("utf-8", "backslashreplace"),
        "mtime": rfc3339(mtime) if 0 <= mtime < _YEAR_10000 else f"{mtime} s",
        "xattrs": "none" if xattrs == _NO_XATTRS else f"sha256:{xattrs.hex()}",
    }
