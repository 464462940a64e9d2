"""A client of the Proxmox VE API.

A reply may have any form that the server uses (pve-http-server, PVE/APIServer/AnyEvent.pm and PVE/HTTPServer.pm): JSON
with a message and an errors map, plain text, an empty body with the reason in the status line, no reply at all; or the
HTML of a proxy.
"""

import hashlib
import json
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from lxcast import http
from lxcast.errors import ApiError
from lxcast.model import conceal
from lxcast.proxmox.profile import Profile, Secret, load_profile
from lxcast.proxmox.relay import Relay
from lxcast.proxmox.upload_body import File, FileBody, UploadBody, stamp
from lxcast.proxmox.values import ApiValue

if TYPE_CHECKING:
    from lxcast.http import PreparedRequest, Response

__all__ = [
    "NODE_DOWN",
    "PATIENCE",
    "ApiValue",
    "Client",
    "File",
    "FileBody",
    "Profile",
    "Relay",
    "Secret",
    "UploadBody",
    "load_profile",
    "may_pass",
    "put_file",
    "stamp",
]

PATIENCE = 10.0
"""Seconds for which a GET is retried."""

NODE_DOWN = 595
"""From here to 599 a status is pveproxy's own: the target node does not reply (AnyEvent::HTTP)."""

_TRANSIENT = {429, 502, 503, 504, *range(NODE_DOWN, 600)}  # below 595 it is a proxy's


class Client:
    """A connection to one cluster's API. Paths are relative to /api2/json; one thread uses it.

    Every method raises ApiError, with `status`, or with `lost` if there was no reply.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        # A fingerprint replaces the checks of host name and CA.
        self._session = http.open_session(profile.fingerprint)
        # An auth callable, because requests would replace a plain header by an entry of .netrc.
        self._session.auth = self._authorize
        self._verify: dict[str, bool] = {"verify": False} if profile.fingerprint else {}
        self._seen = False

    def get(self, path: str, /, *, patience: float = PATIENCE, **parameters: str | int) -> ApiValue:
        """Return the data of a GET, which is retried, with growing pauses, while the server cannot be reached."""
        pause, end = 0.25, time.monotonic() + patience
        while True:
            try:
                return self._call("GET", path, params=parameters)
            except ApiError as error:
                if not may_pass(error) or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 4.0)

    def post(self, path: str, /, **parameters: str | int) -> ApiValue:
        """Return the data of a POST, which is sent once."""
        return self._call("POST", path, data={key.replace("_", "-"): each for key, each in parameters.items()})

    def put(self, path: str, /, **parameters: str | int) -> ApiValue:
        """Return the data of a PUT, which is sent once."""
        return self._call("PUT", path, data={key.replace("_", "-"): each for key, each in parameters.items()})

    def delete(self, path: str, /, **parameters: str | int) -> ApiValue:
        """Return the data of a DELETE, which is sent once."""
        return self._call("DELETE", path, params=parameters)

    def upload(self, path: str, body: UploadBody) -> ApiValue:
        """Return the data of an upload, which is sent once."""
        headers = {"Content-Type": body.content_type, "Connection": "close"}
        return self._call("POST", path, data=body, headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _authorize(self, request: "PreparedRequest") -> "PreparedRequest":
        profile = self.profile
        request.headers["Authorization"] = f"PVEAPIToken={profile.token_id}={profile.secret.reveal()}"
        return request

    def _call(self, method: str, path: str, **given: Any) -> ApiValue:
        if self.profile.url.startswith("http://") and not self._seen:
            # With an explicit http:// URL, a request without the token shows whether the server redirects to https.
            self._send("GET", "/version", auth=lambda request: request)
            self._seen = True
        return _data(self._send(method, path, **given), f"{method} {path}", self.profile)

    def _send(self, method: str, path: str, **given: Any) -> "Response":
        try:
            reply = http.send(
                self._session,
                method,
                f"{self.profile.url}/api2/json{path}",
                ca_file=self.profile.ca_file,
                **self._verify,
                **given,
            )
        except http.RequestError as error:
            raise self._unreachable(error, f"{method} {path}") from error
        if reply.is_redirect or reply.is_permanent_redirect:
            place = self.profile.secret.hidden_in(reply.headers.get("Location", ""))[:200]
            raise ApiError(
                f"{self.profile.url} redirects to {place!r} ({reply.status_code}); the token is not sent there",
                hint="set PM_API_URL to the final address, with https://",
                status=reply.status_code,
            )
        return reply

    def _unreachable(self, error: http.RequestError, what: str) -> ApiError:
        url, reason = self.profile.url, self.profile.secret.hidden_in(error.reason)
        if error.kind == "fingerprint":
            return self._distrusted("the certificate does not match the fingerprint")
        if error.kind == "certificate":
            return self._distrusted(f"the certificate is not trusted: {error.reason}")
        if error.kind == "redirect":
            return ApiError(
                f"{url}: {what} is redirected to an invalid address: {reason}",
                hint="check that PM_API_URL is the address of Proxmox VE",
            )
        # The profile's own address was checked before: an invalid one is that of a proxy.
        if error.kind in ("proxy", "address"):
            hint = "check HTTPS_PROXY and NO_PROXY"
            return ApiError(f"{url}: the proxy failed: {reason}", hint=hint, lost=error.kind == "proxy")
        if error.kind == "timeout":
            return ApiError(
                f"{url}: no reply to {what} within {http.READ:.0f} s", hint="check the load of the node", lost=True
            )
        return ApiError(f"{url}: no reply to {what}: {reason}", hint=_REACH, lost=error.kind == "connection")

    def _distrusted(self, why: str) -> ApiError:
        """Return the error, with the fingerprint of the certificate that the server presents."""
        parts = urlsplit(self.profile.url)
        shown = ""
        with suppress(OSError, ValueError):
            pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=http.CONNECT)
            shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
        expected = self.profile.fingerprint.upper()
        if expected:
            pairs = ":".join(expected[index : index + 2] for index in range(0, 64, 2))
            why += f": expected {pairs}, got {shown or 'an unknown one'}"
        elif shown:
            why += f" (SHA-256 fingerprint {shown})"
        return ApiError(
            f"{self.profile.url}: {why}",
            hint="pass the cluster's CA (--ca-file, a copy of the node's /etc/pve/pve-root-ca.pem), or the fingerprint "
            "that `pvenode cert info` prints on the node (--fingerprint)",
        )


def may_pass(error: ApiError) -> bool:
    """Return whether the same request may succeed later."""
    return error.lost or error.status in _TRANSIENT


_REACH = "check PM_API_URL (Proxmox listens on port 8006), that the node is up, and firewalls in between"


def put_file(url: Secret, body: FileBody) -> None:
    """Send a file to a web server by PUT, once. Raises ApiError, which shows only the host of the URL."""
    where = f"PUT {conceal(url.reveal())}"
    try:
        reply = http.put_file(url.reveal(), cast(Iterable[bytes], body))
    except http.RequestError as error:
        # The exception's own text holds the whole URL and would be shown with --debug.
        if error.kind == "certificate":
            raise ApiError(
                f"{where}: its certificate is not trusted: {error.reason}",
                hint="the nodes must trust it too; SSL_CERT_FILE sets another CA bundle on this machine",
            ) from None
        raise ApiError(
            f"{where}: {conceal(error.reason)}",
            hint="check that the web server is up and reachable from here",
            lost=True,
        ) from None
    if not 200 <= reply.status_code < 300:
        # Other parts of an object store's reply repeat the signature.
        message = re.search(r"<Message>([^<]*)</Message>|<title>([^<]*)</title>", reply.text[:4000], re.IGNORECASE)
        reason = "; ".join(filter(None, (reply.reason, message and (message[1] or message[2]))))
        raise ApiError(
            f"{where}: {reply.status_code} {conceal(reason)}",
            hint="check that the signed URL has not expired and was signed for PUT" if reply.status_code == 403 else "",
            status=reply.status_code,
        )


def _data(reply: "Response", what: str, profile: Profile) -> ApiValue:
    """Return the data of a reply. Raises ApiError for a failure, or a reply that is not the API's."""
    body = reply.text
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):
        content = None
    if reply.ok and isinstance(content, dict) and "data" in content:
        return ApiValue(content["data"], what, profile)
    message = _message(reply, content, profile.secret)
    if reply.ok:
        raise ApiError(
            f"{profile.url}: unexpected reply to {what}, not JSON of Proxmox VE: {message}",
            hint="check whether a proxy or another program listens at that address",
            status=reply.status_code,
        )
    raise ApiError(
        f"{what}: {reply.status_code} {message}", hint=_hint(reply.status_code, profile), status=reply.status_code
    )


