"""Answers that are JSON and nothing that Proxmox says: each is told as what it is, by every command that reads one."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.cli.app import run
from lxcast.testing import Answer, Cluster, Injected
from tests.json_shapes import JSON, mutated
from tests.unit.cli.proxmox import access
from tests.unit.testing import raw


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def home(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder and environment, with a template to publish; one is on the storage, and in use."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "web-v2.tar.zst").write_bytes(b"template")
    (server.storages["local"].folder("pve") / "web-v1.tar.zst").write_bytes(b"older")
    raw.post(server, "/nodes/pve/lxc", "vmid=100&ostemplate=local:vztmpl/web-v1.tar.zst&rootfs=local:4")
    server.tasks.wait()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access(server, folder, LXCAST_RECORDS=str(folder / "records")).items():
            patch.setenv(name, value)
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.chdir(folder)
        yield folder


def told(server: Cluster, answer: object, path: str, words: list[str], method: str = "GET") -> int:
    """Run a command whose every question of that kind gets this answer."""
    body = json.dumps({"data": answer}).encode()
    server.faults.answers[:] = [Injected(Answer(200, "OK", body), re.escape(f"/api2/json{path}"), method, 10**9)]
    try:
        return run(words)
    finally:
        server.faults.answers.clear()


LOOKING = {
    "/version": ["doctor"],
    "/access/permissions": ["doctor"],
    "/nodes": ["doctor"],
    "/nodes/pve/storage": ["doctor"],
    "/storage": ["list", "--storage", "proxmox:"],
    "/nodes/pve/tasks": ["list", "--storage", "proxmox:"],
    "/nodes/pve/storage/local/content": ["prune", "--storage", "proxmox:", "--keep", "1"],
}
"""Paths, and a command that asks there."""

ANSWERS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("path", LOOKING)
@ANSWERS
@given(data=st.data())
def test_whatever_a_question_is_answered_the_command_ends_in_its_own_words(
    server: Cluster, home: Path, capsys: pytest.CaptureFixture[str], path: str, data: st.DataObject
) -> None:
    real = raw.get(server, path).json["data"]
    answer = data.draw(st.one_of(JSON, mutated(real)))
    code = told(server, answer, path, LOOKING[path])
    said = capsys.readouterr().err
    assert "bug in lxcast" not in said
    assert code in (0, 9), said
    if not isinstance(answer, type(real)):
        assert code == 9 or "warning: " in said


@pytest.mark.parametrize("part", ["status", "log"])
@ANSWERS
@given(data=st.data())
def test_whatever_a_task_tells_the_publish_ends_in_its_own_words(
    server: Cluster, home: Path, capsys: pytest.CaptureFixture[str], part: str, data: st.DataObject
) -> None:
    known = server.tasks.all[0].upid
    real = raw.get(server, f"/nodes/pve/tasks/{known}/{part}").json["data"]
    body = json.dumps({"data": data.draw(st.one_of(JSON, mutated(real)))}).encode()
    path = rf"/api2/json/nodes/pve/tasks/[^/]+/{part}"
    server.faults.answers[:] = [Injected(Answer(200, "OK", body), path, "GET", 10**9)]
    code = run(["publish", "web-v2.tar.zst", "--no-check"])
    server.faults.answers.clear()
    said = capsys.readouterr().err
    assert "bug in lxcast" not in said
    assert code in (0, 7, 9, 10), said
    server.tasks.wait()
    (server.storages["local"].folder("pve") / "web-v2.tar.zst").unlink(missing_ok=True)
    shutil.rmtree(home / "records", ignore_errors=True)


@pytest.mark.parametrize("answer", [None, "done"])
def test_an_upload_that_is_answered_by_no_task_is_looked_up(
    server: Cluster, home: Path, capsys: pytest.CaptureFixture[str], answer: object
) -> None:
    path = "/nodes/pve/storage/local/upload"
    assert told(server, answer, path, ["publish", "web-v2.tar.zst", "--no-check"], "POST") == 9
    said = capsys.readouterr().err
    assert "not a task id" in said or "was interrupted and left nothing in proxmox:pve/local" in said
    assert "not a task id" in said or f"unexpected reply to POST {path}: expected a string at data, got" in said


def test_a_removal_that_is_answered_by_no_task_is_told(
    server: Cluster, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/nodes/pve/storage/local/content/vztmpl/web-v1.tar.zst"
    words = ["remove", "web-v1.tar.zst", "--storage", "proxmox:", "--apply"]
    assert told(server, [1], path, words, "DELETE") == 9
    assert "expected a string at data, got [1]" in capsys.readouterr().err


def test_the_error_names_server_question_place_and_both_values(
    server: Cluster, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(server, [{"node": "pve"}, {"node": ["x"]}], "/nodes", ["list", "--storage", "proxmox:"]) == 9
    assert capsys.readouterr().err == (
        f"lxcast: error: {server.url}: unexpected reply to GET /nodes: expected the name of a node at data[1].node, "
        'got ["x"]\n'
        "hint: check that this is the address of Proxmox VE, and that no proxy changes its replies\n"
    )
