"""The files of an image as they lie in a folder or in a tar archive, compressed or not; nothing is unpacked."""

import os
import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from lxcast.compression import Peeked, Readable, decompress, sniff
from lxcast.errors import ArchiveError, SourceError
from lxcast.oci import layout
from lxcast.sources.archive import is_of_an_image, open_file, open_for_reading
from lxcast.tar.member import LNK, REG, SYM

_KEPT = 64 * 1024
"""Files of a compressed archive up to this are kept while its contents are listed: indexes, manifests, configs."""

_MOST_KEPT = 16 * 1024 * 1024

_READ = 1024 * 1024


class Blobs(layout.Blobs, Protocol):
    """The files of an image, and the way to read the large ones."""

    def open(self, path: str) -> AbstractContextManager[Readable]:
        """Open a file for one reading."""


class FolderBlobs:
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

    def _file(self, path: str) -> Path | None:
        file = (self._root / path).resolve()
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
        """Open a file for one reading; a compressed archive is decompressed up to it."""
        place = self._place(path)
        if place is None:
            raise ArchiveError(f"{self.name}: there is no {path}", hint="write the archive again")
        at, size = place
        with open_for_reading(self._path) as file:
            peeked = Peeked(file)
            stream: Readable = file
            if sniff(peeked.start) == "tar":
                file.seek(at)
            else:
                stream = decompress(peeked, self.name)
                _skip(stream, at)
            yield _Part(stream, size)

    def _place(self, path: str) -> tuple[int, int] | None:
        for _ in range(40):  # as many links as Linux follows
            if path not in self._links:
                break
            path = self._links[path]
        return self._places.get(path)


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
            if judge and not is_of_an_image(member.path):
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
