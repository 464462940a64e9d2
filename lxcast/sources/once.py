"""An archive that can be read once, such as standard input: what it holds shows when it comes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lxcast.compression import Readable
from lxcast.record import Origin
from lxcast.sources.archive import Archive
from lxcast.sources.packaged import Chunks, is_companion, is_root, require_companion
from lxcast.sources.source import Members
from lxcast.tar.member import Member, printable
from lxcast.tar.reader import Limits, Reader

_MAX_HELD = 4 * 1024 * 1024
"""Bytes of the members that may be metadata, which wait for what comes behind them."""


class OnceSource:
    """What comes from a pipe: a root filesystem, or an archive that holds its archive and nothing but metadata."""

    def __init__(self, archive: Archive) -> None:
        self.origin, self.rereadable, self.size = archive.origin, archive.rereadable, archive.size
        self.warnings, self.config = archive.warnings, archive.config
        self._archive = archive

    @property
    def read(self) -> int:
        """Bytes of the archive that were read so far."""
        return self._archive.read

    @contextmanager
    def members(self, limits: Limits | None = None) -> Iterator[Members]:
        """Open the archive and yield the members of the root filesystem."""
        with self._archive.members(limits) as reader:
            yield _Unwrapped(reader, self.origin.reference, self.warnings, limits)


class _Unwrapped:
    """The members of an archive, or of the one that is all its content."""

    def __init__(self, reader: Reader, name: str, warnings: list[str], limits: Limits | None) -> None:
        self._reader, self._name, self._warnings, self._limits = reader, name, warnings, limits
        self.before_refill: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[Member]:
        self._reader.before_refill = self._refill
        held: list[Member] = []
        rest = iter(self._reader)
        for member in rest:
            if is_root(member):
                yield from self._inside(member)
                for beside in rest:
                    require_companion(beside, self._name)
                return
            small = member.size <= _MAX_HELD - sum(each.size for each in held)
            if small and is_companion(member):
                held.append(member.held())
                continue
            yield from held
            yield member
            yield from rest
            return
        yield from held

    def _inside(self, member: Member) -> Iterator[Member]:
        @contextmanager
        def opener() -> Iterator[Readable]:
            yield Chunks(member.chunks())

        self._warnings.append(f"{self._name}: its {printable(member.path)[1:]} was taken, and nothing beside it")
        inner = Archive(Origin("tar", f"{self._name}: {printable(member.path)[1:]}"), opener, rereadable=False)
        with inner.members(self._limits) as members:
            members.before_refill = self._refill
            yield from members

    def _refill(self) -> None:
        self.before_refill()
