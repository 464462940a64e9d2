"""An archive on an https server, told by its content like one that lies here.

The tar of a root filesystem is read while it comes. What is read twice (an image, an archive in an archive) is first
kept in the user's cache folder.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from lxcast.compression import Peeked, Readable, decompress
from lxcast.download.resume import Download
from lxcast.download.stream import redacted
from lxcast.errors import ArchiveError
from lxcast.record import Origin
from lxcast.sources import downloads
from lxcast.sources.archive import Archive
from lxcast.sources.replay import Begun
from lxcast.sources.source import Members, Source
from lxcast.tar.quirks import Form
from lxcast.tar.reader import Limits, Reader


class Remote:
    """An archive that a server has. The server is asked when it is opened: the digest alone is known before."""

    config = None
    rereadable = True
    size = None
    read = 0

    def __init__(
        self, url: str, sha256: str, open_path: Callable[[Path], Source], is_read_twice: Callable[[bytes], bool]
    ) -> None:
        """Take a URL and the digest of what is there, "" for anything.

        `open_path` opens what was kept; `is_read_twice` tells by the first member's path whether an archive must be.
        """
        self.origin = Origin("https", redacted(url), f"sha256:{sha256}" if sha256 else "")
        self.warnings: list[str] = []
        self.path: Path | None = None
        """Where the file lies here, once it was fetched; None where it is read while it comes."""
        self._url, self._sha256 = url, sha256
        self._open_path, self._is_read_twice = open_path, is_read_twice

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members."""
        return self.opened().members(limits)

    def opened(self) -> Source:
        """Return what the file is, after a look at its start. Raises SourceError and its children."""
        return self.fetch() or self.kept()

    def fetch(self) -> Archive | None:
        """Return the archive that is read while it comes; None where the file is kept, and `path` tells where.

        Raises SourceError and its children.
        """
        path = downloads.find(self._sha256) if self._sha256 else None
        if path is None:
            begun = Begun(Download(self._url))
            try:
                if not self._must_be_kept(begun):
                    return self._streamed(begun)
                path = downloads.keep(begun, begun.raw.name, self._sha256, lambda: begun.raw.sha256)
            except BaseException:
                begun.raw.close()
                raise
            begun.raw.close()
        self.path = path
        return None

    def kept(self) -> Source:
        """Return what the file is that was fetched and kept. Raises SourceError and its children."""
        assert self.path is not None
        source = self._open_path(self.path)
        # Each kind of source has it as an attribute, though those who read sources only look at it.
        source.origin = replace(self.origin, digest=f"sha256:{self.path.name}")  # type: ignore[misc]
        return source

    def _streamed(self, begun: Begun[Download]) -> Archive:
        waiting = [begun]

        @contextmanager
        def opener() -> Iterator[Readable]:
            download = waiting.pop() if waiting else Begun(Download(self._url))
            try:
                yield download
                self._finish(download)
            except ArchiveError:
                self._finish(download)  # that these are not the right bytes tells more than what follows from it
                raise
            finally:
                download.raw.close()
            archive.origin = replace(self.origin, digest=f"sha256:{download.raw.sha256}")

        archive = Archive(self.origin, opener, bool(self._sha256), begun.raw.size)
        return archive

    def _must_be_kept(self, begun: Begun[Download]) -> bool:
        try:
            reader = Reader(decompress(Peeked(begun), begun.raw.name), begun.raw.name, form=Form())
            first = next((member.path for member in reader if member.path), b"")
        except ArchiveError:
            return True  # the whole file tells more than its start
        finally:
            begun.rewind()
        return self._is_read_twice(first)

    def _finish(self, begun: Begun[Download]) -> None:
        """Read what is left, and compare the digest."""
        buffer = memoryview(bytearray(1 << 20))
        while begun.readinto(buffer):
            pass
        downloads.require(begun.raw.name, self._sha256, begun.raw.sha256)
