import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from tests.https_server import FileServer, file_server
from tests.unit.cli.running import COMMAND, archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

ROOTFS = archive([*minimal_debian(), regular(b"srv/big", os.urandom(2_000_000))])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with file_server(tmp_path / "server") as running:
        running.files["/x"] = ROOTFS
        yield running


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_an_address_holds_of_secrets_is_nowhere_to_be_read(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [100_000]
    server.redirects = {"/moved": "/x?sig=hunter2", "/plain": "http://me:hunter2@localhost/x?sig=hunter2"}
    digest = hashlib.sha256(ROOTFS).hexdigest()
    base = server.url.replace("//", "//me:hunter2@")
    said = ""
    for path, more, code in (
        ("/moved?key=hunter2", ("--sha256", digest), 0),
        ("/x?key=hunter2", ("--sha256", f"SHA256:{digest.upper()}", "--no-reuse"), 0),
        ("/x?key=hunter2", ("--sha256", "ab" * 32), 4),
        ("/x?key=hunter2", (), 2),
        ("/plain", ("--insecure-no-checksum",), 3),
        ("/gone?key=hunter2", ("--sha256", "ab" * 32), 3),
        (":99999/x?key=hunter2", ("--sha256", "ab" * 32), 3),
    ):
        url = "https://me:hunter2@localhost" + path if path.startswith(":") else base + path
        done = lxcast(
            *("build", url, "--name", "web", "--debug", "--log-file", "log", *more),
            cwd=tmp_path,
            environ={"SSL_CERT_FILE": str(server.ca), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        assert done.returncode == code, done.stderr
        said += done.stdout + done.stderr
    said += (tmp_path / "log").read_text()
    said += "".join(path.read_text() for path in tmp_path.glob("storage/template/cache/*.json"))
    assert said.count(f"{server.url}/x?***") > 2
    assert "hunter2" not in said
    assert "me:" not in said


def test_an_interrupt_ends_a_download_from_a_server_that_fell_silent(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.stalls = [1_000_000], True
    words = ["build", f"{server.url}/x", "--name", "web", "--insecure-no-checksum"]
    environ = environment({"SSL_CERT_FILE": str(server.ca), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as running:
        assert server.stalling.wait(240)
        time.sleep(1)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=50)  # less than it waits for bytes
    assert running.returncode == 143
    assert "interrupted" in said
    assert files(tmp_path / "storage") == []
