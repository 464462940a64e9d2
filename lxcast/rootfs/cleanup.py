"""Cleanup: drop or empty members that a build leaves behind and a template must not contain.

An operation decides by path and type alone, as each member streams by. The table is in `operations.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lxcast.rootfs.globs import Matcher
from lxcast.tar.member import BLK, CHR, DIR, FIFO, LNK, REG, SYM, Member

REMOVE = "remove"
"""The row for patterns given with --remove; no operation has this identifier."""

_TYPES = (REG, LNK, SYM, CHR, BLK, DIR, FIFO)


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the cleanup table. `globs.py` describes the patterns.

    Members that match `drop`, and everything below them, are left out, except members of the types in `spares`: with
    DIR in it the directories stay, empty, with owner and mode. Regular files that match `truncate` are written with 0
    bytes and all their metadata. `drop` takes precedence over `truncate`. Members of a type in `types` are left out
    everywhere.
    """

    id: str
    default: bool
    heading: str
    why: str
    drop: tuple[str, ...] = ()
    truncate: tuple[str, ...] = ()
    types: tuple[bytes, ...] = ()
    xattrs: tuple[str, ...] = ()
    """Prefixes of extended attributes that are removed from every member."""
    spares: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """What happens to a member, and the row that decided it."""

    row: str
    verb: Literal["drop", "truncate"]


class Cleanup:
    """The selected operations, compiled; the patterns in `remove` take precedence over every row.

    Raises UsageError for a pattern that is not a path below the root.
    """

    def __init__(self, operations: Iterable[Operation], remove: Iterable[str] = ()) -> None:
        removal = Operation(REMOVE, True, "paths given with --remove", "--remove", drop=tuple(remove))
        rows = [*([removal] if removal.drop else []), *operations]
        patterns: dict[str, dict[bytes, Hit]] = {}
        self._types: dict[bytes, Hit] = {}
        for row in rows:
            drop, truncate = Hit(row.id, "drop"), Hit(row.id, "truncate")
            dropped = {type: drop for type in _TYPES if type not in row.spares}
            for pattern in row.drop:
                patterns.setdefault(pattern, dropped)
            for pattern in row.truncate:
                patterns.setdefault(pattern, {REG: truncate})
            self._types |= dict.fromkeys(row.types, drop)
        self._find = Matcher(patterns).find
        self._xattrs = {prefix.encode(): row.id for row in rows for prefix in row.xattrs}
        self._prefixes = tuple(self._xattrs)
        self._counts = {row.id: [0, 0] for row in rows}

    def action(self, path: bytes, type: bytes) -> Hit | None:
        """Return what happens to the member `path` (b"etc/passwd") of `type`; None if it stays unchanged.

        This runs for every member, of which there may be 400,000.
        """
        found = self._find(path)
        if found is not None:
            hit = found.get(type)
            if hit is not None:
                return hit
        return self._types.get(type)

    def strip(self, member: Member) -> None:
        """Remove the extended attributes of `member` that a row removes, and count it."""
        removed = [name for name in member.xattrs or () if name.startswith(self._prefixes)]
        if not removed:
            return
        kept = {name: value for name, value in (member.xattrs or {}).items() if name not in removed}
        member.xattrs, member.front = kept or None, None
        row = next(row for prefix, row in self._xattrs.items() if removed[0].startswith(prefix))
        self._counts[row][0] += 1

    def count(self, hit: Hit, member: Member) -> None:
        """Count `hit` for `member` in its original form. A file that is already empty is not counted as emptied."""
        if hit.verb == "truncate" and not member.size:
            return
        count = self._counts[hit.row]
        count[0] += 1
        count[1] += member.size

    def report(self) -> dict[str, dict[str, int]]:
        """Return the number of dropped or emptied members and their bytes for each selected row."""
        return {row: {"members": members, "bytes": size} for row, (members, size) in self._counts.items()}
