"""A file server that speaks TLS, and breaks connections where a test wants it."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lxcast.testing.certificate import make_certificate


class FileServer:
    """Serves `files` (path without query -> bytes). What it does wrong is set by the attributes."""

    def __init__(self, url: str, ca: Path) -> None:
        self.url, self.ca = url, ca
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.etag: str | None = '"1"'
        self.modified = ""
        self.ranges = True
        self.cuts: list[int] = []
        """After how many bytes of a body to break the connection, one for each of the next answers."""
        self.stalls = False
        """Whether to be silent, instead of breaking the connection, until the server ends."""
        self.drips = 0.0
        """Seconds before each single byte of a body."""
        self.stalling, self.ended = threading.Event(), threading.Event()
        self.statuses: list[int] = []
        """Statuses of the next answers, without the file."""
        self.length: int | None = None
        """A wrong Content-Length."""
        self.coding = ""
        self.password = ""
        """What Authorization must be."""
        self.requests: list[tuple[str, dict[str, str]]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        asked = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((handler.path, asked))
        if path in self.redirects:
            self.head(handler, 302, {"Location": self.redirects[path], "Content-Length": "0"})
        elif self.password and asked.get("authorization") != self.password:
            self.head(handler, 401, {"Content-Length": "0"})
        elif self.statuses:
            self.head(handler, self.statuses.pop(0), {"Content-Length": "0"})
        elif path not in self.files:
            self.head(handler, 404, {"Content-Length": "0"})
        else:
            self.send(handler, self.files[path], asked)

    def send(self, handler: BaseHTTPRequestHandler, data: bytes, asked: dict[str, str]) -> None:
        headers = {"ETag": self.etag or "", "Last-Modified": self.modified, "Content-Encoding": self.coding}
        headers = {"Date": formatdate(usegmt=True)} | {name: value for name, value in headers.items() if value}
        match = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
        same = asked.get("if-range") in (self.etag, self.modified) and bool(asked.get("if-range"))
        status, start = 200, 0
        if match and self.ranges and same:
            status, start = 206, int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        length = len(data) - start if self.length is None else self.length
        self.head(handler, status, headers | {"Content-Length": str(length)})
        cut = self.cuts.pop(0) if self.cuts else None
        for at in range(start, len(data) if self.drips else start):
            handler.wfile.write(data[at : at + 1])
            if self.ended.wait(self.drips):
                return
        handler.wfile.write(data[start:] if cut is None else data[start : start + cut])
        if cut is not None and self.stalls:
            handler.wfile.flush()
            self.stalling.set()
            self.ended.wait()
        if cut is not None or self.length is not None:
            handler.close_connection = True
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)

    def head(self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()


@contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    """Run one on localhost; its certificate is signed by the authority in `ca`."""
    certificate = make_certificate(folder / "certificate", ["localhost", "127.0.0.1"])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served = FileServer(f"https://localhost:{server.server_port}", certificate.ca)
        server.socket = certificate.context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            served.ended.set()
            server.shutdown()
            thread.join()
