"""The rows of STRICTNESS on storages, tokens and tasks: each test is named after its row."""

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from lxcast.testing import Acl, Cluster, Storage, TaskFault, Token
from tests.unit.testing.raw import CONTENT, FILE, Reply, answered, delete, form, get, post, stored, upload

LOCAL = "/nodes/pve/storage/local"
DATA = b"template" * 100


def send_file(server: Cluster, name: str = "x.tar.zst", data: bytes = DATA, *fields: bytes) -> int:
    return answered(upload(server, form(CONTENT, *fields, FILE.replace(b"x.tar.zst", name.encode()) + data))).status


def checksum(data: bytes, algorithm: str = "sha256") -> tuple[bytes, bytes]:
    named = b'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    value = hashlib.new(algorithm, data).hexdigest().upper().encode()
    return named % (b"checksum-algorithm", algorithm.encode()), named % (b"checksum", value)


def outcome(server: Cluster) -> str:
    """The exit status of the newest task."""
    server.tasks.wait()
    return server.tasks.all[-1].exitstatus


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with x.tar.zst."""
    (tmp_path / "x.tar.zst").write_bytes(DATA)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a b.tar.gz", "a_b.tar.gz"),
        ("x+up1.tar.zst", "x_up1.tar.zst"),
        ("é.tar", "__.tar"),
        ("../dir/x.tar.xz", "x.tar.xz"),
        ("c:\\dir\\x.tar.bz2", "x.tar.bz2"),
    ],
)
def test_file_name(server: Cluster, name: str, kept: str) -> None:
    assert send_file(server, name) == 200
    assert stored(server, kept) == DATA
    (volume,) = get(server, f"{LOCAL}/content?content=vztmpl").json["data"]
    assert volume["volid"] == f"local:vztmpl/{kept}"


def test_file_extension(server: Cluster) -> None:
    for name in ("x.tgz", "x.tar.lzo", "x.zst", "x"):
        reply = answered(upload(server, form(CONTENT, FILE.replace(b"x.tar.zst", name.encode()) + DATA)))
        assert (reply.status, reply.json["errors"]) == (400, {"filename": "wrong file extension"})
    assert send_file(server, "X.TAR.GZ") == 200
    server.tasks.wait()
    post(server, "/nodes/pve/lxc", "vmid=100&ostemplate=local:vztmpl/X.TAR.GZ&rootfs=local:8")
    assert "does not look like a template archive" in outcome(server)
    formats = {"a.tar": "tar", "b.tar.gz": "tgz", "c.tar.xz": "txz", "d.tar.zst": "tzst", "e.tar.bz2": "tbz2"}
    for name in formats:
        send_file(server, name)
    server.tasks.wait()
    listed = get(server, f"{LOCAL}/content?content=vztmpl").json["data"]
    assert formats.items() <= {each["volid"].partition("/")[2]: each["format"] for each in listed}.items()


def test_overwrite(server: Cluster) -> None:
    send_file(server)
    assert stored(server) == DATA
    assert send_file(server, data=b"other") == 200
    assert stored(server) == b"other"


def test_storage_ready(server: Cluster) -> None:
    server.add_storage(Storage("off", enabled=False))
    server.add_storage(Storage("elsewhere", nodes=("other",)))
    server.add_storage(Storage("thin", type="lvmthin", content=("rootdir",)))
    server.add_storage(Storage("images", content=("iso",)))
    said = {
        "off": "storage 'off' is disabled\n",
        "elsewhere": "storage 'elsewhere' is not available on node 'pve'\n",
        "thin": "can't upload to storage type 'lvmthin'\n",
        "images": "storage 'images' does not support 'vztmpl' content\n",
        "none": "storage 'none' does not exist\n",
    }
    for name, message in said.items():
        path = f"/api2/json/nodes/pve/storage/{name}/upload"
        reply = answered(upload(server, form(CONTENT, FILE + DATA), path=path))
        assert (reply.status, reply.json["message"]) == (500, message)


def test_listing_privilege(server: Cluster) -> None:
    server.access.acl[:] = [Acl("/storage/local", "tester@pve", ("Datastore.AllocateTemplate",))]
    assert send_file(server) == 200
    assert stored(server) == DATA
    reply = get(server, f"{LOCAL}/content")
    assert (reply.status, reply.json["data"]) == (403, None)
    assert reply.json["message"] == (
        "Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)\n"
    )
    server.access.acl.append(Acl("/storage/local", "tester@pve", ("Datastore.Audit",)))
    assert get(server, f"{LOCAL}/content").status == 200


def test_hidden_names(server: Cluster) -> None:
    assert send_file(server, ".x.tar.zst") == 200
    assert stored(server, ".x.tar.zst") == DATA
    assert get(server, f"{LOCAL}/content").json["data"] == []


def test_rounded_size(server: Cluster) -> None:
    send_file(server, data=bytes(1000))
    server.tasks.wait()
    (listed,) = get(server, f"{LOCAL}/content").json["data"]
    assert (listed["size"], abs(listed["ctime"] - time.time()) < 60) == (1000, True)
    assert get(server, f"{LOCAL}/content/local:vztmpl/x.tar.zst").json["data"]["size"] == 1024
    missing = get(server, f"{LOCAL}/content/vztmpl/y.tar.zst")
    assert (missing.status, missing.json["message"].endswith("no format\n")) == (500, True)


def test_delete_privilege(server: Cluster) -> None:
    send_file(server)
    server.tasks.wait()
    volid = quote("local:vztmpl/x.tar.zst", safe="")
    assert delete(server, f"{LOCAL}/content/{volid}?delay=5").json["data"] is None
    assert stored(server) is None
    assert delete(server, f"{LOCAL}/content/vztmpl/x.tar.zst?delay=5").json["data"] is None
    assert delete(server, f"{LOCAL}/content/vztmpl/x.tar.zst").json["data"].startswith("UPID:pve:")
    server.access.acl[:] = [Acl("/", "tester@pve", ("Datastore.AllocateTemplate", "Datastore.Audit"))]
    assert delete(server, f"{LOCAL}/content/{volid}?delay=5").status == 403


def test_download_keeps(server: Cluster, web: str) -> None:
    call = f"content=vztmpl&filename=x.tar.zst&url={quote(web + '/x.tar.zst')}"
    digest = hashlib.sha256(DATA).hexdigest()
    wrong = f"{call}&checksum-algorithm=sha256&checksum={'0' * 64}"
    assert post(server, f"{LOCAL}/download-url", wrong).status == 200
    assert outcome(server) == f"checksum mismatch: got '{digest}' != expect '{'0' * 64}'"
    assert stored(server) is None
    post(server, f"{LOCAL}/download-url", call)
    assert (outcome(server), stored(server)) == ("OK", DATA)
    post(server, f"{LOCAL}/download-url", call)
    assert outcome(server).startswith("refusing to override existing file")
    post(server, f"{LOCAL}/download-url", wrong)
    assert outcome(server) == f"checksum mismatch: got '{digest}' != expect '{'0' * 64}', aborting"
    right = f"{call}&checksum-algorithm=sha256&checksum={digest.upper()}".replace("x.tar.zst&checksum", "gone&checksum")
    post(server, f"{LOCAL}/download-url", right)
    assert (outcome(server), stored(server)) == ("OK", DATA)
    post(server, f"{LOCAL}/download-url", call.replace("x.tar.zst", "y.tar.zst"))
    assert outcome(server).startswith("download failed: ")
    post(server, f"{LOCAL}/download-url", f"{call}&compression=zst")
    assert outcome(server) == "decompression not supported for vztmpl"


def test_a_node_tells_what_a_url_has(server: Cluster, web: str) -> None:
    def ask_about(name: str) -> Reply:
        return get(server, f"/nodes/pve/query-url-metadata?url={quote(f'{web}/{name}')}")

    assert ask_about("x.tar.zst").json["data"].items() >= {"filename": "x.tar.zst", "size": len(DATA)}.items()
    assert ask_about("y.tar.zst").json["message"].startswith("invalid server response: 'HTTP Error 404")
    server.access.acl[:] = [Acl("/", "tester@pve", ("Sys.Audit",))]
    assert ask_about("x.tar.zst").status == 403


def test_a_download_verifies_the_certificate_unless_told_not_to(server: Cluster, tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(tmp_path))
    ) as other:
        (tmp_path / "y.tar.zst").write_bytes(DATA)
        other.socket = server.certificate.context().wrap_socket(other.socket, server_side=True)
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        url = quote(f"https://127.0.0.1:{other.server_address[1]}/y.tar.zst")
        call = f"content=vztmpl&filename=y.tar.zst&url={url}"
        post(server, f"{LOCAL}/download-url", call)
        assert "certificate verify failed" in outcome(server)
        post(server, f"{LOCAL}/download-url", f"{call}&verify-certificates=0")
        assert (outcome(server), stored(server, "y.tar.zst")) == ("OK", DATA)
        other.shutdown()
        thread.join()


def test_download_privilege(server: Cluster, web: str) -> None:
    call = f"content=vztmpl&filename=x.tar.zst&url={quote(web + '/x.tar.zst')}"
    template = Acl("/storage/local", "tester@pve", ("Datastore.AllocateTemplate",))
    server.access.acl[:] = [template]
    assert post(server, f"{LOCAL}/download-url", call).status == 403
    server.access.acl[:] = [template, Acl("/nodes/pve", "tester@pve", ("Sys.AccessNetwork",))]
    assert post(server, f"{LOCAL}/download-url", call).status == 200
    server.access.acl[:] = [template, Acl("/", "tester@pve", ("Sys.Audit", "Sys.Modify"))]
    assert post(server, f"{LOCAL}/download-url", call).status == 200


@pytest.mark.parametrize("separator", ["=", " "])
def test_token_form(server: Cluster, separator: str) -> None:
    right = f"PVEAPIToken{separator}{server.token.id}={server.token.secret}"
    assert get(server, "/version", authorization=right).status == 200
    for authorization, said in (("", "No ticket"), (f"{right}x", "Authentication failed!"), ("Basic x", "No ticket")):
        reply = get(server, "/version", authorization=authorization)
        assert (reply.status, reply.reason, reply.body) == (401, said, b"")
    server.token.expire = int(time.time()) - 1
    assert get(server, "/version", authorization=right).reason == "Authentication failed!"
    server.token.expire, server.token.enabled = 0, False
    assert get(server, "/version", authorization=right).reason == "Authentication failed!"
    with pytest.raises(ValueError, match="invalid token id"):
        Token("tester@pve!1", "secret")


def test_token_privileges(server: Cluster) -> None:
    ci = Token("ci@pve!upload", "secret")
    server.access.tokens[ci.id] = ci
    authorization = "PVEAPIToken=ci@pve!upload=secret"

    def told() -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = get(
            server, "/access/permissions?path=/storage/local", authorization=authorization
        ).json["data"]
        return found

    server.access.acl.append(Acl("/storage", "ci@pve", ("PVEDatastoreUser", "Datastore.AllocateTemplate")))
    assert told() == {"/storage/local": {}}
    assert get(server, f"{LOCAL}/content", authorization=authorization).status == 403
    server.access.acl.append(Acl("/storage/local", ci.id, ("Datastore.AllocateTemplate", "Datastore.Allocate")))
    assert told() == {"/storage/local": {"Datastore.AllocateTemplate": 1}}
    ci.privsep = False
    assert [*told()["/storage/local"]] == ["Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit"]
    server.access.acl.append(Acl("/storage/local", "ci@pve", ("Datastore.Audit",)))
    assert told() == {"/storage/local": {"Datastore.Audit": 1}}
    assert get(server, "/storage", authorization=authorization).json["data"][0]["storage"] == "local"


@pytest.mark.parametrize(
    ("fault", "exitstatus", "last"),
    [
        (TaskFault(), "OK", "TASK OK"),
        (
            TaskFault(error="import failed: broken pipe"),
            "import failed: broken pipe",
            "TASK ERROR: import failed: broken pipe",
        ),
        (TaskFault(warnings=2), "WARNINGS: 2", "TASK WARNINGS: 2"),
        (TaskFault(killed=True), "unexpected status", "finished file import successfully"),
        (TaskFault(missing=10), "OK", "TASK OK"),
    ],
)
def test_task_outcome(server: Cluster, fault: TaskFault, exitstatus: str, last: str) -> None:
    server.faults.tasks["imgcopy"] = fault
    assert send_file(server) == 200
    server.tasks.wait()
    upid = quote(server.tasks.all[0].upid, safe="")
    told = get(server, f"/nodes/pve/tasks/{upid}/status").json["data"]
    assert (told["status"], told["exitstatus"], told["type"], told["id"]) == ("stopped", exitstatus, "imgcopy", "")
    assert (told["user"], told["tokenid"]) == ("tester@pve", "lxcast")
    assert get(server, f"/nodes/pve/tasks/{upid}/log").json["data"][-1]["t"] == last
    assert stored(server) == (None if fault.error else DATA[: len(DATA) - fault.missing])


def test_a_task_that_runs_has_no_exit_status(server: Cluster) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(seconds=0.4)
    send_file(server)
    (task,) = server.tasks.all
    told = get(server, f"/nodes/pve/tasks/{quote(task.upid)}/status").json["data"]
    assert (told["status"], "exitstatus" in told) == ("running", False)
    assert get(server, "/nodes/pve/tasks").json["data"] == []
    (active,) = get(server, "/nodes/pve/tasks?source=active&typefilter=imgcopy").json["data"]
    assert (active["upid"], active["status"]) == (task.upid, "RUNNING")
    server.tasks.wait()
    (ended,) = get(server, "/nodes/pve/tasks").json["data"]
    assert (ended["status"], ended["endtime"] >= ended["starttime"]) == ("OK", True)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_the_checksum_is_compared_in_the_task(server: Cluster, algorithm: str) -> None:
    assert send_file(server, "x.tar.zst", DATA, *checksum(DATA, algorithm)) == 200
    assert (outcome(server), stored(server)) == ("OK", DATA)
    assert send_file(server, "y.tar.zst", DATA, *checksum(b"other", algorithm)) == 200
    assert outcome(server).startswith("checksum mismatch: got '")
    assert stored(server, "y.tar.zst") is None


def test_a_full_storage_fails_the_task_and_loses_the_file(server: Cluster) -> None:
    send_file(server)
    assert stored(server) == DATA
    server.storages["local"].total = len(DATA) + 100
    assert get(server, f"{LOCAL}/status").json["data"]["avail"] == 100
    send_file(server, data=DATA + bytes(200))
    assert "No space left on device" in outcome(server)
    assert stored(server) is None


def test_task_log_limit(server: Cluster) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(warnings=100)
    send_file(server)
    server.tasks.wait()
    path = f"/nodes/pve/tasks/{quote(server.tasks.all[0].upid)}/log"
    first = get(server, path).json
    everything = get(server, f"{path}?limit=0").json["data"]
    assert (len(first["data"]), first["total"], len(everything)) == (50, len(everything), len(everything))
    assert everything[-1] == {"n": len(everything), "t": "TASK WARNINGS: 100"}
    assert get(server, f"{path}?start=60&limit=2").json["data"] == everything[60:62]


def test_task_owner(server: Cluster) -> None:
    server.access.tokens["ci@pve!upload"] = Token("ci@pve!upload", "secret", privsep=False)
    other = "PVEAPIToken=ci@pve!upload=secret"
    send_file(server)
    server.tasks.wait()
    path = f"/nodes/pve/tasks/{quote(server.tasks.all[0].upid)}/status"
    assert get(server, "/nodes/pve/tasks", authorization=other).json["data"] == []
    assert get(server, path, authorization=other).status == 403
    server.access.acl.append(Acl("/nodes/pve", "ci@pve", ("Sys.Audit",)))
    assert len(get(server, "/nodes/pve/tasks", authorization=other).json["data"]) == 1
    assert get(server, path, authorization=other).status == 200


def test_task_unknown(server: Cluster) -> None:
    unknown = quote("UPID:pve:00001000:00000000:00000000:imgcopy::tester@pve!lxcast:")
    assert get(server, f"/nodes/pve/tasks/{unknown}/status").json["errors"] == {"upid": "no such task"}
    reply = get(server, "/nodes/pve/tasks/UPID:pve/status")
    assert (reply.status, reply.json["errors"]) == (400, {"upid": "unable to parse worker upid"})


def test_delete_task(server: Cluster) -> None:
    send_file(server)
    server.tasks.wait()
    volume = f"{LOCAL}/content/vztmpl/x.tar.zst"
    server.faults.tasks["imgdel"] = TaskFault(error="unable to remove it")
    refused = delete(server, f"{volume}?delay=5")
    assert (refused.status, refused.json["message"]) == (500, "unable to remove it\n")
    assert stored(server, "x.tar.zst")
    server.faults.tasks["imgdel"] = TaskFault(seconds=1.2)
    upid = delete(server, f"{volume}?delay=1").json["data"]
    assert (server.tasks.all[-1].upid, server.tasks.all[-1].type, server.tasks.all[-1].id) == (upid, "imgdel", "local")
    assert outcome(server) == "OK"
    assert get(server, f"/nodes/pve/tasks/{quote(upid, safe='')}/status").json["data"]["exitstatus"] == "OK"
    for wrong in ("0", "31"):
        assert delete(server, f"{volume}?delay={wrong}").status == 400


def test_configuration_privilege(server: Cluster) -> None:
    assert get(server, "/storage/local").json["data"]["path"] == "/var/lib/vz"
    server.access.acl[:] = [Acl("/", "tester@pve", ("Datastore.Audit",))]
    assert get(server, "/storage/local").status == 403
    assert [each["path"] for each in get(server, "/storage").json["data"]] == ["/var/lib/vz"]


def test_task_list_limit(server: Cluster) -> None:
    for number in range(3):
        send_file(server, f"x-v{number}.tar.zst")
        server.tasks.wait()
    tasks = "/nodes/pve/tasks?source=all&typefilter=imgcopy"
    assert [each["upid"] for each in get(server, f"{tasks}&limit=2").json["data"]] == [
        each.upid for each in server.tasks.all[:0:-1]
    ]
    assert get(server, f"{tasks}&limit=0").json["data"] == []
    assert len(get(server, tasks).json["data"]) == 3


def test_create_log(server: Cluster) -> None:
    send_file(server)
    server.tasks.wait()
    made = post(server, "/nodes/pve/lxc", "vmid=100&ostemplate=local:vztmpl/x.tar.zst")
    server.tasks.wait()
    log = get(server, f"/nodes/pve/tasks/{quote(made.json['data'], safe='')}/log").json["data"]
    assert "extracting archive '/var/lib/vz/template/cache/x.tar.zst'" in [line["t"] for line in log]
    assert "x.tar.zst" not in str(get(server, "/nodes/pve/lxc/100/config").json)


def test_files_that_come_and_go_are_no_error_of_who_counts(server: Cluster) -> None:
    storage = server.storages["local"]
    here, there = (storage.folder("pve") / name for name in ("x.tar", "y.tar"))
    here.parent.mkdir(parents=True, exist_ok=True)
    counted = threading.Event()

    def come_and_go() -> None:
        while not counted.is_set():
            here.write_bytes(b"1234")
            here.rename(there)
            there.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {storage.used("pve") for _ in range(2000)} <= {0, 4, 8}
        assert all(len(storage.listing("pve")) <= 2 for _ in range(2000))
    finally:
        counted.set()
        other.join()
