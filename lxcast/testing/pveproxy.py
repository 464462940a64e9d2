"""The server of one node: it takes connections, looks at tokens, receives uploads, and makes calls."""

import contextlib
import secrets
import socket
import ssl
import threading
import time
from http import HTTPStatus
from pathlib import Path

from . import containers, content, nodes
from .access import Token
from .answer import Answer, RefusedError, SilenceError, bare, plain
from .api import Context, make_call
from .connection import Connection, GoneError
from .content import TEMPLATE
from .http import MAX_BUFFER, MAX_POST, Request, check_head, decode_urlencoded, parameters, read_request
from .multipart import Multipart, NoSpaceError, UploadError
from .state import State

BASE = "/api2/json"
CALLS = (*nodes.CALLS, *content.CALLS, *containers.CALLS)
# How long a refused upload is watched for more than the server's buffer, where the refusal is not delayed anyway.
WATCH = 10.0
BACKLOG = 128


class CutError(GoneError):
    """A fault breaks the connection off."""


class Listener:
    """A node's port: open from `open` to `close`, with a thread for each connection."""

    def __init__(self, cluster: State, node: str, host: str, port: int) -> None:
        self.cluster, self.node = cluster, node
        self.host, self.port = host, port
        self.socket: socket.socket | None = None
        self.accepting: threading.Thread | None = None
        self.connections: set[Connection] = set()

    def open(self, context: ssl.SSLContext) -> None:
        """Listen; a port of 0 becomes the one that the kernel gives, and stays the node's."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        opened = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        self.port = opened.getsockname()[1]
        self.socket = opened
        name = f"pveproxy {self.node}"
        self.accepting = threading.Thread(target=self.accept, args=(opened, context), name=name, daemon=True)
        self.accepting.start()

    def close(self) -> None:
        """Stop listening and break every connection."""
        opened, self.socket = self.socket, None
        if opened and self.accepting:
            # Only a shutdown wakes the thread that waits in accept(); the number of a closed socket is soon another's.
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            self.accepting.join()
            opened.close()
        for connection in [*self.connections]:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def accept(self, opened: socket.socket, context: ssl.SSLContext) -> None:
        """Take connections until the port is closed."""
        with contextlib.suppress(OSError):
            while True:
                taken, _ = opened.accept()
                threading.Thread(target=self.serve, args=(taken, context), daemon=True).start()

    def serve(self, taken: socket.socket, context: ssl.SSLContext) -> None:
        """Serve one connection to its end."""
        try:
            connection = Connection(taken, context, self.cluster.faults)
        except OSError:  # the client does not trust the certificate, or speaks no TLS after all
            taken.close()
            return
        self.connections.add(connection)
        try:
            if self.socket:
                Session(self, connection).run()
        except OSError:
            if self.socket:  # else the server was stopped, and its directories may be gone
                raise
        finally:
            self.connections.discard(connection)
            connection.close()


class Session:
    """The requests of one connection, one after another."""

    def __init__(self, listener: Listener, connection: Connection) -> None:
        self.cluster, self.node, self.connection = listener.cluster, listener.node, connection
        self.faults = self.cluster.faults
        self.request: Request | None = None

    def run(self) -> None:
        """Answer requests until one side closes."""
        try:
            while self.answer_one():
                pass
        except SilenceError:
            self.connection.wait_idle()
        except CutError:
            self.connection.cut()
        except GoneError:
            pass

    def answer_one(self) -> bool:
        """Answer a request; True when another may follow on this connection."""
        self.request = None
        keep_alive = False
        try:
            request = self.request = read_request(self.connection)
            check_head(request, self.connection.tls)
            answer = self.faults.injected(request.method, request.path)
            if answer is None:
                answer = self.answer(request)
                keep_alive = request.keep_alive and not is_upload(request)
            elif request.length <= MAX_POST:
                self.connection.read(request.length)  # a proxy that answers itself has taken what is small
        except RefusedError as error:
            answer = error.answer
        keep_alive = keep_alive and answer.status < HTTPStatus.BAD_REQUEST
        if self.faults.delay:
            time.sleep(self.faults.delay)
        protocol = self.request.protocol if self.request else "HTTP/1.0"
        accepted = self.request.headers.get("accept-encoding", "") if self.request else ""
        self.connection.write(answer.encode(protocol, keep_alive, "gzip" in accepted))
        return keep_alive

    def answer(self, request: Request) -> Answer:
        """Look at the token, take the body, make the call."""
        if not request.path.startswith("/api2/"):
            raise RefusedError(plain(500, f"no such file '{request.path}'\n"))
        path = request.path.removeprefix(BASE) or "/"
        if not request.path.startswith(BASE) or not path.startswith("/"):
            raise RefusedError(plain(501, f"no formatter for uri {request.path}"))
        token = self.admit(request, path)
        if request.length:
            if request.method in ("GET", "DELETE"):
                raise RefusedError(plain(501, f"Unexpected content for method '{request.method}'"))
            if is_upload(request):
                return self.upload(request, path, token)
            self.check_small(request)
        body = self.connection.read(request.length)
        context = Context(self.cluster, self.node, token, parameters(request, body))
        return make_call(CALLS, context, request.method, path)

    @staticmethod
    def check_small(request: Request) -> None:
        """Refuse a body that is too long or of a kind that no call takes."""
        kind = request.content_type()[0]
        if request.length > MAX_POST:
            raise RefusedError(plain(501, "for data too large"))
        if kind not in ("", "application/x-www-form-urlencoded", "application/json"):
            said = f"upload 'Content-Type '{request.headers['content-type']}' not implemented"
            raise RefusedError(plain(506, said))

    def admit(self, request: Request, path: str) -> Token:
        """Authenticate; for an upload, look at its privilege as well. Refusals are late and have no body."""
        admitted = self.cluster.access.authenticate(request.headers.get("authorization"))
        if isinstance(admitted, str):
            raise self.refusal(request, bare(401, admitted))
        if is_upload(request):
            storage = path.split("/")[4]
            if said := TEMPLATE.missing(self.cluster.access, admitted, {"storage": storage}):
                raise self.refusal(request, bare(403, said))
        return admitted

    def refusal(self, request: Request, answer: Answer) -> RefusedError:
        """Wait as the server does before it refuses; a body above its buffer ends the connection instead."""
        began, delay = time.monotonic(), self.faults.refusal_delay
        if request.length > MAX_BUFFER and self.connection.overflows(MAX_BUFFER, max(delay, WATCH)):
            raise GoneError("the body is larger than the buffer")
        time.sleep(max(began + delay - time.monotonic(), 0))
        return RefusedError(answer)

    def upload(self, request: Request, path: str, token: Token) -> Answer:
        """Receive an upload, and make its call: once, or again for each record that comes after the end."""
        kind, boundary = request.content_type()
        query = decode_urlencoded(request.query)
        if kind != "multipart/form-data" or not boundary or "tmpfilename" in query:
            raise SilenceError("the server's code dies before it reads the body")
        temporary = self.temporary_file()
        multipart = Multipart(boundary, request.length, temporary, self.faults.temporary_space)
        try:
            late = self.receive(multipart, request.length)
        except UploadError as error:
            # Here the real server forgets its temporary file.
            raise RefusedError(plain(500, str(error))) from error
        except NoSpaceError as error:
            raise GoneError("no space left for the temporary file") from error
        except GoneError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            multipart.close()
        temporary.chmod(0o644)
        if self.faults.damage_upload:
            with temporary.open("r+b") as damaged:
                first = damaged.read(1)
                damaged.seek(0)
                damaged.write(bytes(0xFF - byte for byte in first))
        context = Context(self.cluster, self.node, token, query | multipart.parameters, temporary, 1 + late)
        answer = make_call(CALLS, context, "POST", path)
        if self.faults.cut_upload == 1.0:
            raise CutError("a fault")
        return answer

    def receive(self, multipart: Multipart, length: int) -> int:
        """Read the body; give the number of records that came after its end."""
        cut = self.faults.cut_upload
        limit = length * cut if cut is not None and cut < 1 else None
        connection, taken = self.connection, 0
        data, connection.buffer = connection.buffer, b""
        while True:
            taken += len(data)
            if limit is not None and taken >= limit:
                raise CutError("a fault")
            if data and multipart.feed(data):
                break
            if len(multipart.buffered) > MAX_BUFFER:
                raise GoneError("more than the server's buffer without a file")
            data = connection.record()
        return connection.records(length - taken, self.faults.late_wait)

    def temporary_file(self) -> Path:
        """Name the temporary file; its directory represents the node's /var/tmp."""
        folder = self.cluster.temporary(self.node)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"pveupload-{secrets.token_hex(16)}"


def is_upload(request: Request) -> bool:
    """Whether this is the one call that takes a large body."""
    parts = request.path.split("/")
    return request.method == "POST" and parts[1:4] == ["api2", "json", "nodes"] and parts[5::2] == ["storage", "upload"]
