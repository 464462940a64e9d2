"""A root filesystem in a tar stream: a file, standard input, or what an engine exports."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lxcast.compression import Peeked, Prefetch, Readable, decompress, sniff
from lxcast.errors import SourceError
from lxcast.model import ImageConfig
from lxcast.record import Origin
from lxcast.tar.quirks import Quirks
from lxcast.tar.reader import Limits, Reader

SQUASHFS = b"hsqs"
"""How a squashfs image begins: its superblock, little endian (the kernel's squashfs_fs.h)."""

Opener = Callable[[], AbstractContextManager[Readable]]


# What the archives of Docker, Podman, skopeo and BuildKit hold, and no root filesystem begins with.
_OF_AN_IMAGE = re.compile(
    rb"|blobs(/sha(256|512)(/[0-9a-f]+)?)?|oci-layout|index\.json|manifest\.json|repositories|"
    rb"[0-9a-f]{64}(\.json|\.tar|/(layer\.tar|json|VERSION))?"
)


@dataclass(slots=True)
class Archive:
    """A tar stream, compressed or not, that can be opened for reading."""

    origin: Origin
    opener: Opener
    rereadable: bool
    """Whether a second opening gives the same bytes."""
    size: int | None = None
    """Bytes that will be read, where that is known."""
    warnings: list[str] = field(default_factory=list)
    config: ImageConfig | None = None
    """What an image says about running it, where one is behind it."""
    digest: str = ""
    """What the stored bytes must be, "sha256:HEX"; "" where nothing is known."""

    read: int = 0
    """Bytes that were read so far, as they come: before decompression. A thread may count them."""

    @contextmanager
    def members(self, limits: Limits | None = None, quirks: Quirks | None = None) -> Iterator[Reader]:
        """Open the stream and yield its members.

        With `quirks` the archive is judged rather than trusted (see Reader), and `quirks` told how it is compressed.
        """
        name = self.origin.reference
        with self.stored() as stored:
            peeked = Peeked(stored)
            stream = decompress(peeked, name, quirks.see_window if quirks else None)
            if quirks is not None:
                quirks.compression = sniff(peeked.start)
            if stream is peeked and self.size is not None:
                yield Reader(stream, name, limits, quirks)  # a plain file is read faster than a thread hands it over
            else:
                with closing(Prefetch(stream)) as ahead:
                    yield Reader(ahead, name, limits, quirks)

    @contextmanager
    def stored(self) -> Iterator[Readable]:
        """Open the stream and yield its bytes as they are stored; at the end they must have the digest."""
        with self.opener() as raw:
            self.read = 0
            counted = _Counted(raw, self)
            if not self.digest:
                yield counted
                return
            from lxcast.sources.checksums import HINT
            from lxcast.sources.verified import Verified  # few sources have one

            verified = Verified(counted, self.digest, self.origin.reference, hint=HINT)
            yield verified
            verified.finish()


class _Counted:
    def __init__(self, raw: Readable, archive: Archive) -> None:
        self._raw, self._archive = raw, archive

    def readinto(self, buffer: memoryview, /) -> int | None:
        try:
            got = self._raw.readinto(buffer)
        except OSError as error:
            name = self._archive.origin.reference
            raise SourceError(
                f"{name}: reading failed after {self._archive.read} bytes: {error.strerror or error}",
                hint="see the kernel's log for a failing disk, or the engine's for a broken connection",
            ) from error
        self._archive.read += got or 0
        return got


def open_file(path: Path) -> Archive:
    """Return the archive in a file. Raises SourceError where it cannot be read."""
    regular = path.is_file()
    size = None
    if regular or not path.exists() or path.is_dir():
        # Whether it can be read is tried now; a named pipe can be opened only once.
        with open_for_reading(path) as file:
            size = os.fstat(file.fileno()).st_size

    @contextmanager
    def opener() -> Iterator[Readable]:
        with open_for_reading(path) as file:
            yield file

    return Archive(Origin("tar", str(path)), opener, regular, size)


def first_member_path(path: Path) -> bytes:
    """Return the path of the first member beside the root; b"" where there is none, or `path` is no regular file.

    What an archive is shows there, and no more than that is read. Raises SourceError and its children.
    """
    archive = open_file(path)
    if not archive.rereadable:
        return b""
    with archive.opener() as raw:
        reader = Reader(decompress(Peeked(raw), str(path)), str(path), quirks=Quirks())  # judged elsewhere
        return next((member.path for member in reader if member.path), b"")


def is_image_member(path: bytes) -> bool:
    """Tell whether a member of an archive may be one of an image's files."""
    return _OF_AN_IMAGE.fullmatch(path) is not None


def is_squashfs(path: Path) -> bool:
    """Tell whether a file is a squashfs image."""
    if not path.is_file():
        return False
    with open_for_reading(path) as file:
        return file.read(len(SQUASHFS)) == SQUASHFS


def open_for_reading(path: Path) -> io.FileIO:
    """Open a file unbuffered; SourceError says why it cannot be."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file", hint=f"here is {Path.cwd()}") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path}: is a folder", hint=f"tar -C {path} -c . | lxcast build - ...") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", hint="see `ls -l` of it") from error


def open_stdin() -> Archive:
    """Return the archive on standard input. Raises SourceError where that is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "standard input is a terminal, no archive", hint="docker export CONTAINER | lxcast build - ..."
        )

    @contextmanager
    def opener() -> Iterator[Readable]:
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
            yield file

    return Archive(Origin("tar", "-"), opener, rereadable=False)
