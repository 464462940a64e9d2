import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.errors import ApiError, ConflictError, LxcastError, StorageError, UnprovenError
from lxcast.model import ProxmoxRef
from lxcast.proxmox.client import Client, File, Profile, Secret, UploadBody, stamp
from lxcast.proxmox.preflight import preflight
from lxcast.proxmox.tasks import Watch, wait
from lxcast.storages.node import NodeStorage, Put
from lxcast.testing import Cluster, TaskFault
from tests.web import WebServer

RECORD = 16384  # bytes of the largest TLS record


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster(("pve", "pve2")) as cluster:
        yield cluster


def profile(server: Cluster) -> Profile:
    token = server.token
    return Profile(url=server.url, token_id=token.id, secret=Secret(token.secret), ca_file=server.ca)


def file_of(folder: Path, content: bytes, name: str = "web-v1.tar.zst") -> File:
    path = folder / hashlib.sha256(content).hexdigest()[:8]
    path.write_bytes(content)
    with path.open("rb") as opened:
        return File(path, name, len(content), hashlib.sha256(content).hexdigest(), stamp(opened.fileno()))


def silent(_: object) -> None:
    return None


def put(server: Cluster, file: File, node: str = "pve") -> Put:
    with Client(profile(server)) as client:
        found = preflight(client, ProxmoxRef(node, "local"), size=file.size)
        assert not found.errors
        storage = NodeStorage(client, found)
        watch = Watch(client, found.nodes)
        there = storage.present(file, None)
        if there:
            return there
        return storage.prove(storage.put(file, silent, watch), watch.of(client, file.name), watch.unseen)


def test_uploads_around_every_border_of_a_record_arrive_whole_and_once(server: Cluster, tmp_path: Path) -> None:
    with Client(profile(server)) as client:
        storage = NodeStorage(client, preflight(client, ProxmoxRef("pve", "local")))
        watch = Watch(client, ("pve",))
        empty = file_of(tmp_path, b"", "size-v100.tar.zst")
        frame = len(UploadBody(empty, silent))  # what the body has beside the file
        sizes = [
            blocks * RECORD - around + offset
            for blocks in range(1, 12)
            for around in (0, frame)
            for offset in range(-4, 5)
        ]
        sizes += [1, 1 << 20]
        for number, size in enumerate(sizes, 100):
            content = os.urandom(size)
            file = file_of(tmp_path, content, f"size-v{number}.tar.zst")
            assert storage.put(file, silent, watch).sent
            held = server.storages["local"].folder("pve") / file.name
            assert held.read_bytes() == content
            file.path.unlink()
    assert len(server.tasks.all) == len(sizes), "an upload was handled twice"


def test_a_file_that_changes_while_it_is_sent_is_broken_off(server: Cluster, tmp_path: Path) -> None:
    file = file_of(tmp_path, b"x" * (3 << 20))
    seen: list[int] = []

    def change(count: int) -> None:
        if not seen:
            with file.path.open("r+b") as opened:
                opened.write(b"changed")
        seen.append(count)

    with Client(profile(server)) as client:
        storage = NodeStorage(client, preflight(client, ProxmoxRef("pve", "local")))
        with pytest.raises(StorageError, match="changed while it was sent"):
            storage.put(file, change, Watch(client, ("pve",)))
    assert server.tasks.all == []
    assert list(server.storages["local"].folder("pve").iterdir()) == []


def test_bytes_that_differ_from_their_digest_are_no_success(server: Cluster, tmp_path: Path) -> None:
    file = file_of(tmp_path, b"content")
    wrong = File(file.path, file.name, file.size, "0" * 64, file.stamp)
    with pytest.raises(ApiError, match="checksum mismatch"):
        put(server, wrong)
    assert list(server.storages["local"].folder("pve").iterdir()) == []


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.mark.parametrize("ways", [("upload", "upload"), ("upload", "fetch"), ("fetch", "fetch")])
@pytest.mark.parametrize("node", ["pve", "pve2"])
def test_of_two_publishers_of_one_name_never_both_succeed(
    server: Cluster, web: WebServer, tmp_path: Path, node: str, ways: tuple[str, str]
) -> None:
    server.faults.tasks |= {"imgcopy": TaskFault(seconds=0.3), "download": TaskFault(seconds=0.3)}
    results: list[Put | LxcastError] = []
    start = threading.Barrier(2)

    def publish(content: bytes, way: str) -> None:
        file = file_of(tmp_path, content)
        web.files[f"/{way}"] = content
        with Client(profile(server)) as client:
            found = preflight(client, ProxmoxRef(node, "local"))
            storage, watch = NodeStorage(client, found), Watch(client, found.nodes)
            start.wait()
            try:
                if there := storage.present(file, None):
                    results.append(there)
                    return
                if way == "fetch":
                    task = storage.pull(file, Secret(f"{web.url}/{way}"), watch)
                    made = storage.ended(file, *wait(client, task), fetched=True)
                else:
                    made = storage.put(file, silent, watch)
                results.append(storage.prove(made, watch.of(client, file.name), watch.unseen))
            except LxcastError as error:
                results.append(error)

    threads = [
        threading.Thread(target=publish, args=(content, way))
        for content, way in zip((b"a" * 5000, b"b" * 5000), ways, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in results if isinstance(each, Put)]) < 2
    assert all(isinstance(each, Put) or refused(each) for each in results), results


def refused(error: object) -> bool:
    """Whether a publisher was told of the other one, or saw a file that the other one had only begun to copy."""
    half = isinstance(error, ApiError) and "were sent" in error.message
    return half or isinstance(error, UnprovenError | ConflictError)


def test_the_same_name_on_two_nodes_is_no_race(server: Cluster, tmp_path: Path) -> None:
    file = file_of(tmp_path, b"content")
    assert put(server, file, "pve").verified
    assert put(server, file, "pve2").verified


def test_a_server_that_restarts_while_the_task_runs_is_waited_for(server: Cluster, tmp_path: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(seconds=1.5)
    file = file_of(tmp_path, b"content")
    results: list[Put] = []
    thread = threading.Thread(target=lambda: results.append(put(server, file)))
    thread.start()
    while not server.tasks.all:
        assert thread.is_alive()
        thread.join(0.05)
    server.stop("pve")
    thread.join(1.0)
    server.start("pve")
    thread.join(240)
    assert [each.sent for each in results] == [True]
