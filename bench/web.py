"""A web server for PUT and GET, each connection at a limited speed: `python -m bench.web FILE BYTES_PER_SECOND`.

There is one file whatever the path. It prints its port, and ends with its standard input.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.link import PIECE, Rate

FILE, SPEED = Path(sys.argv[1]), float(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    """One connection, with a link of its own."""

    def do_PUT(self) -> None:
        """Take the file."""
        rate, left = Rate(SPEED), int(self.headers["Content-Length"])
        with FILE.open("wb") as file:
            while left:
                piece = self.rfile.read(min(left, PIECE))
                rate.wait(len(piece))
                left -= file.write(piece)
        self.send_response(201)
        self.end_headers()

    def do_GET(self) -> None:
        """Give it out."""
        rate = Rate(SPEED)
        self.send_response(200)
        self.send_header("Content-Length", str(FILE.stat().st_size))
        self.end_headers()
        with FILE.open("rb") as file:
            while piece := file.read(PIECE):
                rate.wait(len(piece))
                self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as there are nodes."""

    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
