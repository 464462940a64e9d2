import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lxcast.engine import Engine, connect
from lxcast.errors import EngineError

OK = b"HTTP/1.0 200 OK\r\n\r\nOK"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], dict[str, str]]]:
    """Answer on a unix socket by path with fixed bytes, one connection at a time; gives the environment to find it."""
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "engine.sock"
    listener.bind(str(path))
    threads = []

    def start(answers: dict[str, bytes]) -> dict[str, str]:
        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(ConnectionError):  # who asks may have heard enough
                    words = connection.recv(65536).split()
                    asked = words[1].decode() if len(words) > 1 else ""
                    connection.sendall(answers.get(asked, b'HTTP/1.0 404 x\r\n\r\n{"message": "no such thing"}'))

        listener.listen()
        threads.append(threading.Thread(target=run))
        threads[0].start()
        return {"DOCKER_HOST": f"unix://{path}"}

    yield start
    listener.shutdown(socket.SHUT_RDWR) if threads else None
    listener.close()
    for thread in threads:
        thread.join()


Serve = Callable[[dict[str, bytes]], dict[str, str]]


def engine(serve: Serve, **answers: bytes) -> Engine:
    return connect(serve({"/_ping": OK} | {path.replace("_", "/"): body for path, body in answers.items()}))


def test_nothing_anywhere_says_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        connect({"DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
    assert caught.value.message == (
        f"no container engine answers: unix://{tmp_path}/no.sock (from DOCKER_HOST): no such socket"
    )
    assert "DOCKER_HOST" in caught.value.hint
    assert caught.value.exit_code == 8


def test_a_socket_without_a_listener_is_an_engine_that_does_not_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(EngineError, match="not running") as caught:
        connect({"DOCKER_HOST": f"unix://{tmp_path}/dead.sock"})
    assert "start it" in caught.value.hint


def test_an_address_where_nobody_listens_is_told_in_plain_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(EngineError) as caught:
        connect({"DOCKER_HOST": host})
    assert caught.value.message == f"no container engine answers: {host} (from DOCKER_HOST): Connection refused"


def test_an_address_of_no_kind_is_told_which_there_are() -> None:
    with pytest.raises(EngineError, match=r"engine (\(from DOCKER_HOST\)): .* expected unix://, tcp:// or ssh://"):
        connect({"DOCKER_HOST": "engine"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who is refused")
def test_a_socket_of_others_is_permission_denied(tmp_path: Path, serve: Serve) -> None:
    environ = serve({"/_ping": OK})
    (tmp_path / "engine.sock").chmod(0o600)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.setresuid(65534, 65534, 65534)
        try:
            connect(environ)
        except EngineError as error:
            os.write(write, f"{error.message}\n{error.hint}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    text = os.read(read, 65536).decode()
    os.close(read)
    assert "permission denied" in text
    assert "usermod -aG docker" in text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'HTTP/1.0 403 Forbidden\r\n\r\n{"message": "denied by policy"}', "denied by policy"),
        (b"HTTP/1.0 500 x\r\n\r\n<html>", "status 500"),
        (b"SSH-2.0-OpenSSH_9\r\n", "expected HTTP, got b'SSH-2.0"),
        (b"", "expected HTTP"),
    ],
)
def test_what_answers_but_is_no_willing_engine(serve: Serve, answer: bytes, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        connect(serve({"/_ping": answer}))


@pytest.mark.parametrize("host", ["npipe:////./pipe/docker_engine", "/var/run/docker.sock", "ssh://-oProxyCommand=x"])
def test_an_address_that_cannot_be(host: str) -> None:
    with pytest.raises(EngineError, match="DOCKER_HOST"):
        connect({"DOCKER_HOST": host})


def test_a_body_comes_in_full_buffers_to_its_end(serve: Serve) -> None:
    content = os.urandom(3_000_000)
    found = engine(serve, _containers_x_export=b"HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\n" + content)
    buffer, got = bytearray(1 << 20), b""
    with found.export("x") as reply:
        while count := reply.readinto(buffer):
            got += buffer[:count]
            assert count == len(buffer) or len(got) == len(content)
    assert got == content


def test_a_refused_export_has_the_engines_own_words(serve: Serve) -> None:
    found = engine(serve, _containers_x_export=b'HTTP/1.0 500 x\r\n\r\n{"message": "no space left on device"}')
    with pytest.raises(EngineError, match="no space left on device"), found.export("x"):
        pass


def test_an_engine_that_goes_away_is_said_to(serve: Serve, tmp_path: Path) -> None:
    found = engine(serve)
    (tmp_path / "engine.sock").unlink()
    with pytest.raises(EngineError, match="is gone"):
        found.image("x")
    with pytest.raises(EngineError, match="is gone"), found.export("x"):
        pass


def test_an_image_is_read_whatever_it_leaves_out(serve: Serve) -> None:
    id = "ab" * 32
    found = engine(
        serve,
        _images_full_json=b"HTTP/1.0 200 OK\r\n\r\n"
        b'{"Id": "' + id.encode() + b'", "Architecture": "arm", "Variant": "v7", "Config": {"Cmd": ["a", ""], '
        b'"Entrypoint": ["/e"], "Env": ["A=b"], "User": "u", "WorkingDir": "/w", "StopSignal": "SIGINT", '
        b'"Volumes": {"/b": {}, "/a": {}}, "Labels": {"k": "v"}}}',
        _images_bare_json=b'HTTP/1.0 200 OK\r\n\r\n{"Id": "sha256:x", "Config": {"Cmd": null, "Volumes": null}}',
        _images_odd_json=b"HTTP/1.0 200 OK\r\n\r\n<html>",
    )
    image = found.image("full")
    assert image
    assert image.id == f"sha256:{id}"
    config = image.config
    assert (config.cmd, config.entrypoint, config.env) == (("a", ""), ("/e",), ("A=b",))
    assert (config.user, config.working_dir, config.stop_signal) == ("u", "/w", "SIGINT")
    assert (config.volumes, config.labels, config.architecture) == (("/a", "/b"), {"k": "v"}, "arm/v7")
    bare = found.image("bare")
    assert bare
    assert (bare.config.cmd, bare.config.volumes) == ((), ())
    with pytest.raises(EngineError, match="expected JSON"):
        found.image("odd")


def test_an_image_has_one_identity_under_the_changing_ids_of_the_containerd_store(serve: Serve) -> None:
    def image(id: str, layers: str = '["sha256:a"]', config: str = '{"Cmd": ["x"]}', more: str = "") -> bytes:
        data = f'{{"Id": "sha256:{id}", "RootFS": {{"Layers": {layers}}}, "Config": {config}{more}}}'
        return f"HTTP/1.0 200 OK\r\n\r\n{data}".encode()

    full = '{"Cmd": ["x"], "Hostname": "", "Env": null, "Entrypoint": [], "ExposedPorts": {"80/tcp": {}}}'
    replies = {
        "one": image("1" * 64),
        "again": image("2" * 64),
        "graphdriver": image("3" * 64, config=full, more=', "Created": "2020-01-01T00:00:00Z"'),
        "layers": image("1" * 64, layers='["sha256:a", "sha256:b"]'),
        "command": image("1" * 64, config='{"Cmd": ["y"]}'),
        "arm": image("1" * 64, more=', "Architecture": "arm64"'),
    }
    found = engine(serve, **{f"_images_{name}_json": reply for name, reply in replies.items()})
    images = {name: found.image(name) for name in replies}
    identities = {name: image.identity for name, image in images.items() if image}
    assert identities["one"] == identities["again"] == identities["graphdriver"]
    assert len(set(identities.values())) == 4


@pytest.mark.parametrize("name", ["", "../containers", "a b", "x?all=1", "a//b", "-x", "x\r\nHost: y"])
def test_a_name_that_none_can_have_is_not_asked_for(serve: Serve, name: str) -> None:
    found = engine(serve)
    assert found.image(name) is None
    assert found.container(name) is None
