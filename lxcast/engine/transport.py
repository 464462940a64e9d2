"""HTTP with the engine over a unix socket, ssh, TCP or TLS.

A unix socket and ssh are used directly, with HTTP/1.0: the engine then sends a body without chunks, which the kernel
copies straight into the reader's buffer. That takes less than half of the CPU time of the SDK's stream. TCP and TLS go
through the SDK.
"""

import json
import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from lxcast.engine.endpoint import Endpoint
from lxcast.errors import EngineError
from lxcast.http import describe

_HEAD_LIMIT = 64 * 1024
_CONNECT_SECONDS = 10.0


class Reply(Protocol):
    """A reply whose body streams; close it after use."""

    status: int

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill the buffer; return the number of bytes, 0 at the end of the body."""

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default the whole rest; b"" at the end."""

    def close(self) -> None:
        """Close the connection."""


class Call(Protocol):
    """Sends requests to the engine."""

    def __call__(self, method: str, path: str, body: object = None, seconds: float | None = None) -> Reply:
        """Send one request (`path` with its query, `body` as JSON) and return the reply, waiting `seconds` for it.

        Raises OSError if the connection fails, EngineError if it gives no reply.
        """


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A process that carries a connection, and the file that takes its error output."""

    process: "subprocess.Popen[bytes]"
    complaints: IO[bytes]

    def end(self) -> str:
        """Stop it and return its error output."""
        self.process.kill()
        self.process.wait()
        with self.complaints as file:
            file.seek(0)
            return file.read(4096).decode("utf-8", "replace").strip()


Connect = Callable[[], tuple[socket.socket, "_Carrier | None"]]
"""Opens a connection, and returns the process that carries it."""


class _SocketReply:
    """A body that ends with its connection (HTTP/1.0)."""

    def __init__(self, connection: socket.socket, carrier: "_Carrier | None" = None) -> None:
        self._connection = connection
        self._carrier = carrier
        self.status, self._rest = 0, b""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(_HEAD_LIMIT)
            received += piece
            if not piece or len(received) > _HEAD_LIMIT * 2:
                raise EngineError(f"unexpected reply of the engine: expected HTTP, got {received[:80]!r}")
        match = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", received)
        if match is None:
            raise EngineError(f"unexpected reply of the engine: expected HTTP, got {received[:80]!r}")
        self.status = int(match[1])
        self._rest = received.partition(b"\r\n\r\n")[2]

    def readinto(self, buffer: bytearray | memoryview) -> int:
        view = memoryview(buffer)
        done = min(len(self._rest), len(view))
        view[:done] = self._rest[:done]
        self._rest = self._rest[done:]
        if done == len(view):
            return done
        try:
            # One system call for each buffer, not one for each of the engine's 32 KiB pieces.
            return done + self._connection.recv_into(view[done:], 0, socket.MSG_WAITALL)
        except OSError as error:
            raise EngineError(f"the engine closed the connection: {error}") from error

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_HEAD_LIMIT), b""))
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def close(self) -> None:
        self._connection.close()
        if self._carrier:
            self._carrier.end()


def _direct(connect: Connect) -> Call:
    def call(method: str, path: str, body: object = None, seconds: float | None = None) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        connection, carrier = connect()
        try:
            connection.settimeout(seconds)
            connection.sendall(head.encode("ascii") + content)
            reply = _SocketReply(connection, carrier)
            connection.settimeout(None)  # MSG_WAITALL needs a blocking socket
            return reply
        except BaseException as error:
            connection.close()
            complaints = carrier.end() if carrier else ""
            if isinstance(error, OSError | EngineError):
                raise EngineError(complaints or str(error) or "the engine closed the connection") from error
            raise

    return call


def _unix(path: str) -> Call:
    def connect() -> tuple[socket.socket, None]:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
        return connection, None

    return _direct(connect)


def _ssh(url: str) -> Call:
    """Let the remote docker command carry the connection, as the local one does (docker/cli, connhelper/ssh)."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
        raise EngineError(f"invalid engine address {url!r}: the host is missing")
    command = ["ssh", "-o", "ConnectTimeout=10", "-T"]
    command += ["-l", parts.username] if parts.username else []
    command += ["-p", str(parts.port)] if parts.port else []
    command += ["--", parts.hostname, "docker", "system", "dial-stdio"]

    def connect() -> tuple[socket.socket, _Carrier]:
        import tempfile  # 8 ms, which only ssh needs

        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end(); a pipe without a reader could fill up
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - argv, where no word of the address can be an option
                    command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=complaints
                )
            except BaseException:
                ours.close()
                complaints.close()
                raise
        return ours, _Carrier(process, complaints)

    return _direct(connect)


class _SdkReply:
    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status_code

    def readinto(self, buffer: bytearray | memoryview) -> int:
        try:
            return int(self._response.raw.readinto(buffer))
        except Exception as error:
            raise EngineError(f"the engine closed the connection: {error}") from error

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._response.raw.read(None if size < 0 else size))
        except Exception as error:
            raise EngineError(f"the engine closed the connection: {error}") from error

    def close(self) -> None:
        self._response.close()


def _sdk(endpoint: Endpoint) -> Call:
    import docker  # 90 ms, which a local socket does not need
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    tls: Any = False
    if endpoint.tls:
        directory = endpoint.certificates or Path()
        files = {name: str(path) for name in ("ca", "cert", "key") if (path := directory / f"{name}.pem").exists()}
        pair = (files["cert"], files["key"]) if {"cert", "key"} <= files.keys() else None
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=files.get("ca"), verify=endpoint.verify)
    # With a version given it does not request one; our paths carry none.
    client = docker.APIClient(endpoint.host, tls=tls, version=DEFAULT_DOCKER_API_VERSION)

    def call(method: str, path: str, body: object = None, seconds: float | None = None) -> Reply:
        try:
            # Passed with the request, since REQUESTS_CA_BUNDLE in the environment has priority over the client's own.
            verify, cert, timeout = client.verify, client.cert, (_CONNECT_SECONDS, seconds)
            url = client.base_url + path
            response = client.request(method, url, json=body, stream=True, timeout=timeout, verify=verify, cert=cert)
        except OSError as error:  # requests' exceptions are OSErrors
            raise EngineError(describe(error)) from error
        return _SdkReply(response)

    return call


def transport(endpoint: Endpoint) -> Call:
    """Return the function that calls an engine; the first call raises OSError or EngineError."""
    scheme, _, rest = endpoint.host.partition("://")
    if scheme == "unix":
        return _unix(rest)
    if scheme == "ssh":
        return _ssh(endpoint.host)
    if scheme in ("tcp", "http", "https"):
        return _sdk(endpoint)
    raise EngineError("unsupported engine address: expected unix://, tcp:// or ssh://")
