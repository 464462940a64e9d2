"""One client's connection, read as the server reads it: one TLS record at a time.

Proxmox's server runs its parsers once for each decrypted record (AnyEvent::Handle), so that where a client's writes
end matters. A read from OpenSSL never joins two records.
"""

import contextlib
import re
import socket
import ssl
import time

from .faults import Faults

# The most that a TLS record holds.
RECORD = 1 << 14
# A loop of the real server has taken up to this much from the kernel when it closes.
TAKEN = 128 * 1024
LINE = re.compile(rb"\r?\n")


class GoneError(Exception):
    """The client closed the connection, or was silent for the idle time: there is nobody to answer."""


class Connection:
    """A socket, with or without TLS, and what was read of it beyond what was asked for."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, faults: Faults) -> None:
        self.sock = sock
        self.idle = faults.idle
        self.faults = faults
        self.buffer = b""
        sock.settimeout(self.idle)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The port takes both: the first byte of a TLS handshake is 0x16.
        self.tls = sock.recv(1, socket.MSG_PEEK) == b"\x16"
        if self.tls:
            self.sock = context.wrap_socket(sock, server_side=True)

    def record(self) -> bytes:
        """Read the next record; raises GoneError at the end, after the idle time, and when the connection breaks."""
        try:
            data = self.sock.recv(RECORD)
        except OSError as error:
            raise GoneError(str(error)) from error
        if not data:
            raise GoneError("closed by the client")
        if rate := self.faults.read_rate:
            time.sleep(len(data) / rate)
        return data

    def line(self) -> bytes:
        """Read a line, without its end."""
        while not (end := LINE.search(self.buffer)):
            self.buffer += self.record()
        line, self.buffer = self.buffer[: end.start()], self.buffer[end.end() :]
        return line

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        while len(self.buffer) < size:
            self.buffer += self.record()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def records(self, size: int, seconds: float) -> int:
        """Count the records that the next `size` bytes come in, within the time; they are thrown away."""
        count, end = 0, time.monotonic() + seconds
        with contextlib.suppress(OSError, GoneError):
            while size > 0 and (left := end - time.monotonic()) > 0:
                self.sock.settimeout(left)
                size -= len(self.record())
                count += 1
        self.sock.settimeout(self.idle)
        return count

    def overflows(self, limit: int, seconds: float) -> bool:
        """Tell whether more than `limit` bytes come within the time; what comes is thrown away."""
        taken, end = len(self.buffer), time.monotonic() + seconds
        with contextlib.suppress(OSError, GoneError):
            while taken <= limit and (left := end - time.monotonic()) > 0:
                self.sock.settimeout(left)
                taken += len(self.record())
        self.sock.settimeout(self.idle)
        return taken > limit

    def wait_idle(self) -> None:
        """Take what comes, answer nothing, and return when the client was silent for the idle time or is gone."""
        with contextlib.suppress(GoneError):
            while True:
                self.record()

    def write(self, data: bytes) -> None:
        """Send all of it; raises GoneError."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise GoneError(str(error)) from error

    def close(self) -> None:
        """End TLS in order, without waiting for the client's part of it, and close."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.setblocking(False)
            # Unread data would make the close a reset, which may overtake the answer.
            with contextlib.suppress(OSError):
                taken = 0
                while taken < TAKEN and (data := self.sock.recv(RECORD)):
                    taken += len(data)
            if isinstance(self.sock, ssl.SSLSocket):
                with contextlib.suppress(OSError):
                    self.sock = self.sock.unwrap()
            self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()

    def cut(self) -> None:
        """Break the connection off in the middle, as a router does: no end of TLS, a reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()
