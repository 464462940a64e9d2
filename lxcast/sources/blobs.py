"""The files of an image in a directory or in a tar archive, compressed or not; nothing is unpacked."""

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
from lxcast.sources.archive import is_image_member, open_file
from lxcast.sources.paths import open_for_reading
from lxcast.tar.member import LNK, REG, SYM

_MAX_FILE = 64 * 1024
"""Bytes of a file that is kept in memory while an archive is listed: indexes, manifests, configs."""

_MAX_TOTAL = 16 * 1024 * 1024

_READ = 1024 * 1024


class Blobs(layout.Blobs, Protocol):
    """The files of an image, including the large ones."""

    def open(self, path: str) -> AbstractContextManager[Readable]:
        """Open a file for one reading. Raises SourceError and its children."""

    def order(self, path: str) -> int:
        """Return the position by which files are best read in order."""

    def release(self) -> None:
        """Close what is kept open from one reading to the next."""


class DirectoryBlobs:
    """The files of a directory; links that lead out of it are treated as missing files."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._root = Path(os.path.realpath(directory))  # Path.resolve() raises for links that lead in a circle

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it does not exist."""
        file = self._file(path)
        return file.stat().st_size if file else None

    def read(self, path: str) -> bytes:
        """Return the content of a small file. Raises SourceError and its children."""
        with self.open(path) as file:
            return _read(file, f"{self.name}: {path}")

    @contextmanager
    def open(self, path: str) -> Iterator[Readable]:
        """Open a file for one reading. Raises SourceError and its children."""
        file = self._file(path)
        if file is None:
            raise ArchiveError(f"{self.name}: {path} is missing", hint="copy the whole directory again")
        with open_for_reading(file) as opened:
            yield opened

    def order(self, path: str) -> int:
        """Return 0: any order is fine."""
        return 0

    def release(self) -> None:
        """Do nothing: no file is kept open."""

    def _file(self, path: str) -> Path | None:
        try:
            file = Path(os.path.realpath(self._root / path))
            return file if file.is_relative_to(self._root) and file.is_file() else None
        except ValueError:  # half a surrogate pair or a NUL, which JSON can contain and paths cannot
            return None
        except OSError as error:
            raise SourceError(f"{self.name}: cannot read {path:.200}: {error.strerror}") from error


class ArchiveBlobs:
    """The files of a tar archive, by their position. Made by `list_archive`."""

    def __init__(
        self,
        path: Path,
        name: str,
        places: dict[str, tuple[int, int]],
        links: dict[str, str],
        kept: dict[str, bytes],
    ) -> None:
        self.name = name
        self._path, self._places, self._links, self._kept = path, places, links, kept
        with open_for_reading(path) as file:
            self._plain = sniff(file.read(512)) == "tar"
        self._cursors: list[_Cursor] = []
        self._lock = threading.Lock()

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it does not exist."""
        place = self._place(path)
        return place[1] if place else None

    def read(self, path: str) -> bytes:
        """Return the content of a small file. Raises SourceError and its children."""
        if path in self._kept:
            return self._kept[path]
        with self.open(path) as file:
            return _read(file, f"{self.name}: {path}")

    @contextmanager
    def open(self, path: str) -> Iterator[Readable]:
        """Open a file for one reading; a compressed archive is decompressed from the nearest earlier position.

        Raises SourceError and its children.
        """
        place = self._place(path)
        if place is None:
            raise ArchiveError(f"{self.name}: {path} is missing", hint="write the archive again")
        at, size = place
        cursor = self._cursor(at)
        try:
            _skip(cursor, at - cursor.at)
            yield _Part(cursor, size)
        except BaseException:
            cursor.file.close()
            raise
        if self._plain:
            cursor.file.close()  # any position is found without reading
        else:
            with self._lock:
                self._cursors.append(cursor)

    def order(self, path: str) -> int:
        """Return the position of a file in a compressed archive, 0 in any other."""
        place = None if self._plain else self._place(path)
        return place[0] if place else 0

    def release(self) -> None:
        """Close the archive."""
        with self._lock:
            while self._cursors:
                self._cursors.pop().file.close()

    def _cursor(self, at: int) -> "_Cursor":
        """Return a cursor at `at` or, in a compressed archive, at the nearest position before it."""
        with self._lock:
            before = [each for each in self._cursors if each.at <= at]
            if before:
                nearest = max(before, key=lambda each: each.at)
                self._cursors.remove(nearest)
                return nearest
        return _Cursor(self._path, at if self._plain else 0)

    def _place(self, path: str) -> tuple[int, int] | None:
        for _ in range(40):  # as many links as Linux follows (path_resolution(7))
            if path not in self._links:
                break
            path = self._links[path]
        return self._places.get(path)


class _Cursor:
    """An archive's uncompressed bytes from a position (0 in a compressed one); `at` is the position reached."""

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


def list_archive(path: Path, name: str = "", *, images_only: bool = False) -> ArchiveBlobs | None:
    """Return the files of an archive; `name` stands for the path in messages.

    With `images_only`, None is returned at the first file that no archive of an image contains. Raises SourceError if
    it cannot be read, ArchiveError if it is damaged.
    """
    archive = open_file(path)
    if not archive.rereadable:
        raise SourceError(
            f"{path}: is a pipe or device, and an image is read twice", hint=f"copy it to a file: cat {path} > FILE"
        )
    places: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    room = _MAX_TOTAL
    with archive.members(verified=True) as members:
        for member in members:
            if images_only and not is_image_member(member.path):
                return None
            file = os.fsdecode(member.path)
            if member.type == REG and member.sparse is None:
                places[file] = members.position - members.filled + members.at, member.size
                if member.size <= min(_MAX_FILE, room):
                    room -= member.size
                    kept[file] = b"".join(bytes(chunk) for chunk in member.chunks())
            elif member.type == SYM:
                links[file] = posixpath.normpath(posixpath.join(posixpath.dirname(file), os.fsdecode(member.link)))
            elif member.type == LNK:
                links[file] = os.fsdecode(member.link)
    return ArchiveBlobs(path, name or str(path), places, links, kept)


def _read(file: Readable, name: str) -> bytes:
    data = bytearray()
    buffer = memoryview(bytearray(_READ))
    while got := file.readinto(buffer):
        data += buffer[:got]
        if len(data) > layout.MAX_JSON:
            raise ArchiveError(f"{name}: has more than {layout.MAX_JSON} bytes, the limit for JSON")
    return bytes(data)


def _skip(stream: Readable, size: int) -> None:
    buffer = memoryview(bytearray(_READ))
    while size and (got := stream.readinto(buffer[:size])):
        size -= got
