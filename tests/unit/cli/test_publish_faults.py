"""What goes wrong around an upload: each with the exit code and the words that a user gets."""

import json
import os
import re
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from lxcast.testing import EVERYTHING, Acl, Answer, Cluster, Injected, TaskFault, Token
from tests.unit.cli.proxmox import access, held, make_template, start
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

NAME = "debian-12-v1.tar.zst"
ROLE = ("Datastore.AllocateTemplate", "Datastore.Audit", "Sys.Audit", "Sys.AccessNetwork")
"""Of the how-to page's `pveum` commands."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A template of 16 MB, more than the sockets between hold, which a slow server takes a while for."""
    path = tmp_path / "large-v1.tar"
    path.write_bytes(archive([*minimal_debian(), regular(b"srv", os.urandom(16_000_000))]))
    return path


def ended(process: subprocess.Popen[str], code: int, said: str, *, never: str = "") -> str:
    out, talk = process.communicate(timeout=240)
    assert re.search(said, talk), talk
    assert not (never and never in talk), talk
    assert process.returncode == code, talk
    assert "bug in lxcast" not in talk
    assert ("hint: " in talk) == (code != 0)
    return out


def receiving(server: Cluster, process: subprocess.Popen[str]) -> None:
    """Wait until the server holds a part of an upload."""
    while not any(path.stat().st_size for path in server.temporary("pve").glob("*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_bytes_that_change_on_their_way_are_found_by_the_node(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.damage_upload = True
    ended(
        start(server, tmp_path, "publish", template), 9, "failed on the node: .*checksum mismatch: got '[0-9a-f]{64}'"
    )
    assert held(server, NAME) is None
    server.faults.damage_upload = False
    assert ended(start(server, tmp_path, "publish", template), 0, "is published") == f"local:vztmpl/{NAME}\n"


def test_a_file_that_changes_while_it_is_sent_is_not_published(server: Cluster, tmp_path: Path, large: Path) -> None:
    server.faults.read_rate = 400_000.0
    process = start(server, tmp_path, "publish", large)
    receiving(server, process)
    with large.open("r+b") as opened:
        opened.write(b"changed")
    server.faults.read_rate = None
    ended(process, 6, "changed while it was sent; the upload was aborted")
    assert server.tasks.all == []


def test_a_server_that_restarts_during_the_upload_has_nothing(server: Cluster, tmp_path: Path, large: Path) -> None:
    server.faults.read_rate = 400_000.0
    process = start(server, tmp_path, "publish", large)
    receiving(server, process)
    server.stop("pve")
    time.sleep(1)
    server.faults.read_rate = None
    server.start("pve")
    ended(process, 9, "publishing large-v1.tar was interrupted and left nothing")
    assert ended(start(server, tmp_path, "publish", large), 0, "is published") == "local:vztmpl/large-v1.tar\n"


def test_a_server_that_restarts_while_its_task_runs_is_waited_for(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(seconds=2)
    process = start(server, tmp_path, "publish", template)
    while not server.tasks.all:
        assert process.poll() is None
        time.sleep(0.02)
    server.stop("pve")
    time.sleep(1)
    server.start("pve")
    assert ended(process, 0, "is published") == f"local:vztmpl/{NAME}\n"


def test_an_answer_that_only_begins_like_proxmox_is_told(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.answers.append(Injected(Answer(200, "OK", b"<html><title>Sign in</title></html>"), times=9))
    ended(start(server, tmp_path, "publish", template), 9, "not JSON of Proxmox VE: OK; Sign in")


@pytest.mark.parametrize(("later", "node"), [(0.0, "pve"), (0.3, "pve2"), (0.6, "pve"), (1.0, "pve")])
def test_of_two_publishers_at_once_never_two_succeed_with_other_bytes(tmp_path: Path, later: float, node: str) -> None:
    tokens = [Token(f"{user}@pve!lxcast", user * 36) for user in "ab"]
    owners = [(token.user, token.id) for token in tokens]
    acl = [Acl(path, who, ROLE) for path in ("/storage/local", "/nodes") for pair in owners for who in pair]
    files = [make_template(tmp_path / user, content=user.encode() * 999) for user in "ab"]
    with Cluster(("pve", "pve2"), tokens=tokens, acl=acl) as server:
        server.faults.tasks["imgcopy"] = TaskFault(seconds=0.5)
        processes = []
        for token, file in zip(tokens, files, strict=True):
            own = {"PM_API_TOKEN_ID": token.id, "PM_API_TOKEN_SECRET": token.secret, "HOME": str(tmp_path / token.user)}
            processes.append(start(server, tmp_path, "publish", file, "--node", node, **own))
            time.sleep(later)
        told = [(process.communicate(timeout=240), process.returncode) for process in processes]
        # 9: what the other one had only begun to copy was seen
        assert all(code in (0, 7, 10) or (code == 9 and "were sent" in talk) for (_, talk), code in told), told
        successes = [file for file, (_, code) in zip(files, told, strict=True) if code == 0]
        assert len(successes) < 2, told
        name = files[0].name
        server.tasks.wait()
        assert held(server, name, node) in [file.read_bytes() for file in files]
        # The node's word settles what was unproven, for either of them.
        server.faults.tasks.clear()
        for token, file in zip(tokens, files, strict=True):
            own = {"PM_API_TOKEN_ID": token.id, "PM_API_TOKEN_SECRET": token.secret, "HOME": str(tmp_path / token.user)}
            again = start(server, tmp_path, "publish", file, "--node", node, **own)
            again.communicate(timeout=240)
            assert again.returncode == (0 if held(server, name, node) == file.read_bytes() else 7)


def test_the_secret_is_in_no_output_file_or_process(server: Cluster, tmp_path: Path, template: Path) -> None:
    secret = server.token.secret
    shown: list[bytes] = []

    def run(*words: str | Path, **environ: str) -> None:
        process = start(server, tmp_path, *words, **environ)
        while process.poll() is None:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    shown.append(path.read_bytes())
            time.sleep(0.1)
        shown.extend(text.encode() for text in process.communicate())

    log = ("--debug", "--log-file", tmp_path / "log")
    run("publish", template, "--json", *log)
    run("publish", template, "--json", *log)
    run("list", "--storage", "proxmox:", "--json", *log)
    run("doctor", "--json", *log)
    run("settings", "--json", *log)
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    run("build", source, "--name", "web", "--storage", "proxmox:", "--json", *log)
    run("publish", template, *log, PM_API_TOKEN_ID=f"tester@pve!other={secret}")
    run("publish", template, *log, PM_API_URL=f"https://x:{secret}@127.0.0.1")
    echo = f"<pre>Authorization: PVEAPIToken=tester@pve!lxcast={secret}</pre>".encode()  # as a debugging proxy does
    for answer in (Answer(500, secret, echo), Answer(200, "OK", echo), Answer(500, "no", b'{"message": "%s"}' % echo)):
        server.faults.answers[:] = [Injected(answer, times=9)]
        run("doctor", "--json", *log)
    server.faults.answers[:] = [Injected(Answer(200, "OK", b'{"data": [1]}'), times=9)]
    run("list", "--storage", "proxmox:", "--json", *log)
    text = (tmp_path / "log").read_text()
    assert "check that this is the address of Proxmox VE" in text
    assert text.count("lxcast 0.1.0: ") == 12
    assert [each for each in shown if secret.encode() in each] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


class Proxy:
    """A web proxy that knows CONNECT alone; `asked` has what it was asked for, `seen` every byte of the clients."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.seen = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._taking = threading.Thread(target=self._accept, daemon=True)
        self._taking.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._socket.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(4096)):
                return
            head += data
        self.seen += head
        self.asked.append(head.split(b"\r\n")[0].decode())
        client.sendall(self.answer)
        if b" 200 " not in self.answer:
            client.close()
            return
        host, _, port = self.asked[-1].split()[1].rpartition(":")
        with socket.create_connection((host, int(port))) as server, client, selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            with suppress(OSError):
                while True:
                    for key, _ in both.select():
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr] # a socket
                        if not data:
                            return
                        self.seen += data if key.fileobj is client else b""
                        key.data.sendall(data)

    def close(self) -> None:
        # The number of a closed listener is soon another's: nobody may wait on it still, and only this wakes them.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._taking.join()
        self._socket.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def test_a_proxy_of_the_environment_is_gone_through_and_learns_nothing(
    server: Cluster, tmp_path: Path, template: Path, proxy: Proxy
) -> None:
    through = {"HTTPS_PROXY": proxy.url, "NO_PROXY": ""}
    process = start(server, tmp_path, "publish", template, **through)
    assert ended(process, 0, "is published") == f"local:vztmpl/{NAME}\n"
    assert {line.split()[:2] == ["CONNECT", server.url.removeprefix("https://")] for line in proxy.asked} == {True}
    assert server.token.secret.encode() not in proxy.seen
    assert b"PVEAPIToken" not in proxy.seen
    asked = len(proxy.asked)
    pinned = start(
        server, tmp_path, "doctor", "--fingerprint", server.fingerprint, **through, SSL_CERT_FILE="/nonexistent"
    )
    pinned.communicate(timeout=240)
    assert pinned.returncode == 0
    assert len(proxy.asked) > asked


def test_no_proxy_is_heeded(server: Cluster, tmp_path: Path, template: Path, proxy: Proxy) -> None:
    process = start(server, tmp_path, "publish", template, HTTPS_PROXY=proxy.url, NO_PROXY="example.org,127.0.0.1")
    assert ended(process, 0, "is published") == f"local:vztmpl/{NAME}\n"
    assert proxy.asked == []


def test_a_proxy_that_refuses_or_is_down_is_told(server: Cluster, tmp_path: Path, template: Path) -> None:
    secret = server.token.secret.encode()  # whoever learnt it may repeat it
    refusing = Proxy(b"HTTP/1.1 407 Nothing for %s\r\nContent-Length: 0\r\n\r\n" % secret)
    through = {"HTTPS_PROXY": refusing.url, "NO_PROXY": ""}
    ended(start(server, tmp_path, "publish", template, **through), 9, r"the proxy failed: .*407 Nothing for \*\*\*")
    refusing.close()
    ended(start(server, tmp_path, "publish", template, **through), 9, "the proxy failed: Connection refused")


@pytest.mark.parametrize("proxy", ["http://[proxy", "a proxy", "ftp://proxy"])
def test_a_proxy_that_is_none_is_told(server: Cluster, tmp_path: Path, template: Path, proxy: str) -> None:
    process = start(server, tmp_path, "publish", template, HTTPS_PROXY=proxy, NO_PROXY="")
    talk = ended(process, 9, "the proxy failed: .*\nhint: check HTTPS_PROXY and NO_PROXY")
    assert talk == ""


def test_a_redirect_to_no_address_is_told(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.answers.append(Injected(Answer(302, "Found", headers={"Location": "https://[bad"}), times=9))
    ended(
        start(server, tmp_path, "publish", template),
        9,
        "GET /version is redirected to an invalid address: Invalid IPv6 URL",
    )


def test_a_task_that_dies_after_its_work_leaves_it_to_the_nodes_checksum(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(killed=True)
    told = (
        "failed on the node: the task ended without a status; .*\nhint: run the same command again: the node compares"
    )
    ended(start(server, tmp_path, "publish", template), 9, told)
    assert ended(start(server, tmp_path, "publish", template), 0, "already exists") == f"local:vztmpl/{NAME}\n"


def test_a_proxy_that_has_had_enough_is_asked_again(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.answers.append(Injected(Answer(429, "Too Many Requests"), method="GET", times=2))
    ended(start(server, tmp_path, "publish", template), 0, "is published")


def test_a_token_that_sees_no_storage_is_told_where_to_look(tmp_path: Path, template: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    with Cluster(tokens=[token], acl=[Acl("/", "ci@pve", EVERYTHING)]) as server:
        told = "no node of 127.0.0.1:.* has a storage 'local', or the token cannot see it\nhint: `lxcast doctor "
        ended(start(server, tmp_path, "publish", template, "--all-nodes"), 6, told)
        role = "403 Permission check failed .*\nhint: grant it to the token ci@pve!lxcast and to its user: pveum acl"
        ended(start(server, tmp_path, "list", "--storage", "proxmox:"), 9, role)


def test_a_node_is_reached_by_its_ipv6_address(tmp_path: Path, template: Path) -> None:
    with Cluster(host="::1", names=("::1",)) as server:
        own = {"NO_PROXY": "::1"}
        ended(start(server, tmp_path, "publish", template, **own), 0, "is published")
        untrusting = {**own, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
        ended(start(server, tmp_path, "list", "--storage", "proxmox:", **untrusting), 9, server.fingerprint)
        pinned = start(server, tmp_path, "doctor", "--fingerprint", server.fingerprint, **untrusting)
        ended(pinned, 0, "checking")


def test_records_that_cannot_be_written_are_told_before_anything_is_done(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    (tmp_path / "records").write_text("no folder")
    place = ("--storage", "proxmox:", "--records", tmp_path / "records")
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    ended(start(server, tmp_path, "publish", template, *place), 6, "records exists and is not a directory")
    ended(start(server, tmp_path, "build", source, "--name", "web", *place), 6, "records exists and is not a directory")
    assert server.tasks.all == []
    (server.storages["local"].folder("pve") / NAME).write_bytes(b"x")
    ended(start(server, tmp_path, "remove", NAME, *place, "--apply"), 6, "records exists and is not a directory")
    assert held(server, NAME) == b"x"


def test_a_folder_is_no_template(server: Cluster, tmp_path: Path) -> None:
    ended(start(server, tmp_path, "publish", "."), 2, r"\. is a directory, not a template")


def test_a_token_of_a_disabled_user_or_without_a_name_is_told(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.token.enabled = False
    ended(start(server, tmp_path, "publish", template), 9, "401 Authentication failed!")
    ended(start(server, tmp_path, "publish", template, PM_API_TOKEN_ID="tester@pve"), 2, "expected USER@REALM!NAME")
    ended(start(server, tmp_path, "publish", template, PM_API_TOKEN_SECRET=""), 2, "no PM_API_TOKEN_SECRET")


def test_each_state_of_a_storage_that_takes_no_template_has_its_words(tmp_path: Path, template: Path) -> None:
    with Cluster(acl=[Acl("/", "tester@pve", EVERYTHING)]) as server:
        local = server.storages["local"]
        local.content = ("iso", "backup")
        ended(start(server, tmp_path, "publish", template), 6, "does not accept templates .*content: iso,backup")
        local.content = ("vztmpl",)
        local.enabled = False
        ended(start(server, tmp_path, "publish", template), 6, "is disabled")
        local.enabled = True
        told = lxcast("publish", template, "--json", environ=access(server, tmp_path))
        assert json.loads(told.stdout)["nodes"] == [{"node": "pve", "state": "uploaded", "verified": True}]


def test_the_loser_of_a_race_is_told_to_wait_and_not_to_remove_the_winners_template(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    """While the other upload copies, its file has another size, and looks like the rest of a failed one."""
    server.faults.tasks["imgcopy"] = TaskFault(seconds=3600)
    winner = start(server, tmp_path, "publish", template)
    while not server.tasks.all:
        assert winner.poll() is None
        time.sleep(0.05)
    (server.storages["local"].folder("pve") / NAME).write_bytes(template.read_bytes()[:100])
    wait = r"with 100 bytes.*\nhint: task UPID:.* is writing it: wait"
    ended(start(server, tmp_path, "publish", template), 7, wait, never="pvesm free")
    winner.terminate()
    winner.communicate()


def test_a_template_that_another_upload_finished_is_never_to_be_removed(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    ended(start(server, tmp_path, "publish", template), 0, "is published")
    other = make_template(tmp_path / "other", content=b"other content of another size" * 99)
    words = ("publish", other, "--records", "elsewhere")
    ended(start(server, tmp_path, *words), 7, "a published name never changes", never="pvesm free")


def test_what_a_failed_upload_left_is_to_be_removed(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(error="import failed: broken pipe")
    ended(start(server, tmp_path, "publish", template), 9, "broken pipe")
    server.faults.tasks.clear()
    (server.storages["local"].folder("pve") / NAME).write_bytes(b"half")
    ended(start(server, tmp_path, "publish", template), 7, "pvesm free local:vztmpl/debian-12-v1.tar.zst")
