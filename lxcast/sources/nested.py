"""An archive whose only content is another one: the root filesystem of distrobuilder and of Incus, beside its metadata.

The inner archive is decompressed as it streams by in the outer one.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.compression import Readable
from lxcast.errors import ArchiveError
from lxcast.record import Origin
from lxcast.sources.archive import Archive, open_file
from lxcast.tar.member import DIR, REG, printable

_INNER = re.compile(rb"rootfs\.(tar(\.(xz|gz|zst|bz2))?|txz|tgz)")
_BESIDE = re.compile(rb"|(meta|metadata)\.(tar(\.(xz|gz|zst|bz2))?|yaml)|templates(/.*)?|SHA256SUMS|sha256sums\.txt")


def is_wrapped(path: bytes) -> bool:
    """Tell whether a member may be what a root filesystem is wrapped in an archive with, or itself."""
    return _INNER.fullmatch(path) is not None or _BESIDE.fullmatch(path) is not None


def open_if_nested(path: Path) -> Archive | None:
    """Return the root filesystem's archive in an archive that holds nothing else than that and its metadata, else None.

    Raises ArchiveError where there are several.
    """
    outer = open_file(path)
    found: list[bytes] = []
    with outer.members() as members:
        for member in members:
            if member.type == REG and member.sparse is None and _INNER.fullmatch(member.path):
                found.append(member.path)
            elif member.type not in (REG, DIR) or not _BESIDE.fullmatch(member.path):
                return None
    if not found:
        return None
    if len(found) > 1:
        raise ArchiveError(
            f"{path}: holds several root filesystems: {', '.join(map(printable, found))}",
            hint=f"take out the one that is meant: tar -xf {path} NAME",
        )
    inner = found[0]

    @contextmanager
    def opener() -> Iterator[Readable]:
        with outer.members() as members:
            for member in members:
                if member.path == inner:
                    yield _Chunks(member.chunks())
                    return
        raise ArchiveError(f"{path}: {printable(inner)} is not in it any more", hint="build it again")

    archive = Archive(Origin("tar", str(path)), opener, rereadable=True)
    archive.warnings.append(f"{path}: its {printable(inner)[1:]} was taken, what lies beside that was left out")
    return archive


class _Chunks:
    """A member's body as a stream."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        while not len(self._left):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