def _message(reply: "Response", content: object, secret: Secret) -> str:
    """Join the messages of a reply of any form: JSON message and errors map, text, HTML, or the reason alone.

    A proxy may repeat the request, and with it the secret.
    """
    parts = [reply.reason or ""]
    if isinstance(content, dict):
        parts.append(str(content.get("message") or ""))
        errors = content.get("errors")
        if isinstance(errors, Mapping):
            parts += [f"{name}: {text}" for name, text in errors.items()]
    elif reply.text:
        # The title of an HTML page, else its text without tags.
        title = re.search(r"<title>(.*?)</title>", reply.text, re.DOTALL | re.IGNORECASE)
        parts.append(title[1] if title else re.sub(r"<[^>]*>", " ", reply.text))
    messages: list[str] = []
    # Secrets are hidden before anything is cut off, so that no part of one is left.
    for part in (" ".join(secret.hidden_in(each).split())[:300] for each in parts):
        if part and not any(part in each for each in messages):
            messages = [each for each in messages if each not in part] + [part]
    return conceal("; ".join(messages)) or "without a message"


def _hint(status: int, profile: Profile) -> str:
    if status == 401:
        return (
            f"check that the token {profile.token_id} exists, has not expired, that its user is enabled, and the secret"
        )
    if status == 403:
        return (
            f"grant it to the token {profile.token_id} and to its user: pveum acl modify PATH --tokens "
            f"'{profile.token_id}' --roles ROLE, and the same with --users; `lxcast doctor` shows what an upload needs"
        )
    if status in (429, 502, 503, 504):
        return "the reply is from a proxy, not from Proxmox: see its log"
    return "the node does not reply to the others: check that it is up" if status >= NODE_DOWN else ""
