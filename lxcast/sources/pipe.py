"""An archive that can be read once, such as standard input: its start shows what it is.

A root filesystem is read as a stream. A source that is read twice, such as an image, goes to a temporary file first.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from lxcast.compression import Peeked, Readable, decompress
from lxcast.errors import ArchiveError, SourceError
from lxcast.incus.metadata import YAML
from lxcast.incus.templates import missing
from lxcast.sources.archive import SQUASHFS, Archive, is_image_member, refuse_instance_backup
from lxcast.sources.packaged import PackagedSource, is_companion, is_in_rootfs, is_root, nested, unpacked
from lxcast.sources.replay import Replay
from lxcast.sources.source import Members, Source
from lxcast.tar.member import DIR, REG, printable
from lxcast.tar.quirks import Quirks
from lxcast.tar.reader import Limits, Reader

_MAX_HELD = 4 * 1024 * 1024
"""Bytes of possible metadata before the member that shows what the archive is."""

_MAX_MEMBERS = 10_000

_spooled: list[BinaryIO] = []  # open until the process ends, since sources open them by their paths


class PipedSource:
    """An archive from a pipe; `open_path` opens a spooled one, and takes its path and its name."""

    config = None
    rereadable = False
    size = None

    def __init__(self, archive: Archive, open_path: Callable[[Path, str], Source]) -> None:
        self.origin, self.warnings = archive.origin, archive.warnings
        self._archive, self._open_path = archive, open_path
        self._resolved: Source = archive

    @property
    def read(self) -> int:
        """Bytes read so far."""
        return self._resolved.read

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members."""
        return self.resolve().members(limits)

    def resolve(self) -> Source:
        """Return the source that the stream's start shows. Raises SourceError and its children."""
        stack = ExitStack()
        replay = Replay(stack.enter_context(self._archive.opener()))
        try:
            self._resolved = self._detect(replay, stack)
        except BaseException:
            stack.close()
            raise
        return self._resolved

    def _detect(self, replay: Replay[Readable], stack: ExitStack) -> Source:
        """Return the source that a stream's start shows; it continues to read the stream, and then closes `stack`."""
        archive, name = self._archive, self._archive.name
        files: dict[str, bytes] = {}
        try:
            first = _first_after_metadata(replay, name, files)
        except (ArchiveError, OSError):
            first = b""  # raised again when it is read
        refuse_instance_backup(first, name)
        replay.rewind()
        metadata, kept = unpacked(files, name) if is_in_rootfs(first) and YAML in files else (None, b"")
        if replay.start.startswith(SQUASHFS) or _IMAGE.match(first) or (metadata and missing(metadata)):
            with stack:
                return self._spool(replay)

        @contextmanager
        def opener() -> Iterator[Readable]:
            with stack:
                yield replay

        again = replace(archive, opener=opener)
        if metadata:
            return PackagedSource(again, metadata, kept, unified=True)
        if first and not is_in_rootfs(first):
            metadata, kept = unpacked(files, name)
            alone = "" if metadata.files else ", without metadata"
            again.warnings.append(f"{name}: reading {printable(first)[1:]} in it{alone}")
            return nested(again, first, metadata, kept)
        return again

    def _spool(self, replay: Replay[Readable]) -> Source:
        """Copy the stream to a file without a name, and open that."""
        buffer = memoryview(bytearray(1 << 20))
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - see _spooled
            _spooled.append(file)
            while got := replay.readinto(buffer):
                file.write(buffer[:got])
            file.flush()
        except OSError as error:
            raise SourceError(
                f"{self._archive.name}: cannot be copied to {tempfile.gettempdir()}: {error.strerror}",
                hint="set TMPDIR to a directory with enough space",
            ) from error
        source = self._open_path(Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), self._archive.name)
        # Every kind of source has it as an attribute, although the protocol only reads it.
        source.origin = replace(source.origin, reference=self.origin.reference)  # type: ignore[misc]
        return source


_IMAGE = re.compile(rb"oci-layout$|index\.json$|manifest\.json$|blobs(/|$)|(sha256:)?[0-9a-f]{64}|[^/]+/layer\.tar$")
"""The first member of an image's archive; a root filesystem begins with none of these."""


def _first_after_metadata(replay: Replay[Readable], name: str, files: dict[str, bytes]) -> bytes:
    """Return the path of the first member that shows what an archive is, and put metadata before it into `files`.

    It is that of a root filesystem's archive, one in rootfs/, or that of an image's file; b"" for anything else.
    """
    room = _MAX_HELD
    for number, member in enumerate(Reader(decompress(Peeked(replay), name), name, quirks=Quirks())):
        if is_root(member) or is_in_rootfs(member.path) or member.path == b"backup/index.yaml":
            return member.path
        if member.path and is_image_member(member.path):
            if _IMAGE.match(member.path):
                return member.path
            if member.type == DIR:
                continue
        if member.type == DIR and member.path == b"backup":
            continue
        room -= member.size
        if room < 0 or number > _MAX_MEMBERS or not is_companion(member):
            break
        if member.type == REG:
            files[member.path.decode("utf-8", "surrogateescape")] = b"".join(map(bytes, member.chunks()))
    return b""
