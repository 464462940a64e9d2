"""HTTP/1.x as Proxmox's own server speaks it: request heads, parameters and answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from .answer import RefusedError, SilenceError, bare, plain
from .connection import Connection

METHODS = ("GET", "POST", "PUT", "DELETE")
MAX_LINES, MAX_HEADER = 64, 8 * 1024
MAX_POST = 512 * 1024
# What the server buffers for a client at most; one byte more and it hangs up.
MAX_BUFFER = MAX_POST + MAX_HEADER

REQUEST_LINE = re.compile(rb"(\S+) (\S+) HTTP/(\d+)\.(\d+)")
HEADER_LINE = re.compile(rb"([^:\s]+)\s*:\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head; header names in lower case."""

    method: str
    path: str
    query: str
    protocol: str
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """The Content-Length, 0 where there is none."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() else 0

    @property
    def keep_alive(self) -> bool:
        """Whether the client can take another answer on this connection."""
        wish = self.headers.get("connection")
        return "close" not in wish.lower() if wish else self.protocol != "HTTP/1.0"

    def content_type(self) -> tuple[str, str]:
        """Give the media type and the boundary, each "" where it lacks; nothing is unquoted, no case is folded."""
        kind, *parameters = re.split(r"\s*[;,]\s*", self.headers.get("content-type", ""))
        for parameter in parameters:
            if found := re.fullmatch(r"\s*boundary\s*=\s*(\S+?)\s*", parameter):
                return kind, found[1]
        return kind, ""


def read_request(connection: Connection) -> Request:
    """Read a request's head; raises RefusedError, SilenceError, and GoneError from the connection."""
    line = b""
    while not line:
        line = connection.line()
    found = REQUEST_LINE.search(line)
    if not found:
        raise RefusedError(plain(400, "bad request"))
    method, target = found[1].decode("latin-1"), found[2].decode("latin-1")
    if found[3] != b"1":
        raise RefusedError(plain(506, f"http protocol version {found[3].decode()}.{found[4].decode()} not supported"))
    if re.match(r"[^/]*@", target):
        raise RefusedError(plain(400, "invalid url"))
    headers = read_headers(connection)
    path, _, query = target.partition("?")
    return Request(
        method, unquote_to_bytes(path).decode("utf-8", "replace"), query, f"HTTP/1.{found[4].decode()}", headers
    )


def read_headers(connection: Connection) -> dict[str, str]:
    """Read the header lines up to the blank one; the names in lower case, the last of a name wins."""
    headers: dict[str, str] = {}
    count = size = 0
    name = ""
    while line := connection.line():
        count, size = count + 1, size + len(line)
        # The blank line counts too, so 63 lines are the most.
        if count + 1 >= MAX_LINES or size >= MAX_HEADER:
            raise SilenceError("too many http header lines, or too long")
        if found := HEADER_LINE.match(line):
            name = found[1].decode("latin-1").lower()
            headers[name] = found[2].decode("latin-1")
        elif line[:1].isspace() and name:
            headers[name] += " " + line.strip().decode("latin-1")
        else:
            raise RefusedError(plain(506, "unable to parse request header"))
    return headers


def check_head(request: Request, tls: bool) -> None:
    """Refuse what the server refuses before it looks at the path: methods, transfer encodings, and plain HTTP."""
    if request.method not in METHODS:
        raise RefusedError(bare(501, f"method '{request.method}' not available"))
    coding = request.headers.get("transfer-encoding")
    if coding:
        chunked = coding.lower() == "chunked"
        said = "chunked transfer encoding not supported" if chunked else f"Unknown transfer encoding '{coding}'"
        raise RefusedError(plain(501, said))
    if not tls:
        if "host" not in request.headers:
            raise SilenceError("Header field 'Host' not found in request")
        query = f"?{request.query}" if request.query else ""
        location = {"Location": f"https://{request.headers['host']}{request.path}{query}"}
        moved = request.method == "GET"
        status, said = (301, "Moved Permanently") if moved else (308, "Permanent Redirect")
        raise RefusedError(plain(status, said, location))


def decode_urlencoded(data: str) -> dict[str, str]:
    """Decode a query or a form; a name without a value is empty."""
    decoded = {}
    for pair in re.split("[&;]", data):
        name, _, value = pair.partition("=")
        if name:
            decoded[unquote(name)] = unquote(value)
    return decoded


def unquote(text: str) -> str:
    """Undo the encoding of a form."""
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


def parameters(request: Request, body: bytes) -> dict[str, str]:
    """Join the parameters of body and query as strings; the query wins. Raises RefusedError for JSON that is none."""
    given: dict[str, str] = {}
    if body and request.content_type()[0] == "application/json":
        try:
            decoded = json.loads(body)
        except ValueError as error:
            raise RefusedError(plain(500, f"malformed JSON string: {error}\n")) from error
        if isinstance(decoded, dict):
            given = {name: as_text(value) for name, value in decoded.items()}
    elif body:
        given = decode_urlencoded(body.decode("utf-8", "replace"))
    given |= decode_urlencoded(request.query)
    given.pop("_dc", None)
    return given


def as_text(value: Any) -> str:
    """Write a JSON value as a form would carry it."""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)
