"""HTTP over TLS: sessions, certificates, and why a request failed. The only module that imports requests.

requests is imported inside functions: it takes 60 ms, which a build from a local file does not need.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from requests import PreparedRequest as PreparedRequest
    from requests import Response as Response
    from requests import Session as Session

CONNECT, READ = 10.0, 60.0
"""Seconds to wait for a connection, and for the next bytes of a reply."""

Failure = Literal[
    "fingerprint", "certificate", "address", "redirect", "proxy", "timeout", "host", "connection", "other"
]
"""Why a request got no reply: "address" is a URL that cannot be used, "redirect" an invalid address in Location,
"timeout" a request that was sent and not answered in time, "host" a name that cannot be resolved."""


class RequestError(Exception):
    """A request that got no reply; `reason` may repeat the URL or the proxy's address."""

    def __init__(self, kind: Failure, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def open_session(fingerprint: str = "") -> "Session":
    """Return a session; with a fingerprint it accepts the certificate with that SHA-256 fingerprint and no other."""
    import requests
    from requests.adapters import HTTPAdapter

    class PinnedAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, assert_fingerprint=fingerprint)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, **kwargs, assert_fingerprint=fingerprint)

    session = requests.Session()
    if fingerprint:
        session.mount("https://", PinnedAdapter())
    return session


def send(session: "Session", method: str, url: str, *, ca_file: Path | None = None, **options: Any) -> "Response":
    """Send one request, which follows no redirect. Raises RequestError.

    The server is verified by `ca_file`, else by the system's CA bundle, else by that of requests. `options` are those
    of requests.Session.request.
    """
    import requests

    paths = ssl.get_default_verify_paths()
    options = {"verify": str(ca_file or paths.cafile or paths.capath or "") or True, **options}
    try:
        return session.request(method, url, timeout=(CONNECT, READ), allow_redirects=False, **options)
    except (requests.RequestException, ValueError) as error:  # urllib3 raises ValueErrors for an invalid Location
        raise _explain(error) from error


def get_file(url: str, headers: Mapping[str, str]) -> "Response":
    """Request a file by GET; its body is not read yet. Raises RequestError.

    Proxies, and passwords in ~/.netrc, are those of the environment.
    """
    with open_session() as session:
        return send(session, "GET", url, headers=dict(headers), stream=True)


def put_file(url: str, chunks: Iterable[bytes | memoryview]) -> "Response":
    """Send a file by PUT. Raises RequestError.

    A signed URL takes no other credentials: neither those of the session nor those in ~/.netrc are sent.
    """
    from requests.auth import HTTPBasicAuth
    from requests.utils import get_auth_from_url

    user, password = get_auth_from_url(url)

    def authorize(request: "PreparedRequest") -> "PreparedRequest":
        return HTTPBasicAuth(user, password)(request) if user else request

    with open_session() as session:
        return send(session, "PUT", url, data=chunks, auth=authorize)


def describe(error: BaseException) -> str:
    """Return the operating system's message for an error of requests or urllib3, else that of the error itself."""
    return _reason([*_causes(error)])


def _explain(error: Exception) -> RequestError:
    import requests

    causes = [*_causes(error)]
    for cause in causes:
        if "ingerprints did not match" in str(cause):
            return RequestError("fingerprint", "the certificate has another fingerprint")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RequestError("certificate", cause.verify_message)
    reason = _reason(causes)
    if not isinstance(error, requests.RequestException):
        return RequestError("redirect", reason)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return RequestError("address", reason)
    if isinstance(error, requests.exceptions.ProxyError):
        return RequestError("proxy", reason)
    if isinstance(error, requests.ReadTimeout):
        return RequestError("timeout", reason)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return RequestError("host", reason)
    return RequestError("connection" if isinstance(error, requests.ConnectionError) else "other", reason)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those inside it: urllib3 keeps causes in `reason` and in arguments."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def _reason(causes: Sequence[BaseException]) -> str:
    for each in causes:
        if isinstance(each, OSError) and each.strerror and not each.strerror.startswith("HTTP"):
            return each.strerror
    text = str(causes[-1]) or type(causes[-1]).__name__
    return re.sub(r"<[^>]*>:?\s*", "", text)[:200]
