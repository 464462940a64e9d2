"""A file on a server, read once from start to end, however often the connection breaks.

A broken download is resumed where it broke. Parts of two different files are never joined: the server confirms a strong
validator (RFC 9110, sections 13.1.5 and 14.2), or else the file is read again from its start, and the bytes that were
handed out already must be the same.
"""

import hashlib
import re
import threading
import time
from email.utils import parsedate_to_datetime

from lxcast.download.stream import Stream, open_stream, redact_url
from lxcast.errors import SourceError

PATIENCE = 60.0
"""Seconds without a new byte after which a download fails."""

_MIN_SPEED = 1024
"""Bytes per second over PATIENCE seconds: a slower download fails, since it might never end."""

_FIRST = 10.0
"""The same before the first byte, when a wrong address is more likely than a broken connection."""

_TRANSIENT = {429, 500, 502, 503, 504}

_SKIP = 1 << 20


class Download:
    """A stream of the bytes of one file. The first request is sent when the first byte is read.

    If several threads read, they wait for each other, and together get the file in order.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.name = redact_url(url)
        """For messages: the URL without its secrets."""
        self._url, self._patience = url, patience
        self._stream: Stream | None = None
        self._size: int | None = None
        self._validator = self._etag = ""
        self._hash = hashlib.sha256()
        self._at = 0
        self._pause = 0.0
        self._since = time.monotonic()
        self._waited, self._received = 0.0, 0  # seconds in `readinto`, and bytes, since the last check of the speed
        self._lock = threading.Lock()
        self._closed = False

    @property
    def size(self) -> int | None:
        """Bytes of the file; None if the server does not announce them. Raises SourceError."""
        while self._stream is None and not self._at:
            try:
                self._connect()
            except ConnectionError as error:
                self._wait(error)
        return self._size

    @property
    def sha256(self) -> str:
        """The digest of the bytes read so far, as 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`; return how many bytes, 0 at the end. Raises SourceError."""
        with self._lock:
            began = time.monotonic()
            got = self._read(buffer)
            self._waited += time.monotonic() - began
            self._received += got
            if got and self._waited > self._patience:
                if self._received < _MIN_SPEED * self._patience:
                    raise SourceError(
                        f"{self.name}: too slow: {self._received} bytes in {self._waited:.0f} s, "
                        f"expected at least {_MIN_SPEED} bytes per second",
                        hint="try again later, or another server",
                    )
                self._waited, self._received = 0.0, 0
            return got

    def _read(self, buffer: memoryview) -> int:
        while True:
            try:
                data = (self._stream or self._connect()).read(len(buffer))
                if not data and self._size is not None and self._at < self._size:
                    raise ConnectionError(f"it ended after {self._at} of {self._size} bytes")
            except ConnectionError as error:
                self._wait(error)
                continue
            buffer[: len(data)] = data
            self._hash.update(data)
            self._at += len(data)
            self._pause, self._since = 0.0, time.monotonic()
            return len(data)

    def close(self) -> None:
        """Close the connection; a thread that waits for bytes gets SourceError."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _wait(self, error: ConnectionError) -> None:
        self._drop()
        if self._closed:
            raise SourceError(f"{self.name}: reading was stopped")
        if time.monotonic() + self._pause > self._since + (self._patience if self._at else min(self._patience, _FIRST)):
            done = f" after {self._at} bytes" if self._at else ""
            raise SourceError(f"{self.name}: no reply{done}: {error}", hint="check the URL, or try again later")
        time.sleep(self._pause)
        self._pause = min(2 * self._pause or 0.25, 4.0)

    def _connect(self) -> Stream:
        """Request the rest. Raises ConnectionError if another try may help."""
        headers = {"Accept-Encoding": "identity"}
        if self._at and self._validator:
            headers |= {"Range": f"bytes={self._at}-", "If-Range": self._validator}
        stream = open_stream(self._url, self.name, headers)
        try:
            if stream.status in _TRANSIENT:
                raise ConnectionError(f"{stream.status} {stream.reason}")
            if stream.status not in ((200, 206) if self._at else (200,)):
                raise self._refused(stream)
            if not self._at:
                self._begin(stream)
            elif stream.status == 206:
                self._resume(stream)
            else:
                self._skip(stream)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return stream

    def _begin(self, stream: Stream) -> None:
        length = stream.headers.get("Content-Length", "")
        self._size = int(length) if length.isdigit() else None
        self._etag = stream.headers.get("ETag", "")
        self._validator = "" if self._etag.startswith("W/") else self._etag or _date_that_validates(stream)

    def _resume(self, stream: Stream) -> None:
        content_range = stream.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if match is None or int(match[1]) != self._at:
            raise SourceError(
                f"{self.name}: unexpected Content-Range: expected bytes from {self._at} on, got {content_range!r:.80}"
            )
        total = int(match[2]) if match[2] != "*" else self._size
        if total != self._size or stream.headers.get("ETag", self._etag) != self._etag:
            raise self._changed()

    def _skip(self, stream: Stream) -> None:
        """Read the bytes that were handed out already, and compare them."""
        length = stream.headers.get("Content-Length", "")
        if self._size is not None and length.isdigit() and int(length) != self._size:
            raise self._changed()
        again, left = hashlib.sha256(), self._at
        while left:
            data = stream.read(min(left, _SKIP))
            if not data:
                raise ConnectionError(f"it ended before {self._at} bytes")
            again.update(data)
            left -= len(data)
        if again.digest() != self._hash.digest():
            raise self._changed()

    def _changed(self) -> SourceError:
        return SourceError(f"{self.name}: the file changed during the download", hint="build it again")

    def _refused(self, stream: Stream) -> SourceError:
        hint = "check the URL"
        if stream.status in (401, 403):
            hint = "if it needs a password, put it into ~/.netrc"
        elif stream.status == 416:
            return self._changed()
        return SourceError(f"{self.name}: the server replied {stream.status} {stream.reason}".rstrip(), hint=hint)


def _date_that_validates(stream: Stream) -> str:
    """Return Last-Modified if it is a strong validator: at least a minute old (RFC 9110, 8.8.2.2)."""
    changed, now = stream.headers.get("Last-Modified", ""), stream.headers.get("Date", "")
    try:
        age = parsedate_to_datetime(now) - parsedate_to_datetime(changed)
    except (ValueError, TypeError):
        return ""
    return changed if age.total_seconds() >= 60 else ""
