"""The files of an image as they lie in a folder or in a tar archive, compressed or not; nothing is unpacked."""

import os
import posixpath
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from lxcast.compression import Peeked, Readable, decompress, sniff
from lxcast.errors import ArchiveError, SourceError
from lxcast.oci import layout
from lxcast.sources.archive import is_image_member, open_file, open_for_reading
from lxcast.tar.member import LNK, REG, SYM

_KEPT = 64 * 1024
"""Files of a compressed archive up to this are kept while its contents are listed: indexes, manifests, configs."""

_MOST_KEPT = 16 * 1024 * 1024

_READ = 1024 * 1024


class Blobs(layout.Blobs, Protocol):
    """The files of an image, and the way to read the large ones."""

    def open(self, path: str) -> AbstractContextManager[Readable]:
        """Open a file for one reading."""

    def order(self, path: str) -> int:
        """Return a number by which files are best read one after the other."""

    def release(self) -> None:
        """Let go of what is kept open from one reading to the next."""


class DirectoryBlobs:
    """The files of a folder; links that lead out of it lead to nothing."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._root = folder.resolve()

    def size(self, path: str) -> int | None:
        """Return the bytes of a file; None where there is none."""
        file = self._file(path)
        return file.stat().st_size if file else None

    def read(self, path: str) -> bytes:
        """Return what a small file holds."""
        with self.open(path) as file:
            return _read(file, f"{self.name}: {path}")

    @contextmanager
    def open(self, path: str) -> Iterator[Readable]:
        """Open a file for one reading."""
        file = self._file(path)
        if file is None:
            raise ArchiveError(f"{self.name}: there is no {path}", hint="copy the whole folder again")
        with open_for_reading(file) as opened:
            yield opened

    def order(self, path: str) -> int:
        """Return 0: any order is good."""
        return 0

    def release(self) -> None:
        """Do nothing: nothing is kept open."""

    def _file(self, path: str) -> Path | None:
        file = Path(os.path.realpath(self._root / path))  # Path.resolve() raises for links that lead in a circle
        return file if file.is_relative_to(self._root) and file.is_file() else None


class ArchiveBlobs:
    """The files of a tar archive, by where they lie in it. Made by `list_archive`."""

    def __init__(
        self,
        path: Path,
        places: dict[str, tuple[int, int]],
        links: dict[str, str],
        kept: dict[str, bytes],
    ) -> None:
        self.name = str(path)
        self._path, self._places, self._links, self._kept = path, places, links, kept
        with open_for_reading(path) as file:
            self._plain = sniff(file.read(512)) == "tar"
        self._cursors: list[_Cursor] = []
        self._lock = threading.Lock()

    def size(self, path: str) -> int | None:
        """Return the bytes of a file; None where there is none."""
        place = self._place(path)
        return place[1] if place else None

    def read(self, path: str) -> bytes:
        """Return what a small file holds."""
        if path in self._kept:
            return self._kept[path]
        with self.open(path) as file:
            return _read(file, f"{self.name}: {path}")

    @contextmanager
    def open(self, path: str) -> Iterator[Readable]:
        """Open a file for one reading; a compressed archive is decompressed up to it, from where one was read to."""
        place = self._place(path)
        if place is None:
            raise ArchiveError(f"{self.name}: there is no {path}", hint="write the archive again")
        at, size = place
        cursor = self._cursor(at)
        try:
            _skip(cursor, at - cursor.at)
            yield _Part(cursor, size)
        except BaseException:
            cursor.file.close()
            raise
        if self._plain:
            cursor.file.close()  # where to go on is found without reading
        else:
            with self._lock:
                self._cursors.append(cursor)

    def order(self, path: str) -> int:
        """Return where a file lies in a compressed archive, 0 in any other."""
        place = None if self._plain else self._place(path)
        return place[0] if place else 0

    def release(self) -> None:
        """Close the archive where it was read to."""
        with self._lock:
            while self._cursors:
                self._cursors.pop().file.close()

    def _cursor(self, at: int) -> "_Cursor":
        """Return what reads on from `at` or, in a compressed archive, from the nearest place before it."""
        with self._lock:
            before = [each for each in self._cursors if each.at <= at]
            if before:
                nearest = max(before, key=lambda each: each.at)
                self._cursors.remove(nearest)
                return nearest
        return _Cursor(self._path, at if self._plain else 0)

    def _place(self, path: str) -> tuple[int, int] | None:
        for _ in range(40):  # as many links as Linux follows
            if path not in self._links:
                break
            path = self._links[path]
        return self._places.get(path)


class _Cursor:
    """An archive's bytes, uncompressed, from a place on (in a compressed one: 0); `at` is where it was read to."""

    def __init__(self, path: Path, at: int) -> None:
        self.at = at
        self.file = open_for_reading(path)
        try:
            self._stream: Readable = self.file
            if not self.file.seek(at):
                self._stream = decompress(Peeked(self.file), str(path))
        except BaseException:
            self.file.close()
            raise

    def readinto(self, buffer: memoryview, /) -> int:
        got = self._stream.readinto(buffer) or 0
        self.at += got
        return got


class _Part:
    """The next bytes of a stream."""

    def __init__(self, raw: Readable, size: int) -> None:
        self._raw, self._left = raw, size

    def readinto(self, buffer: memoryview, /) -> int:
        got = self._raw.readinto(buffer[: self._left]) or 0
        self._left -= got
        return got


def list_archive(path: Path, *, judge: bool = False) -> ArchiveBlobs | None:
    """Return the files of an archive; None where one is found that no image holds, if that is to be judged.

    Raises SourceError where it cannot be read, ArchiveError where it is damaged.
    """
    archive = open_file(path)
    if not archive.rereadable:
        raise SourceError(f"{path}: is no file but a pipe or device, and an image is read twice", hint="copy it first")
    places: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    room = _MOST_KEPT
    with archive.members() as members:
        for member in members:
            if judge and not is_image_member(member.path):
                return None
            name = os.fsdecode(member.path)
            if member.type == REG and member.sparse is None:
                places[name] = members.position - members.filled + members.at, member.size
                if member.size <= min(_KEPT, room):
                    room -= member.size
                    kept[name] = b"".join(bytes(chunk) for chunk in member.chunks())
            elif member.type == SYM:
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), os.fsdecode(member.link)))
            elif member.type == LNK:
                links[name] = os.fsdecode(member.link)
    return ArchiveBlobs(path, places, links, kept)


def _read(file: Readable, name: str) -> bytes:
    data = bytearray()
    buffer = memoryview(bytearray(_READ))
    while got := file.readinto(buffer):
        data += buffer[:got]
        if len(data) > layout.MAX_JSON:
            raise ArchiveError(f"{name}: is larger than {layout.MAX_JSON} bytes, where an image has a little JSON")
    return bytes(data)


def _skip(stream: Readable, size: int) -> None:
    buffer = memoryview(bytearray(_READ))
    while size and (got := stream.readinto(buffer[:size])):
        size -= got
