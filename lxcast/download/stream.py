"""One request for a file on a server: its status, its headers, and a body that streams."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxcast.errors import SourceError
from lxcast.http import RequestError, describe, get_file

_REDIRECTS = 10
_MOVED = "use the final URL of the file"
_GATHER = 1.0  # seconds for which one reading waits for more bytes


class Stream:
    """The reply to a GET of a file. Created by `open_stream`."""

    def __init__(self, reply: Any) -> None:
        self.status, self.reason = reply.status_code, reply.reason or ""
        self.headers: Mapping[str, str] = reply.headers
        self._reply = reply
        self._broken = ""

    def read(self, size: int) -> bytes:
        """Return the next bytes as they were sent, b"" at the end. Raises ConnectionError.

        A slow server gives fewer bytes than `size`, so that its speed can be checked.
        """
        if self._broken:
            raise ConnectionError(self._broken)
        data = bytearray()
        end = time.monotonic() + _GATHER
        try:
            while len(data) < size and (more := self._reply.raw.read1(size - len(data), decode_content=False)):
                data += more
                if time.monotonic() > end:
                    break
        except Exception as error:  # those of urllib3, which only lxcast/http.py may import, and of ssl
            self._broken = describe(error)
            if not data:
                raise ConnectionError(self._broken) from None
        return bytes(data)

    def close(self) -> None:
        """Close the connection."""
        self._reply.close()


def open_stream(url: str, name: str, headers: Mapping[str, str]) -> Stream:
    """Request a file by GET, following redirects to https URLs; proxies are those of the environment.

    `name` stands for the URL in messages, since a URL may contain secrets. Raises ConnectionError if another try may
    help, else SourceError.
    """
    for _ in range(_REDIRECTS):
        try:
            reply = get_file(url, headers)
        except RequestError as error:
            raise _unreachable(error, name) from None  # the exception's text holds the URL
        if not reply.is_redirect:
            return Stream(reply)
        reply.close()
        url = urljoin(url, reply.headers["Location"])
        if not url.startswith("https://"):
            raise SourceError(f"{name}: redirects to {redact_url(url)}, which is not https", hint=_MOVED)
    raise SourceError(f"{name}: is redirected more than {_REDIRECTS} times", hint=_MOVED)


def redact_url(url: str) -> str:
    """Return a URL without its secrets: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?***' if parts.query else ''}"


def _unreachable(error: RequestError, name: str) -> Exception:
    """Return a ConnectionError if another try may help, else a SourceError."""
    match error.kind:
        case "certificate":
            return SourceError(
                f"{name}: the server's certificate is not trusted: {error.reason}",
                hint="set SSL_CERT_FILE to a CA bundle that verifies the server",
            )
        case "host":
            return SourceError(
                f"{name}: cannot resolve the server's name: {error.reason}", hint="check the host name in the URL"
            )
        case "proxy":
            return SourceError(f"{name}: the proxy failed: {error.reason}", hint="check HTTPS_PROXY and NO_PROXY")
        case "address" | "redirect":
            return SourceError(f"{name}: invalid URL", hint="check the URL")  # the reason may repeat its secrets
    return ConnectionError(error.reason)
