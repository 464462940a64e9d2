"""The engine part against a real engine; the images are small tars that `docker import` takes."""

import contextlib
import hashlib
import io
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.engine import connect
from lxcast.errors import EngineError, SourceError
from lxcast.sources.archive import Archive
from lxcast.sources.docker import open_container, open_image, open_word
from tests.integration.tools import UNIQUE, Program

LABEL = "lxcast.export"


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mtime = 1_700_000_000
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def import_image(engine: Program, folder: Path, name: str, *changes: str) -> str:
    """Make an image; without changes it has no command."""
    (folder / "rootfs.tar").write_bytes(tar_of({"data/from-image": b"image\n", "big": bytes(3_000_000)}))
    options = [word for change in changes for word in ("--change", change)]
    return engine.run("import", *options, folder / "rootfs.tar", name).stdout.strip()


@pytest.fixture(scope="module")
def image(engine: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"lxcast-test/engine-{UNIQUE}"
    import_image(engine, tmp_path_factory.mktemp("image"), name, "VOLUME /data", "ENV A=b", "USER daemon")
    yield name
    engine.run("image", "rm", name)


@pytest.fixture
def container(engine: Program, image: str) -> Iterator[str]:
    name = f"lxcast-test-engine-{UNIQUE}"
    engine.run("create", "--name", name, "--volume", "/extra", image, "x")
    yield name
    engine.run("rm", "--volumes", name)


def content(source: Archive) -> bytes:
    pieces, buffer = [], bytearray(1 << 20)
    with source.opener() as stream:
        while count := stream.readinto(memoryview(buffer)):
            pieces.append(bytes(buffer[:count]))
    return b"".join(pieces)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(tar: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return set(archive.getnames())


def leftovers(engine: Program, image: str) -> str:
    """The containers that lxcast made of an image; other tests use the engine at the same time."""
    return engine.run("ps", "--all", "--quiet", "--filter", f"label={LABEL}", "--filter", f"ancestor={image}").stdout


def volumes(engine: Program) -> set[str]:
    return set(engine.run("volume", "ls", "--quiet").stdout.split())


def test_a_container_is_its_export_every_time(engine: Program, container: str, tmp_path: Path) -> None:
    source = open_container(container)
    engine.run("export", "--output", tmp_path / "export.tar", container)
    exported = digest((tmp_path / "export.tar").read_bytes())
    assert [digest(content(source)) for _ in range(2)] == [exported] * 2
    origin = source.origin
    assert (origin.kind, origin.reference, origin.digest) == ("docker-container", container, "")
    assert (source.rereadable, source.warnings) == (True, [])


def test_an_image_is_read_through_a_container_that_goes_again(engine: Program, image: str) -> None:
    before = volumes(engine)
    source = open_image(image)
    assert {"data/from-image", "big"} <= names(content(source))  # also what the image has below a VOLUME
    assert (source.origin.kind, source.warnings) == ("docker-daemon", [])
    assert leftovers(engine, image) == ""
    assert volumes(engine) == before


def test_the_digest_of_an_image_is_the_same_after_a_rebuild_under_another_id(engine: Program, image: str) -> None:
    lines = {"one": "MAINTAINER one", "again": "MAINTAINER two", "other": "ENV NEW=1"}
    names = {key: f"{image}-{key}" for key in lines}
    for key, line in lines.items():
        engine.run("build", "--tag", names[key], "-", stdin=f"FROM {image}\n{line}\n")
    try:
        ids = {engine.run("image", "inspect", "--format", "{{.Id}}", each).stdout for each in names.values()}
        assert len(ids) == 3
        digests = {key: open_image(each).origin.digest for key, each in names.items()}
        assert digests["one"] == digests["again"] != digests["other"]
    finally:
        engine.run("image", "rm", *names.values())


def test_an_image_without_a_command_and_one_that_is_left_early(engine: Program, tmp_path: Path) -> None:
    name = f"lxcast-test/bare-{UNIQUE}"
    import_image(engine, tmp_path, name)
    try:
        assert "big" in names(content(open_image(name)))
        with open_image(name).opener() as stream:
            stream.readinto(memoryview(bytearray(512)))
        assert leftovers(engine, name) == ""
    finally:
        engine.run("image", "rm", name)


def test_what_an_image_says_is_known(engine: Program, image: str) -> None:
    found = connect().image(image)
    assert found
    assert (found.config.env[-1], found.config.user, found.config.volumes) == ("A=b", "daemon", ("/data",))
    assert found.config.architecture == engine.run("version", "--format", "{{.Server.Arch}}").stdout.strip()


def test_a_volume_warns_when_it_holds_what_the_export_lacks(
    engine: Program, image: str, container: str, tmp_path: Path
) -> None:
    assert open_container(container).warnings == []
    (tmp_path / "new").write_text("x")
    engine.run("cp", tmp_path / "new", f"{container}:/extra/new")
    (warning,) = open_container(container).warnings
    assert "/extra/new" in warning
    assert "extra/new" not in names(content(open_container(container)))
    (tmp_path / "new").write_text("changed")
    engine.run("cp", tmp_path / "new", f"{container}:/data/from-image")
    changed, new = open_container(container).warnings
    assert "volume at /data with files that are not exported, such as /data/from-image" in changed
    assert "/extra/new" in new
    assert leftovers(engine, image) == ""


def test_what_is_not_there_is_told_apart(engine: Program, image: str, container: str) -> None:
    with pytest.raises(SourceError, match="container 'lxcast-gone' not found") as caught:
        open_container("lxcast-gone")
    assert "docker ps --all" in caught.value.hint
    with pytest.raises(SourceError) as caught:
        open_container(image.partition("/")[0] + "/" + image.partition("/")[2])
    assert caught.value.hint == f"for the image of that name, use docker-daemon:{image}"
    with pytest.raises(SourceError, match="image 'lxcast-gone' not found") as caught:
        open_image("lxcast-gone")
    assert "docker pull lxcast-gone" in caught.value.hint
    with pytest.raises(SourceError, match="is not a file, nor a container or image"):
        open_word("lxcast-gone")


def test_a_word_is_a_container_then_an_image(engine: Program, image: str, container: str) -> None:
    assert open_word(image).origin.kind == "docker-daemon"
    assert open_word(container).origin.kind == "docker-container"
    engine.run("tag", image, container)
    try:
        source = open_word(container)
        assert source.origin.kind == "docker-container"
        assert f"for the image, use docker-daemon:{container}" in source.warnings[0]
        id = engine.run("inspect", "--format", "{{.Id}}", container).stdout.strip()
        assert open_word(id[:12]).origin.kind == "docker-container"
        with pytest.raises(SourceError, match="is not a file, nor"):
            open_word(id[:4])
    finally:
        engine.run("image", "rm", container)


def test_a_word_without_any_engine_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineError, match="'debian' is not a file, and no container engine answers"):
        open_word("debian")


READER = """
import signal, sys, time
from lxcast.sources.docker import open_image
def stop(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
source = open_image(sys.argv[1])
try:
    print("ready", flush=True)
    while True:
        with source.opener() as stream:
            while stream.readinto(memoryview(bytearray(65536))): pass
            print("read", flush=True)
            if len(sys.argv) > 2: time.sleep(600)
except KeyboardInterrupt:
    sys.exit(0)
"""


def reader(image: str, *more: str) -> subprocess.Popen[str]:
    started = subprocess.Popen([sys.executable, "-c", READER, image, *more], stdout=subprocess.PIPE, text=True)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def test_an_interrupt_at_any_moment_leaves_no_container(engine: Program, image: str) -> None:
    before = volumes(engine)
    for number in range(8):
        with reader(image) as process:
            time.sleep(0.015 * number)
            process.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
            process.communicate(timeout=240)
        assert process.returncode == 0
    assert leftovers(engine, image) == ""
    assert volumes(engine) == before


def test_the_next_run_removes_what_a_killed_one_left_and_not_what_a_living_one_has(engine: Program, image: str) -> None:
    with reader(image, "stay") as killed, reader(image, "stay") as living:
        for process in (killed, living):
            assert process.stdout
            assert process.stdout.readline() == "read\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait(240)
        open_image(image)
        assert len(leftovers(engine, image).split()) == 1
        living.send_signal(signal.SIGINT)
        living.wait(240)
    assert leftovers(engine, image) == ""


def test_contexts_are_followed_as_the_docker_command_does(
    engine: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moved.sock").symlink_to("/var/run/docker.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    engine.run("context", "create", "moved", "--docker", f"host=unix://{tmp_path}/moved.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "moved")
    assert connect().address == f"unix://{tmp_path}/moved.sock"
    monkeypatch.delenv("DOCKER_CONTEXT")
    engine.run("context", "use", "moved")
    assert connect().address == f"unix://{tmp_path}/moved.sock"
    assert engine.run("context", "inspect", "--format", "{{.Name}}").stdout == "moved\n"
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "moved")
    assert engine.run("context", "inspect", "--format", "{{.Name}}").stdout == "default\n"
    assert connect().address == "unix:///var/run/docker.sock"


def forward(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Carry each connection to the engine's socket and back, until the listener is closed."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect("/var/run/docker.sock")
            try:
                client = tls.wrap_socket(connection, server_side=True) if tls else connection
            except OSError:
                connection.close()
                return
            with client:
                there = threading.Thread(target=pump, args=(client, engine), daemon=True)
                there.start()
                pump(engine, client)
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                there.join()

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


@contextlib.contextmanager
def forwarding(tls: ssl.SSLContext | None) -> Iterator[int]:
    """Forward a port, which is given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taking = threading.Thread(target=forward, args=(listener, tls))
        taking.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # The number of a closed listener is soon another's: nobody may wait on it still, and only this wakes them.
            listener.shutdown(socket.SHUT_RDWR)
            taking.join()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """ca.pem, and cert.pem with key.pem for localhost, as DOCKER_CERT_PATH has them."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("no openssl command")
    folder = tmp_path / "certificates"
    folder.mkdir()
    line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, *line.split(), *extension, *files], check=True, capture_output=True)
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    return folder


@pytest.mark.parametrize("secure", [False, True])
def test_an_engine_is_reached_by_tcp_and_tls(
    engine: Program, container: str, monkeypatch: pytest.MonkeyPatch, certificates: Path, secure: bool
) -> None:
    tls = None
    if secure:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        tls.load_verify_locations(certificates / "ca.pem")
        tls.verify_mode = ssl.CERT_REQUIRED
    local = digest(content(open_container(container)))
    with forwarding(tls) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{port}")
        if secure:
            monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
            monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
        assert digest(content(open_container(container))) == local
        if secure:
            monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates.parent))
            with pytest.raises(EngineError, match="no container engine answers"):
                open_container(container)


def test_an_engine_is_reached_by_ssh(
    engine: Program, container: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "ssh"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/said\n'
        'while [ "$1" != -- ]; do shift; done\n'
        'shift; [ "$1" = far ] || { echo "ssh: Could not resolve hostname $1" >&2; exit 255; }\n'
        "shift; unset DOCKER_HOST\n"
        'exec "$@"\n'
    )
    fake.chmod(0o755)
    local = digest(content(open_container(container)))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far:2222")
    assert digest(content(open_container(container))) == local
    said = (tmp_path / "said").read_text().splitlines()[0]
    assert said == "-o ConnectTimeout=10 -T -l me -p 2222 -- far docker system dial-stdio"
    monkeypatch.setenv("DOCKER_HOST", "ssh://near")
    with pytest.raises(EngineError, match="Could not resolve hostname near"):
        open_container(container)
