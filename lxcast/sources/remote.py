"""An archive on an https server, of the kind that its content shows.

The tar of a root filesystem is streamed. A source that is read twice (an image, an archive in an archive) is first
stored in the user's cache directory.
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
    """An archive on a server. Nothing is requested before it is resolved: until then only the digest is known."""

    config = None
    rereadable = True
    size = None
    read = 0

    def __init__(
        self, url: str, sha256: str, open_path: Callable[[Path], Source], is_read_twice: Callable[[bytes], bool]
    ) -> None:
        """Take a URL and the expected digest, "" to accept any.

        `open_path` opens a stored file; `is_read_twice` decides by the first member's path whether an archive must be
        stored.
        """
        self.origin = Origin("https", redact_url(url), f"sha256:{sha256}" if sha256 else "")
        self.warnings: list[str] = []
        self.path: Path | None = None
        """The stored file after `fetch`; None if the archive is streamed."""
        self._url, self._sha256 = url, sha256
        self._open_path, self._is_read_twice = open_path, is_read_twice

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members."""
        return self.resolve().members(limits)

    def resolve(self) -> Source:
        """Return the source that the file's start shows. Raises SourceError and its children."""
        return self.fetch() or self.open_kept()

    def fetch(self) -> Archive | None:
        """Return the streamed archive; None if the file was stored at `path`. Raises SourceError and its children."""
        path = download_cache.find(self._sha256) if self._sha256 else None
        if path is None:
            replay = Replay(Download(self._url))
            try:
                if not self._must_be_stored(replay):
                    return self._streamed(replay)
                path = download_cache.store(replay, replay.raw.name, self._sha256, lambda: replay.raw.sha256)
            except BaseException:
                replay.raw.close()
                raise
            replay.raw.close()
        self.path = path
        return None

    def open_kept(self) -> Source:
        """Return the source in the stored file. Raises SourceError and its children."""
        assert self.path is not None
        source = self._open_path(self.path)
        # Every kind of source has it as an attribute, although the protocol only reads it.
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
                self._finish(download)  # a wrong digest explains more than the error that follows from it
                raise
            finally:
                download.raw.close()
            archive.origin = replace(self.origin, digest=f"sha256:{download.raw.sha256}")

        archive = Archive(self.origin, opener, bool(self._sha256), replay.raw.size)
        return archive

    def _must_be_stored(self, replay: Replay[Download]) -> bool:
        try:
            reader = Reader(decompress(Peeked(replay), replay.raw.name), replay.raw.name, quirks=Quirks())
            first = next((member.path for member in reader if member.path), b"")
        except ArchiveError:
            return True  # the whole file gives a better error than its start
        finally:
            replay.rewind()
        return self._is_read_twice(first)

    def _finish(self, replay: Replay[Download]) -> None:
        """Read the rest, and compare the digest."""
        buffer = memoryview(bytearray(1 << 20))
        while replay.readinto(buffer):
            pass
        download_cache.require_digest(replay.raw.name, self._sha256, replay.raw.sha256)
