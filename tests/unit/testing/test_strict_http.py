"""The rows of STRICTNESS on HTTP: each test is named after its row."""

import time

import pytest

from lxcast.testing import Answer, Cluster, Injected
from tests.unit.testing.raw import answered, ask, connect, get, post, receive, send


def test_known_methods(server: Cluster) -> None:
    for method in ("HEAD", "PATCH", "OPTIONS"):
        reply = answered(ask(server, f"{method} /api2/json/version"))
        assert (reply.status, reply.reason, reply.body) == (501, f"method '{method}' not available", b"")


def test_no_chunked(server: Cluster) -> None:
    headers = ("Transfer-Encoding: chunked", "Content-Type: multipart/form-data; boundary=b")
    reply = answered(ask(server, "POST /api2/json/nodes/pve/storage/local/upload", *headers, authorization=""))
    assert (reply.status, reply.body) == (501, b"chunked transfer encoding not supported")


def test_no_body_without_need(server: Cluster) -> None:
    reply = answered(ask(server, "GET /api2/json/version", body=b"a=1"))
    assert (reply.status, reply.body) == (501, b"Unexpected content for method 'GET'")


def test_small_posts(server: Cluster) -> None:
    path = "/nodes/pve/storage/local/download-url"
    assert post(server, path, "a=" + "x" * 512 * 1024).status == 501
    assert post(server, path, "a=" + "x" * 1024).status == 400
    other = answered(ask(server, f"POST /api2/json{path}", "Content-Type: text/plain", body=b"a=1"))
    assert other.status == 506


def test_header_limits(server: Cluster) -> None:
    assert get(server, "/version").status == 200
    few = [f"X-{number}: y" for number in range(60)]
    assert answered(ask(server, "GET /api2/json/version", *few)).status == 200
    server.faults.idle = 1.0
    began = time.monotonic()
    assert ask(server, "GET /api2/json/version", *few, "a: b", "c: d") is None
    assert time.monotonic() - began >= 0.9
    assert ask(server, "GET /api2/json/version", "X: " + "y" * 8192) is None


@pytest.mark.parametrize(
    ("line", "status"), [("GET / HTTP/2.0", 506), ("nonsense", 400), ("GET user@host/ HTTP/1.1", 400)]
)
def test_http_1(server: Cluster, line: str, status: int) -> None:
    assert answered(send(server, [f"{line}\r\n\r\n".encode()])).status == status


def test_tls_only(server: Cluster) -> None:
    for method, status in (("GET", 301), ("POST", 308)):
        request = f"{method} /api2/json/version?a=1 HTTP/1.1\r\nHost: pve.example:8006\r\n\r\n".encode()
        reply = answered(send(server, [request], tls=False))
        assert (reply.status, reply.headers["Location"]) == (status, "https://pve.example:8006/api2/json/version?a=1")


def test_trailing_slash(server: Cluster) -> None:
    assert get(server, "/version/").status == 506


def test_idle_connection(server: Cluster) -> None:
    request = f"GET /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: {server.authorization}\r\n\r\n".encode()
    server.faults.idle = 4.0
    with connect(server) as sock:
        for _ in range(2):
            sock.sendall(request)
            assert answered(receive(sock)).headers["Connection"] == "Keep-Alive"
        began = time.monotonic()
        assert receive(sock) is None
        assert time.monotonic() - began >= 3
    missing = get(server, "/nothing")
    assert (missing.status, missing.headers["Connection"]) == (501, "close")


def test_unknown_parameter(server: Cluster) -> None:
    reply = post(server, "/nodes/pve/storage/local/download-url", "content=vztmpl&filename=x&extra=1&checksum=00")
    assert reply.status == 400
    assert reply.json["message"] == "Parameter verification failed.\n"
    assert reply.json["errors"] == {
        "url": "property is missing and it is not optional",
        "extra": "property is not defined in schema and the schema does not allow additional properties",
        "checksum-algorithm": "missing property - 'checksum' requires this property",
    }


def test_error_forms(server: Cluster) -> None:
    of_call = get(server, "/nodes/other/storage")
    assert of_call.status == 500
    assert of_call.json["data"] is None
    assert of_call.json["message"].startswith("hostname lookup 'other' failed")
    assert of_call.reason == of_call.json["message"].strip()
    of_protocol = answered(ask(server, "POST /api2/json/nodes", "Transfer-Encoding: gzip"))
    assert "Content-Type" not in of_protocol.headers
    assert of_protocol.body == b"Unknown transfer encoding 'gzip'"
    before_call = get(server, "/nodes", authorization="PVEAPIToken=a@pve!bc=d")
    assert (before_call.body, "Content-Length" in before_call.headers) == (b"", False)


def test_a_long_answer_is_compressed_where_the_client_takes_that(server: Cluster) -> None:
    for number in range(20):
        (server.storages["local"].folder("pve") / f"debian-{number}.tar.zst").touch()
    reply = answered(ask(server, "GET /api2/json/nodes/pve/storage/local/content", "Accept-Encoding: gzip, deflate"))
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.body.startswith(b"\x1f\x8b")


def test_an_answer_can_be_injected(server: Cluster) -> None:
    page = Answer(502, "Bad Gateway", b"<html>nginx</html>", {"Content-Type": "text/html"})
    server.faults.answers.append(Injected(page, path="/api2/json/version"))
    assert get(server, "/nodes").status == 200
    assert get(server, "/version").body == b"<html>nginx</html>"
    assert get(server, "/version").status == 200
