"""A download: whole, in order, and never two files joined, whatever the server and the network do."""

import hashlib
import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.download.resume import Download
from lxcast.errors import SourceError
from tests.https_server import FileServer, file_server

DATA = random.Random(4).randbytes(300_000)
OTHER = random.Random(5).randbytes(300_000)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    with file_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    monkeypatch.setenv("SSL_CERT_FILE", str(running.ca))
    monkeypatch.setenv("HOME", "/nonexistent")
    reset(running)
    return running


def reset(server: FileServer) -> None:
    server.__init__(server.url, server.ca)  # type: ignore[misc] # as it was when it was made
    server.files["/x"] = DATA


def read(server: FileServer, path: str = "/x", patience: float = 60.0) -> bytes:
    download = Download(server.url + path, patience)
    found = bytearray()
    buffer = memoryview(bytearray(70_000))
    try:
        while got := download.readinto(buffer):
            found += buffer[:got]
    finally:
        download.close()
    assert download.sha256 == hashlib.sha256(found).hexdigest()
    return bytes(found)


def drain(download: Download) -> None:
    buffer = memoryview(bytearray(1 << 20))
    while download.readinto(buffer):
        pass


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    cuts=st.lists(st.integers(0, len(DATA)), max_size=3),
    ranges=st.booleans(),
    validator=st.sampled_from(["etag", "weak", "date", "fresh date", "none"]),
)
def test_a_download_that_breaks_anywhere_goes_on(
    server: FileServer, cuts: list[int], ranges: bool, validator: str
) -> None:
    reset(server)
    server.cuts, server.ranges = cuts, ranges
    server.etag = {"etag": '"1"', "weak": 'W/"1"'}.get(validator)
    if "date" in validator:
        server.modified = formatdate(1_700_000_000 if validator == "date" else None, usegmt=True)
    assert read(server) == DATA
    usable = validator in ("etag", "date")
    assert all(("range" in asked) <= usable for _, asked in server.requests)


@pytest.mark.parametrize("etag", ['"1"', None])
def test_a_file_that_changed_meanwhile_is_never_joined(server: FileServer, etag: str | None) -> None:
    server.etag, server.cuts = etag, [100_000]
    download = Download(server.url + "/x")
    buffer = memoryview(bytearray(1000))
    assert download.readinto(buffer)
    server.files["/x"], server.etag = OTHER, '"2"' if etag else None
    with pytest.raises(SourceError, match="the file changed during the download"):
        drain(download)
    download.close()


def test_a_file_that_became_shorter_changed(server: FileServer) -> None:
    server.cuts = [100_000]
    download = Download(server.url + "/x")
    buffer = memoryview(bytearray(1000))
    download.readinto(buffer)
    server.statuses = [416]
    with pytest.raises(SourceError, match="changed"):
        drain(download)
    download.close()


def test_a_server_that_promises_more_than_it_has_is_an_error(server: FileServer) -> None:
    server.length, server.ranges = len(DATA) + 10, False
    with pytest.raises(SourceError, match=rf"no reply after {len(DATA)} bytes: .*{len(DATA)}"):
        read(server, patience=0.1)


def test_passing_failures_are_passed_over_and_others_are_told(server: FileServer) -> None:
    server.statuses = [503, 429]
    assert read(server) == DATA
    for status, said in ((404, "the server replied 404"), (403, "403")):
        server.statuses = [status]
        with pytest.raises(SourceError, match=said):
            read(server)
    with pytest.raises(SourceError, match="the server replied 404") as caught:
        read(server, "/none?token=hunter2")
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert caught.value.message.startswith(f"{server.url}/none?***: ")


def test_the_bytes_are_those_that_the_file_has(server: FileServer) -> None:
    server.coding = "gzip"  # what some servers say of every .gz file
    assert read(server) == DATA


def test_redirects_stay_with_https_and_come_to_an_end(server: FileServer) -> None:
    server.redirects = {
        "/a": "/b",
        "/b": f"{server.url}/x?sig=hunter2",
        "/loop": "/loop",
        "/plain": "http://h/x?k=hunter2",
    }
    server.cuts = [1000]
    assert read(server, "/a") == DATA
    for path, said in (
        ("/loop", "redirected more than"),
        ("/plain", r"redirects to http://h/x\?\*\*\*, which is not https"),
    ):
        with pytest.raises(SourceError, match=said):
            read(server, path)


def test_a_password_comes_from_netrc_or_the_address_and_is_never_told(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.password = "Basic bWU6aHVudGVyMg=="  # me:hunter2
    with pytest.raises(SourceError, match="401") as caught:
        read(server)
    assert "netrc" in caught.value.hint
    assert Download(server.url.replace("//", "//me:hunter2@") + "/x").name == f"{server.url}/x"
    server.url = server.url.replace("//", "//me:hunter2@")
    assert read(server) == DATA
    server.url = server.url.replace("me:hunter2@", "")
    (tmp_path / "netrc").write_text("machine localhost login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert read(server) == DATA


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SourceError, match="certificate is not trusted") as caught:
        read(server)
    assert "SSL_CERT_FILE" in caught.value.hint


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy's answer to CONNECT: bytes are handed on both ways until one side ends."""

    asked: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        self.asked.append(self.rfile.readline())
        while self.rfile.readline().strip():
            pass
        host, _, port = self.asked[-1].split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self.pump, args=(target, self.connection))
            back.start()
            self.pump(self.connection, target)
            back.join()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_the_environments_proxy_is_asked(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        try:
            server.cuts = [5]
            assert read(server) == DATA
            asked = len(Tunnel.asked)
            monkeypatch.setenv("NO_PROXY", "localhost")
            assert read(server) == DATA
        finally:
            proxy.shutdown()
            thread.join()
    place = server.url.removeprefix("https://").encode()
    assert asked == len(Tunnel.asked) == 2
    assert all(line.startswith(b"CONNECT " + place) for line in Tunnel.asked)


def test_a_server_that_drips_bytes_is_given_up(server: FileServer) -> None:
    server.drips = 0.05
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"too slow: \d+ bytes in .* s, expected at least 1024 bytes per second"):
        read(server, patience=1.0)
    assert time.monotonic() - start < 10


def test_a_slow_reader_is_no_slow_server(server: FileServer) -> None:
    download, found = Download(f"{server.url}/x", 0.5), b""
    buffer = memoryview(bytearray(100))
    for _ in range(10):
        found += bytes(buffer[: download.readinto(buffer)])
        time.sleep(0.2)
    download.close()
    assert found == DATA[: len(found)]


def test_an_unknown_name_a_closed_port_and_a_failing_proxy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, said in (
        ("https://nowhere.invalid/x", "cannot resolve the server's name"),
        ("https://127.0.0.1:1/x", "refused"),
    ):
        with pytest.raises(SourceError, match=said):
            Download(url, 0.1).readinto(memoryview(bytearray(1)))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(SourceError, match="the proxy failed") as caught:
        read(server, patience=0.1)
    assert "HTTPS_PROXY" in caught.value.hint
