"""An archive that can be read once, such as standard input: its start is looked at, and then it is read with the rest.

Names, templates and record follow from the metadata, so it is heeded where it comes before the root filesystem.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from lxcast.compression import Peeked, Readable, decompress
from lxcast.errors import ArchiveError, SourceError
from lxcast.incus.metadata import YAML
from lxcast.incus.templates import missing
from lxcast.sources.archive import SQUASHFS, Archive, is_image_member
from lxcast.sources.packaged import PackagedSource, is_companion, is_in_rootfs, is_root, nested, unpacked
from lxcast.sources.replay import Replay
from lxcast.sources.source import Members
from lxcast.tar.member import DIR, REG, printable
from lxcast.tar.quirks import Quirks
from lxcast.tar.reader import Limits, Reader

_MAX_HELD = 4 * 1024 * 1024
"""Bytes of the members that may be metadata, and lie before what tells that they are."""

_MAX_MEMBERS = 10_000


class PipedSource:
    """What comes from a pipe. It is waited for when it is opened."""

    config = None
    rereadable = False
    size = None

    def __init__(self, archive: Archive) -> None:
        self.origin, self.warnings = archive.origin, archive.warnings
        self._archive = archive
        self._opened: Archive | PackagedSource = archive

    @property
    def read(self) -> int:
        """Bytes that were read so far."""
        return self._opened.read

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members."""
        return self.resolve().members(limits)

    def resolve(self) -> Archive | PackagedSource:
        """Return what it is: a root filesystem, or what that is packed in with nothing but its metadata.

        Raises ArchiveError for malformed metadata, SourceError for an image of layers or squashfs, and where more of
        the metadata is needed than comes in time.
        """
        stack = ExitStack()
        replay = Replay(stack.enter_context(self._archive.opener()))
        try:
            self._opened = _told(self._archive, replay, stack)
        except BaseException:
            stack.close()
            raise
        return self._opened


def _told(archive: Archive, replay: Replay[Readable], stack: ExitStack) -> Archive | PackagedSource:
    """Return what a stream is by its start; it is read on from there, and `stack` then closed."""
    name = archive.origin.reference
    files: dict[str, bytes] = {}
    try:
        first = _first_behind(replay, name, files)
    except (ArchiveError, OSError):
        first = b""  # told when it is read
    if replay.start.startswith(SQUASHFS):
        raise SourceError(f"{name}: is a squashfs image, which is no stream", hint=_SAVE)
    if _OF_LAYERS.match(first):
        raise SourceError(f"{name}: is an image of layers, which are read twice", hint=_SAVE)
    replay.rewind()

    @contextmanager
    def opener() -> Iterator[Readable]:
        with stack:
            yield replay

    again = replace(archive, opener=opener)
    if is_in_rootfs(first) and YAML in files:
        metadata, kept = unpacked(files, name)
        if late := missing(metadata):
            raise SourceError(
                f"{name}: {', '.join(late)}, which its metadata.yaml names, did not come before rootfs/",
                hint=_SAVE,
            )
        return PackagedSource(again, metadata, kept, unified=True)
    if first and not is_in_rootfs(first):
        metadata, kept = unpacked(files, name)
        beside = "" if metadata.files else ", and nothing beside it"
        again.warnings.append(f"{name}: its {printable(first)[1:]} was taken{beside}")
        return nested(again, first, metadata, kept)
    return again


_OF_LAYERS = re.compile(rb"oci-layout$|(blobs/sha(256|512)/)?[0-9a-f]{64}")
"""What the first file of an image's archive, or the folder around it, is called, and nothing in a root filesystem."""

_SAVE = "save it to a file, which is read in any order: `cat > FILE`, then `lxcast build FILE`"


def _first_behind(replay: Replay[Readable], name: str, files: dict[str, bytes]) -> bytes:
    """Return the path of what comes behind members that may be metadata, which go to `files`.

    It is that of a root filesystem's archive, one in a folder rootfs/, or that of an image's file; b"" for anything
    else.
    """
    room = _MAX_HELD
    for number, member in enumerate(Reader(decompress(Peeked(replay), name), name, quirks=Quirks())):
        if is_root(member) or is_in_rootfs(member.path):
            return member.path
        if is_image_member(member.path) and member.path:
            if _OF_LAYERS.match(member.path):
                return member.path
            if member.type == DIR:
                continue
        room -= member.size
        if room < 0 or number > _MAX_MEMBERS or not is_companion(member):
            break
        if member.type == REG:
            files[member.path.decode("utf-8", "surrogateescape")] = b"".join(map(bytes, member.chunks()))
    return b""
