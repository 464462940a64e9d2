"""A file on a server, asked for once: its status, its headers, and a body that is read while it comes."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxcast.errors import SourceError
from lxcast.http import RequestError, describe, get_file

_REDIRECTS = 10
_MOVED = "name the address where the file lies"


class Stream:
    """The answer to a GET of a file. Made by `open_stream`."""

    def __init__(self, reply: Any) -> None:
        self.status, self.reason = reply.status_code, reply.reason or ""
        self.headers: Mapping[str, str] = reply.headers
        self._reply = reply

    def read(self, size: int) -> bytes:
        """Return the next bytes as they were sent, b"" at the end; ConnectionError where the connection breaks."""
        try:
            data: bytes = self._reply.raw.read(size, decode_content=False)
        except Exception as error:  # urllib3's own, which is requests' to import, and what ssl raises
            raise ConnectionError(describe(error)) from None
        return data

    def close(self) -> None:
        """Close the connection."""
        self._reply.close()


def open_stream(url: str, name: str, headers: Mapping[str, str]) -> Stream:
    """Ask for a file by GET, following redirects that stay with https; proxies are the environment's.

    `name` stands for the URL in messages, since a URL may hold secrets. Raises ConnectionError where another try may
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
            raise SourceError(f"{name}: leads to {redact_url(url)}, which is not https", hint=_MOVED)
    raise SourceError(f"{name}: is redirected more than {_REDIRECTS} times", hint=_MOVED)


def redact_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query and fragment."""
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
