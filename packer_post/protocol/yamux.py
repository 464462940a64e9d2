"""yamux (hashicorp/yamux, spec.md): many streams over one connection, each with its own flow control.

One thread reads the connection and never waits for anything else; another writes it. So neither a reader that is slow
nor a writer that waits for credit can stop the other streams.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from packer_post.protocol import ProtocolError

WINDOW = 256 * 1024
"""Bytes that a side may send on a stream before the other gives more credit; the protocol's initial value."""

MAX_STREAMS = 4096
"""Streams that the other side may have open at once; one more is reset."""

_HEADER = struct.Struct(">BBHII")
_DATA, _UPDATE, _PING, _GO_AWAY = range(4)
_SYN, _ACK, _FIN, _RST = 1, 2, 4, 8
_CHUNK = 32 * 1024
_QUEUED = 1 << 20  # bytes of data that wait for the connection before those who send more wait, too
_REPLIES = 1 << 16  # replies that wait: a peer that causes more than this and reads none is not yamux


class Stream:
    """One stream: recv and send by any thread, one at a time for each."""

    def __init__(self, session: "Session", number: int) -> None:
        self._session = session
        self.number = number
        self.changed = threading.Condition(session.lock)
        self.received = bytearray()
        self.room = WINDOW
        """What the other side may still send."""
        self.credit = WINDOW
        """What this side may still send."""
        self.ended = False
        """Whether the other side sends no more."""
        self.closed = False
        """Whether this side sends no more."""
        self.broken = False

    def recv(self, most: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, at most so many; b"" at the stream's end. Raises ProtocolError, TimeoutError."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.received or self.ended or self.broken, timeout):
                raise TimeoutError(f"nothing came on stream {self.number} for {timeout} s")
            if not self.received and self.broken:
                raise ProtocolError(f"stream {self.number} was reset")
            data = bytes(self.received[:most])
            del self.received[:most]
            # Credit is given back while a long value is still read, or a value of more than a window never ends.
            free = WINDOW - self.room - len(self.received)
            if free >= WINDOW // 2 and not self.ended:
                self.room += free
                self._session.reply(_UPDATE, 0, self.number, free)
            return data

    def more(self) -> bool:
        """Wait for the next bytes; False where the stream has ended."""
        with self.changed:
            self.changed.wait_for(lambda: self.received or self.ended or self.broken)
            return bool(self.received)

    def read(self, size: int, timeout: float | None = None) -> bytes:
        """Return exactly so many bytes. Raises ProtocolError where the stream ends before, TimeoutError."""
        parts = []
        while size:
            data = self.recv(size, timeout)
            if not data:
                raise ProtocolError(f"stream {self.number} ended {size} bytes too early")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Send all of it; waits while the other side gives no credit. Raises ProtocolError where it reads no more."""
        view = memoryview(data)
        while view:
            with self.changed:
                self.changed.wait_for(lambda: self.credit or self.closed or self.broken)
                if self.closed or self.broken:
                    raise ProtocolError(f"stream {self.number} is closed")
                size = min(len(view), self.credit, _CHUNK)
                self.credit -= size
            self._session.send(self.number, bytes(view[:size]))
            view = view[size:]

    def close(self) -> None:
        """Say that this side sends no more."""
        with self.changed:
            if not self.closed and not self.broken:
                self.closed = True
                self._session.reply(_UPDATE, _FIN, self.number, 0)
            self._session.forget(self)
            self.changed.notify_all()

    def reset(self) -> None:
        """End the stream for both sides."""
        with self.changed:
            if not self.broken:
                self.broken = True
                self._session.reply(_UPDATE, _RST, self.number, 0)
            self._session.forget(self)
            self.changed.notify_all()


class Session:
    """One connection. `accepted` is called, by the reading thread, with each stream that the other side opens."""

    def __init__(self, connection: socket.socket, accepted: Callable[[Stream], None], *, client: bool = False) -> None:
        self._connection = connection
        self._accepted = accepted
        self.lock = threading.RLock()
        self._to_write = threading.Condition(self.lock)
        self._replies: deque[bytes] = deque()
        self._data: deque[bytes] = deque()
        self._queued = 0
        self._streams: dict[int, Stream] = {}
        self._next = 1 if client else 2
        self._closing = False
        self.ended = threading.Event()
        """Set when the connection is gone."""
        self.fault = ""
        """Why the session ended, where the other side broke the protocol."""
        self._writer = threading.Thread(target=self._write, name="yamux-write", daemon=True)
        threading.Thread(target=self._read, name="yamux-read", daemon=True).start()
        self._writer.start()

    def open(self) -> Stream:
        """Open a stream; the other side hears of it before anything that is sent on it."""
        with self.lock:
            if self.ended.is_set():
                raise ProtocolError("the connection has ended")
            stream = self._streams[self._next] = Stream(self, self._next)
            self._next += 2
            self.reply(_UPDATE, _SYN, stream.number, 0)
            return stream

    def close(self, timeout: float = 5) -> None:
        """Write what is queued, as far as the other side reads it within so many seconds, and end the connection."""
        with self._to_write:
            self._closing = True
            self._to_write.notify_all()
        self._writer.join(timeout)
        self._end("")

    def reply(self, kind: int, flags: int, number: int, length: int) -> None:
        """Queue a frame without data; never waits."""
        with self._to_write:
            self._replies.append(_HEADER.pack(0, kind, flags, number, length))
            self._to_write.notify_all()

    def send(self, number: int, data: bytes) -> None:
        """Queue a frame of data; waits while much is queued."""
        with self._to_write:
            self._to_write.wait_for(lambda: self._queued < _QUEUED or self.ended.is_set())
            if self.ended.is_set():
                raise ProtocolError("the connection has ended")
            self._data.append(_HEADER.pack(0, _DATA, 0, number, len(data)) + data)
            self._queued += len(data)
            self._to_write.notify_all()

    def forget(self, stream: Stream) -> None:
        """Drop a stream that both sides have ended; under the lock."""
        if stream.broken or (stream.closed and stream.ended):
            self._streams.pop(stream.number, None)

    def _write(self) -> None:
        try:
            while True:
                with self._to_write:
                    self._to_write.wait_for(lambda: self._replies or self._data or self._closing or self.ended.is_set())
                    # The end of a stream must not overtake its data, nor data the stream's beginning.
                    frames = [*self._take_first(), *self._data, *self._take_last()]
                    self._data.clear()
                    self._queued = 0
                    if not frames:
                        return
                    self._to_write.notify_all()
                self._connection.sendall(b"".join(frames))
        except OSError:
            self._end("")

    def _take_first(self) -> list[bytes]:
        return [frame for frame in self._replies if not _ends(frame)]

    def _take_last(self) -> list[bytes]:
        last = [frame for frame in self._replies if _ends(frame)]
        self._replies.clear()
        return last

    def _read(self) -> None:
        fault = ""
        try:
            with self._connection.makefile("rb", buffering=1 << 16) as source:
                while len(header := source.read(_HEADER.size)) == _HEADER.size:
                    version, kind, flags, number, length = _HEADER.unpack(header)
                    if version != 0 or kind > _GO_AWAY:
                        raise ProtocolError(f"{header!r} is not a yamux frame")
                    if len(self._replies) > _REPLIES:
                        raise ProtocolError("frames come, and their replies are not read")
                    if kind == _PING and flags & _SYN:
                        self.reply(_PING, _ACK, 0, length)
                    elif kind in (_DATA, _UPDATE):
                        stream = self._stream(flags, number)
                        data = self._body(stream, length, source.read) if kind == _DATA else b""
                        self._frame(stream, flags, data, length if kind == _UPDATE else 0)
        except ProtocolError as error:
            fault = str(error)
        except (OSError, ValueError):  # ValueError: the connection was closed on this side
            pass
        self._end(fault)

    def _stream(self, flags: int, number: int) -> Stream | None:
        """Return the stream of a frame, a new one where the frame opens it; None for one that ended here already."""
        with self.lock:
            if not flags & _SYN:
                return self._streams.get(number)
            if number in self._streams or number == 0 or number % 2 == self._next % 2:
                raise ProtocolError(f"the other side cannot open stream {number}")
            if len(self._streams) >= MAX_STREAMS:
                self.reply(_UPDATE, _RST, number, 0)
                return None
            stream = self._streams[number] = Stream(self, number)
            self.reply(_UPDATE, _ACK, number, 0)
        self._accepted(stream)
        return stream

    def _body(self, stream: Stream | None, length: int, read: Callable[[int], bytes]) -> bytes:
        if length > WINDOW or (stream is not None and length > stream.room):
            raise ProtocolError(f"{length} bytes are more than the stream's credit")
        data = read(length)
        if len(data) < length:
            raise ProtocolError("the connection ended within a frame")
        return data

    def _frame(self, stream: Stream | None, flags: int, data: bytes, credit: int) -> None:
        if stream is None:
            return
        with stream.changed:
            stream.received += data
            stream.room -= len(data)
            stream.credit += credit
            stream.ended = stream.ended or bool(flags & _FIN)
            stream.broken = stream.broken or bool(flags & _RST)
            self.forget(stream)
            stream.changed.notify_all()

    def _end(self, fault: str) -> None:
        with self.lock:
            if self.ended.is_set():
                return
            self.fault = fault
            self.ended.set()
            for stream in self._streams.values():
                stream.ended = stream.broken = True
                stream.changed.notify_all()
            self._streams.clear()
            self._to_write.notify_all()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _ends(frame: bytes) -> bool:
    return bool(frame[3] & (_FIN | _RST))
