"""A client that decides about every byte and every TLS record: each element of what is sent is one write."""

import json
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lxcast.testing import Cluster

BOUNDARY = "b0undary"
UPLOAD = "/api2/json/nodes/pve/storage/local/upload"
CONTENT = b'Content-Disposition: form-data; name="content"\r\n\r\nvztmpl'
FILE = b'Content-Disposition: form-data; name="filename"; filename="x.tar.zst"\r\n\r\n'


@dataclass(frozen=True)
class Reply:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(server: Cluster, tls: bool = True) -> socket.socket:
    sock = socket.create_connection(
        (server.listeners[server.nodes[0]].host, server.listeners[server.nodes[0]].port), 240
    )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return sock
    return ssl.create_default_context(cafile=server.ca).wrap_socket(sock, server_hostname="127.0.0.1")


def receive(sock: socket.socket) -> Reply | None:
    """All that the server says until it closes or the body is complete; None where it closes without a word."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
            head, found, body = data.partition(b"\r\n\r\n")
            length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            if found and length and len(body) >= int(length[0].partition(b":")[2]):
                break
    except (ConnectionError, ssl.SSLError):
        pass
    if not data:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    _, status, reason = line.split(" ", 2)
    return Reply(int(status), reason, {each.partition(": ")[0]: each.partition(": ")[2] for each in rest}, body)


def send(server: Cluster, writes: Iterable[bytes], tls: bool = True, pause: float = 0.0) -> Reply | None:
    with connect(server, tls) as sock:
        try:
            for write in writes:
                sock.sendall(write)
                time.sleep(pause)
        except (ConnectionError, ssl.SSLError):
            pass
        return receive(sock)


def ask(
    server: Cluster, request: str, *headers: str, authorization: str | None = None, body: bytes = b""
) -> Reply | None:
    token = server.authorization if authorization is None else authorization
    lines = [f"{request} HTTP/1.1", "Host: x", *([f"Authorization: {token}"] if token else []), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return send(server, [("\r\n".join(lines) + "\r\n\r\n").encode() + body])


def answered(reply: Reply | None) -> Reply:
    assert reply is not None, "the server closed the connection without a reply"
    return reply


def get(server: Cluster, path: str, authorization: str | None = None) -> Reply:
    return answered(ask(server, f"GET /api2/json{path}", authorization=authorization))


def delete(server: Cluster, path: str) -> Reply:
    return answered(ask(server, f"DELETE /api2/json{path}"))


def post(server: Cluster, path: str, form: str, authorization: str | None = None) -> Reply:
    kind = "Content-Type: application/x-www-form-urlencoded"
    return answered(ask(server, f"POST /api2/json{path}", kind, authorization=authorization, body=form.encode()))


def form(*parts: bytes, end: bytes = b"") -> bytes:
    """A multipart body of parts that are header, blank line and value; `end` follows the closing delimiter."""
    opened = b"".join(b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return opened + b"--" + BOUNDARY.encode() + b"--" + end


def head(
    server: Cluster,
    length: int,
    path: str = UPLOAD,
    kind: str = f"multipart/form-data; boundary={BOUNDARY}",
    authorization: str | None = None,
) -> bytes:
    token = server.authorization if authorization is None else authorization
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def upload(
    server: Cluster, body: bytes, *, splits: Sequence[int] = (), pause: float = 0.0, **options: Any
) -> Reply | None:
    """Upload a body; `splits` are where another write begins. The head is a write of its own."""
    borders = [0, *splits, len(body)]
    writes = [body[start:end] for start, end in pairwise(borders)]
    return send(server, [head(server, len(body), **options), *writes], pause=pause)


def stored(server: Cluster, name: str = "x.tar.zst") -> bytes | None:
    """The bytes of a template on the first node after all tasks ended; None where it is not there."""
    server.tasks.wait()
    file = server.storages["local"].folder(server.nodes[0]) / name
    return file.read_bytes() if file.exists() else None
