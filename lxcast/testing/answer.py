"""Replies as Proxmox's own server writes them."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any


class SilenceError(Exception):
    """The real server's code ends without an answer: the client sees the connection close after the idle time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a reason phrase (only its first line is sent), and a body."""

    status: int
    reason: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, protocol: str, keep_alive: bool, accept_gzip: bool) -> bytes:
        """Write it as bytes; a reason whose first line holds a carriage return becomes a bare 400."""
        status, body = self.status, self.body
        reason = self.reason.partition("\n")[0]
        if "\r" in reason:
            status, reason, body = 400, "Bad Request", b""
        headers = {"Cache-Control": "max-age=0", "Connection": "Keep-Alive" if keep_alive else "close"}
        headers |= {"Date": formatdate(usegmt=True), "Expires": formatdate(usegmt=True), "Pragma": "no-cache"}
        headers |= {"Server": "pve-api-daemon/3.0", **self.headers}
        if accept_gzip and len(body) > 1024:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        if body:
            headers["Content-Length"] = str(len(body))
        head = [f"{protocol} {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(head).encode() + body


def plain(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Refuse with a text that is both the reason and the body, as errors of the protocol are."""
    return Answer(status, message, message.encode(), headers or {})


def bare(status: int, message: str) -> Answer:
    """Refuse with a reason alone, as whatever happens before a call is."""
    return Answer(status, message)


def as_json(status: int, data: Any, message: str = "", errors: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """Answer a call: {"data": ...}, and for an error its message and what is wrong with which parameter."""
    content = {"data": data, **more}
    if errors:
        content["errors"] = errors
    if status >= HTTPStatus.BAD_REQUEST:
        content["message"] = message
    reason = message or HTTPStatus(status).phrase
    return Answer(status, reason, json.dumps(content).encode(), {"Content-Type": "application/json;charset=UTF-8"})


class RefusedError(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer
