"""An archive on an https server, told by its content like one that lies here.

The tar of a root filesystem is read while it comes. What is read twice (an image, an archive in an archive) is first
kept in the user's cache directory.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from lxcast.compression import Peeked, Readable, decompress
from lxcast.download.resume import Download
from lxcast.download.stream import redact_url
from lxcast.errors import ArchiveError
from lxcast.record import Origin
from lxcast.sources import download_cache
from lxcast.sources.archive import Archive
from lxcast.sources.replay import Replay
from lxcast.sources.source import Members, Source
from lxcast.tar.quirks import Quirks
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
        self.origin = Origin("https", redact_url(url), f"sha256:{sha256}" if sha256 else "")
        self.warnings: list[str] = []
        self.path: Path | None = None
        """Where the file lies here, once it was fetched; None where it is read while it comes."""
        self._url, self._sha256 = url, sha256
        self._open_path, self._is_read_twice = open_path, is_read_twice

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members."""
        return self.resolve().members(limits)

    def resolve(self) -> Source:
        """Return what the file is, after a look at its start. Raises SourceError and its children."""
        return self.fetch() or self.kept()

    def fetch(self) -> Archive | None:
        """Return the archive that is read while it comes; None where the file is kept, and `path` tells where.

        Raises SourceError and its children.
        """
        path = download_cache.find(self._sha256) if self._sha256 else None
        if path is None:
            replay = Replay(Download(self._url))
            try:
                if not self._must_be_kept(replay):
                    return self._streamed(replay)
                path = download_cache.store(replay, replay.raw.name, self._sha256, lambda: replay.raw.sha256)
            except BaseException:
                replay.raw.close()
                raise
            replay.raw.close()
        self.path = path
        return None

    def kept(self) -> Source:
        """Return what the file is that was fetched and kept. Raises SourceError and its children."""
        assert self.path is not None
        source = self._open_path(self.path)
        # Each kind of source has it as an attribute, though those who read sources only look at it.
        source.origin = replace(self.origin, digest=f"sha256:{self.path.name}")  # type: ignore[misc]
        return source

    def _streamed(self, replay: Replay[Download]) -> Archive:
        waiting = [replay]

        @contextmanager
        def opener() -> Iterator[Readable]:
            download = waiting.pop() if waiting else Replay(Download(self._url))
            try:
                yield download
                self._finish(download)
            except ArchiveError:
                self._finish(download)  # that these are not the right bytes tells more than what follows from it
                raise
            finally:
                download.raw.close()
            archive.origin = replace(self.origin, digest=f"sha256:{download.raw.sha256}")

        archive = Archive(self.origin, opener, bool(self._sha256), replay.raw.size)
        return archive

    def _must_be_kept(self, replay: Replay[Download]) -> bool:
        try:
            reader = Reader(decompress(Peeked(replay), replay.raw.name), replay.raw.name, quirks=Quirks())
            first = next((member.path for member in reader if member.path), b"")
        except ArchiveError:
            return True  # the whole file tells more than its start
        finally:
            replay.rewind()
        return self._is_read_twice(first)

    def _finish(self, replay: Replay[Download]) -> None:
        """Read what is left, and compare the digest."""
        buffer = memoryview(bytearray(1 << 20))
        while replay.readinto(buffer):
            pass
        download_cache.require_digest(replay.raw.name, self._sha256, replay.raw.sha256)
