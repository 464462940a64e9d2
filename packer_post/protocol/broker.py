"""The numbers by which the two sides find each other's streams (packer-plugin-sdk, rpc/mux_broker.go).

The opener of a stream writes a number, four bytes with the lowest first, and the receiver of that number answers with
the same. Number 0 is what Packer calls first.
"""

import socket
import struct
import threading
from collections.abc import Callable

from packer_post.protocol import ProtocolError
from packer_post.protocol.yamux import Session, Stream

TIMEOUT = 5.0
"""Seconds that Packer waits for an answer to a number."""

_NUMBER = struct.Struct("<I")


class Broker:
    """The streams of one connection. What is offered before Packer can know its number never has to wait."""

    def __init__(
        self, connection: socket.socket, offered: dict[int, Callable[[Stream], None]], *, client: bool = False
    ) -> None:
        self._offered = offered
        self._last = 0
        self._lock = threading.Lock()
        self.session = Session(connection, self._accept, client=client)

    def offer(self, serve: Callable[[Stream], None]) -> int:
        """Return a new number; the stream of who dials it is given to `serve`, in a thread of its own, once."""
        with self._lock:
            self._last += 1
            self._offered[self._last] = serve
            return self._last

    def dial(self, number: int) -> Stream:
        """Open a stream to the receiver of this number. Raises ProtocolError if there is none, TimeoutError."""
        stream = self.session.open()
        stream.send(_NUMBER.pack(number))
        (answer,) = _NUMBER.unpack(stream.read(_NUMBER.size, TIMEOUT))
        if answer != number:
            stream.reset()
            raise ProtocolError(f"number {number} was called, {answer} answers")
        return stream

    def _accept(self, stream: Stream) -> None:
        threading.Thread(target=self._introduce, args=(stream,), daemon=True).start()

    def _introduce(self, stream: Stream) -> None:
        try:
            (number,) = _NUMBER.unpack(stream.read(_NUMBER.size, TIMEOUT))
            with self._lock:
                serve = self._offered.get(number) if number == 0 else self._offered.pop(number, None)
            if serve is None:
                raise ProtocolError(f"nobody waits for number {number}")
            stream.send(_NUMBER.pack(number))
        except (ProtocolError, TimeoutError):
            stream.reset()
            return
        serve(stream)
