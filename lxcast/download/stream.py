"""A file on a server, asked for once: its status, its headers, and a body that is read while it comes."""

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxcast.errors import SourceError
from lxcast.exceptions import causes_of, reason_of
from lxcast.proxmox.client import get_file

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
            raise ConnectionError(reason_of([*causes_of(error)])) from None
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
        except OSError as error:
            raise _unreachable(error, name) from None  # the exception's text holds the URL
        if not reply.is_redirect:
            return Stream(reply)
        reply.close()
        url = urljoin(url, reply.headers["Location"])
        if not url.startswith("https://"):
            raise SourceError(f"{name}: leads to {redacted(url)}, which is not https", hint=_MOVED)
    raise SourceError(f"{name}: is redirected more than {_REDIRECTS} times", hint=_MOVED)


def redacted(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?***' if parts.query else ''}"


def _unreachable(error: OSError, name: str) -> Exception:
    causes = [*causes_of(error)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(
                f"{name}: the server's certificate is not trusted: {cause.verify_message}",
                hint="SSL_CERT_FILE names a file of further authorities",
            )
        if isinstance(cause, socket.gaierror):
            return SourceError(f"{name}: the server's name is not known: {cause.strerror}", hint="is it right?")
    kind = type(error).__name__
    if kind == "ProxyError":
        return SourceError(f"{name}: the proxy fails: {reason_of(causes)}", hint="see HTTPS_PROXY and NO_PROXY")
    if isinstance(error, ValueError):  # what requests raises for a URL that it cannot read
        return SourceError(f"{name}: is no address that can be read ({kind})", hint="is it right?")
    return ConnectionError(reason_of(causes))
