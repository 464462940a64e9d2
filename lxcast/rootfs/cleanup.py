"""Cleanup: what a build leaves behind and a template must not carry is dropped or emptied as it streams by.

An operation decides by path and type alone, when the member passes. The table is in `operations.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lxcast.rootfs.globs import Matcher
from lxcast.tar.member import BLK, CHR, DIR, FIFO, LNK, REG, SYM, Member

REMOVE = "remove"
"""The row of the user's own removals; no operation has this identifier."""

_TYPES = (REG, LNK, SYM, CHR, BLK, DIR, FIFO)


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the cleanup table; patterns are as `globs.py` describes them.

    What `drop` covers is left out, with all that lies below it, except members of the types in `spares`: where DIR is
    among them the folders stay, empty, with their owner and mode. Of what `truncate` covers, the regular files are
    written with 0 bytes and with all their metadata. A path that both cover is dropped. `types` are left out wherever
    they are.
    """

    id: str
    default: bool
    heading: str
    why: str
    drop: tuple[str, ...] = ()
    truncate: tuple[str, ...] = ()
    types: tuple[bytes, ...] = ()
    spares: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """What shall become of a member, and by which row."""

    row: str
    verb: Literal["drop", "truncate"]


class Cleanup:
    """The chosen operations, compiled; `remove` holds patterns of the user's own and wins over every row.

    Raises UsageError for a pattern that is no path below the root.
    """

    def __init__(self, operations: Iterable[Operation], remove: Iterable[str] = ()) -> None:
        removal = Operation(REMOVE, True, "what the user named", "--remove", drop=tuple(remove))
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
        self._counts = {row.id: [0, 0] for row in rows}

    def action(self, path: bytes, type: bytes) -> Hit | None:
        """Return what shall become of the member `path` (b"etc/passwd") of `type`; None: it stays as it is.

        This runs for each of perhaps 400,000 members.
        """
        found = self._find(path)
        if found is not None:
            hit = found.get(type)
            if hit is not None:
                return hit
        return self._types.get(type)

    def count(self, hit: Hit, member: Member) -> None:
        """Note that `hit` was carried out on `member`, given as it was before; an empty file cannot be emptied."""
        if hit.verb == "truncate" and not member.size:
            return
        count = self._counts[hit.row]
        count[0] += 1
        count[1] += member.size

    def report(self) -> dict[str, dict[str, int]]:
        """Return for each chosen row how many members it dropped or emptied, and their bytes."""
        return {row: {"members": members, "bytes": size} for row, (members, size) in self._counts.items()}
