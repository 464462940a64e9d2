"""A web server that takes a PUT and gives out what it has, as an object store does for presigned URLs."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class WebServer:
    """HTTP on loopback, over TLS with a context.

    `files` by path; `asked` is the method and the whole path of each request, `headers` what came with it. `signature`
    is what a query must hold, else the answer is 403 with the XML of S3, which repeats the query.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.signature = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self._signed():
                    web.files[urlsplit(self.path).path] = body
                    self._answer(200)

            def do_GET(self) -> None:
                if self._signed():
                    content = web.files.get(urlsplit(self.path).path)
                    self._answer(404 if content is None else 200, content or b"")

            def do_HEAD(self) -> None:
                self.do_GET()

            def _signed(self) -> bool:
                web.asked.append((self.command, self.path))
                web.headers.append({name.lower(): value for name, value in self.headers.items()})
                if web.signature in urlsplit(self.path).query:
                    return True
                said = f"<Error><Message>Request has expired</Message><Sig>{self.path}</Sig></Error>"
                self._answer(403, said.encode())
                return False

            def _answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return None

        return Handler
