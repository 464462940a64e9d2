"""A root filesystem in a tar stream: a file, standard input, or what an engine exports."""

import hashlib
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
from lxcast.sources.paths import exists, explained, is_directory, is_file, open_for_reading
from lxcast.tar.quirks import Quirks
from lxcast.tar.reader import Limits, Reader

SQUASHFS = b"hsqs"
"""The first bytes of a squashfs image: its superblock, little endian (the kernel's squashfs_fs.h)."""

Opener = Callable[[], AbstractContextManager[Readable]]


# The files in archives of Docker, Podman, skopeo, BuildKit, crane, kaniko, Jib and Bazel; a root filesystem begins with
# none of them.
_IMAGE_MEMBER = re.compile(
    rb"|blobs(/.*)?|oci-layout|repositories|[^/]+\.(json|tar|tar\.gz|tgz)|(sha256:)?[0-9a-f]{64}(/json|/VERSION)?|"
    rb"[^/]+/layer\.tar(\.gz)?"
)


@dataclass(slots=True)
class Archive:
    """A tar stream, compressed or not, that can be opened for reading."""

    origin: Origin
    opener: Opener
    rereadable: bool
    """Whether a second opening gives the same bytes."""
    size: int | None = None
    """Bytes that will be read, if known."""
    warnings: list[str] = field(default_factory=list)
    config: ImageConfig | None = None
    """How an image wants to be run, if the archive is of one."""
    digest: str = ""
    """The expected digest of the stored bytes, "sha256:HEX"; "" if unknown."""

    read: int = 0
    """Bytes read so far, before decompression. A thread may count them."""
    hashed: bool = False
    """Whether `members` reads to the end of the file and computes the digests of the next two fields."""
    sha256: str = ""
    """Digest of the stored bytes, 64 hexadecimal digits."""
    diff_id: str = ""
    """Digest of the uncompressed archive, "sha256:HEX"."""

    @property
    def name(self) -> str:
        """The archive's name in messages."""
        return "standard input" if self.origin.reference == "-" else self.origin.reference

    @contextmanager
    def members(
        self, limits: Limits | None = None, quirks: Quirks | None = None, *, verified: bool = False
    ) -> Iterator[Reader]:
        """Open the stream and yield its members; `quirks` and `verified` are as for Reader."""
        name = self.name
        with self.stored() as stored:
            raw = _Hashed(stored) if self.hashed else stored
            peeked = Peeked(raw)
            stream = decompress(peeked, name, quirks.see_window if quirks else None)
            if quirks is not None:
                quirks.compression = sniff(peeked.start)
            if stream is peeked and self.size is not None and not self.hashed:
                yield Reader(stream, name, limits, quirks, verified=verified)  # faster than through a thread
                return
            content = _Hashed(stream) if self.hashed else stream
            with closing(Prefetch(content)) as ahead:
                yield Reader(ahead, name, limits, quirks, verified=verified)
                while self.hashed and ahead.exchange(b""):
                    pass
            if isinstance(raw, _Hashed) and isinstance(content, _Hashed):
                self.sha256, self.diff_id = raw.digest(), f"sha256:{content.digest()}"

    @contextmanager
    def stored(self) -> Iterator[Readable]:
        """Open the stream and yield its stored bytes. Raises ArchiveError at the end if the digest differs."""
        with self.opener() as raw:
            self.read = 0
            counted = _Counted(raw, self)
            if not self.digest:
                yield counted
                return
            from lxcast.sources.checksums import HINT
            from lxcast.sources.verified import Verified  # few archives have one

            verified = Verified(counted, self.digest, self.name, hint=HINT)
            yield verified
            verified.finish()


class _Hashed:
    def __init__(self, raw: Readable) -> None:
        self._raw, self._hash = raw, hashlib.sha256()

    def readinto(self, buffer: memoryview, /) -> int:
        got = self._raw.readinto(buffer) or 0
        self._hash.update(buffer[:got])
        return got

    def digest(self) -> str:
        """Read the rest, and return the digest of everything."""
        buffer = memoryview(bytearray(1 << 20))
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()


class _Counted:
    def __init__(self, raw: Readable, archive: Archive) -> None:
        self._raw, self._archive = raw, archive

    def readinto(self, buffer: memoryview, /) -> int | None:
        try:
            got = self._raw.readinto(buffer)
        except OSError as error:
            raise SourceError(
                f"{self._archive.name}: reading failed after {self._archive.read} bytes: {error.strerror or error}",
                hint="check the kernel's log for a failing disk, or the engine's for a broken connection",
            ) from error
        self._archive.read += got or 0
        return got


def open_file(path: Path) -> Archive:
    """Return the archive in a file. Raises SourceError if it cannot be read."""
    regular = is_file(path)
    size = None
    if regular or not exists(path) or is_directory(path):
        # Opened now to find errors early; a named pipe can be opened only once.
        with open_for_reading(path) as file:
            size = os.fstat(file.fileno()).st_size

    @contextmanager
    def opener() -> Iterator[Readable]:
        with open_for_reading(path) as file:
            yield file

    return Archive(Origin("tar", str(path)), opener, regular, size)


def first_member_path(path: Path) -> bytes:
    """Return the path of the first member except the root; b"" if there is none, or `path` is not a regular file.

    It shows what an archive is; nothing else is read. Raises SourceError and its children.
    """
    if not is_file(path):
        return b""
    with open_for_reading(path) as raw:
        # Whether the archive is valid is checked when all of it is read.
        reader = Reader(decompress(Peeked(raw), str(path)), str(path), quirks=Quirks(), verified=True)
        first = b""
        for member in reader:
            refuse_instance_backup(member.path, str(path))
            if first:
                break
            first = member.path
            if first not in (b"", b"backup"):
                break
        return first


def refuse_instance_backup(path: bytes, name: str) -> None:
    """Raise SourceError if the path of an archive's first member is that of `incus export` or `lxc export`."""
    if path == b"backup/index.yaml":
        raise SourceError(
            f"{name}: is a backup of an Incus or LXD instance, not an image",
            hint="export an image of the instance: incus publish INSTANCE --alias NAME && incus image export NAME; "
            "or take its root filesystem: tar -xf FILE backup/container/rootfs, "
            "then lxcast build rootfs:backup/container/rootfs (as root)",
        )


def is_image_member(path: bytes) -> bool:
    """Return whether a member of an archive may be one of an image's files."""
    return _IMAGE_MEMBER.fullmatch(path) is not None


def read_start(path: Path) -> bytes:
    """Return the first 4 KiB of a regular file, b"" for anything else. Raises SourceError."""
    if not is_file(path):
        return b""
    with open_for_reading(path) as file, explained(path):
        return file.read(4096)


def open_stdin() -> Archive:
    """Return the archive on standard input. Raises SourceError if that is a terminal or closed."""
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "standard input is a terminal, expected an archive", hint="docker export CONTAINER | lxcast build - ..."
        )

    @contextmanager
    def opener() -> Iterator[Readable]:
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
            yield file

    return Archive(Origin("tar", "-"), opener, rereadable=False)
