"""What a test may build: nodes that go down and come back, shared storages, containers; and the module as a program."""

import hashlib
import json
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from lxcast.testing import STRICTNESS, Acl, Cluster, Storage
from tests.unit.testing.raw import CONTENT, FILE, answered, connect, delete, form, get, head, post, receive, upload

DATA = b"template"


def test_every_row_of_the_table_is_shown_by_a_test_of_its_name() -> None:
    tests = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_strict_*.py"))
    named = set(re.findall(r"def test_(\w+)\(", tests))
    assert [row.id for row in STRICTNESS if row.id.replace("-", "_") not in named] == []
    assert len({row.id for row in STRICTNESS}) == len(STRICTNESS)


def test_each_node_answers_for_all_and_a_node_may_be_down(tmp_path: Path) -> None:
    nfs = Storage("nfs", type="nfs", shared=True, path=tmp_path)
    with Cluster(("one", "two"), [Storage("local"), nfs]) as server:
        for storage in ("local", "nfs"):
            path = f"/api2/json/nodes/two/storage/{storage}/upload"
            assert answered(upload(server, form(CONTENT, FILE + DATA), path=path)).status == 200
        server.tasks.wait()
        # An upload's task is one of the node that took it, wherever the file went.
        assert {task.node for task in server.tasks.all} == {"one"}
        assert len(get(server, "/nodes/two/storage/local/content").json["data"]) == 1
        assert get(server, "/nodes/one/storage/local/content").json["data"] == []
        assert len(get(server, "/nodes/one/storage/nfs/content").json["data"]) == 1
        port = server.url_of("two")
        server.stop("two")
        assert [node["status"] for node in get(server, "/nodes").json["data"]] == ["online", "offline"]
        down = get(server, "/nodes/two/storage")
        assert (down.status, down.reason, down.body) == (595, "Connection refused", b"")
        with pytest.raises(requests.ConnectionError):
            requests.get(port, timeout=60)
        server.start("two")
        assert server.url_of("two") == port
        assert get(server, "/nodes/two/storage").status == 200


def test_resources_show_each_storage_of_each_node() -> None:
    with Cluster(
        ("one", "two"), [Storage("local"), Storage("nfs", shared=True), Storage("off", enabled=False)]
    ) as server:
        server.stop("two")
        found = get(server, "/cluster/resources?type=storage").json["data"]
        assert [(each["id"], each["shared"], each["status"]) for each in found] == [
            ("storage/one/local", 0, "available"),
            ("storage/one/nfs", 1, "available"),
            ("storage/two/local", 0, "unknown"),
            ("storage/two/nfs", 1, "unknown"),
        ]
        configured = get(server, "/storage").json["data"]
        assert {each["storage"]: each.get("disable", 0) for each in configured} == {"local": 0, "nfs": 0, "off": 1}
        assert {"ssl_fingerprint"} <= get(server, "/nodes").json["data"][0].keys()
        enabled = get(server, "/nodes/one/storage?content=vztmpl&enabled=1").json["data"]
        assert [each["storage"] for each in enabled] == ["local", "nfs"]
        assert get(server, "/nodes/one/storage?content=backup").json["data"] == []


def test_the_certificate_is_verified_by_its_authority_and_has_the_printed_fingerprint(server: Cluster) -> None:
    with connect(server) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        der = sock.getpeercert(binary_form=True) or b""
        assert (sock.version() or "") in {"TLSv1.2", "TLSv1.3"}
    assert server.fingerprint == hashlib.sha256(der).digest().hex(":").upper()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.url, timeout=60)
    # A client that hangs up in the handshake does the server no harm.
    assert get(server, "/version").status == 200


def test_a_container_is_made_changed_and_destroyed(server: Cluster) -> None:
    upload(server, form(CONTENT, FILE + DATA))
    server.tasks.wait()
    assert get(server, "/cluster/nextid").json["data"] == "100"
    call = "vmid=100&ostemplate=local:vztmpl/x.tar.zst&rootfs=volume%3Dlocal:8&hostname=web&start=1&memory=1024"
    call += "&description=web+server&mp0=ro%3D1,mp%3D/data,volume%3D/srv/data"
    reply = post(server, "/nodes/pve/lxc", f"{call}&net0=name%3Deth0,bridge%3Dvmbr0,ip%3D192.0.2.7/24&password=secret")
    assert reply.status == 200
    server.tasks.wait()
    task = server.tasks.find(reply.json["data"])
    assert task is not None
    assert (task.type, task.id, task.exitstatus) == ("vzcreate", "100", "OK")
    assert any(line.startswith("extracting archive '") and line.endswith("/x.tar.zst'") for line in task.log)
    config = get(server, "/nodes/pve/lxc/100/config").json["data"]
    assert (config["hostname"], config["memory"], config["rootfs"]) == (
        "web",
        1024,
        "local:100/vm-100-disk-0.raw,size=8G",
    )
    assert config["description"] == "web server\n"
    assert "password" not in config
    assert "hwaddr=BC:24:11" in config["net0"]
    assert config["mp0"] == "/srv/data,mp=/data,ro=1"
    assert get(server, "/nodes/pve/lxc/100/status/current").json["data"]["status"] == "running"
    assert get(server, "/nodes/pve/lxc/100/interfaces").json["data"][0]["ip-addresses"][0]["ip-address"] == "192.0.2.7"
    assert get(server, "/cluster/nextid").json["data"] == "101"
    assert "already exists" in post(server, "/nodes/pve/lxc", call).json["message"]
    assert delete(server, "/nodes/pve/lxc/100").status == 500
    post(server, "/nodes/pve/lxc/100/status/stop", "")
    server.tasks.wait()
    assert delete(server, "/nodes/pve/lxc/100").status == 200
    server.tasks.wait()
    missing = get(server, "/nodes/pve/lxc/100/config")
    assert missing.json["message"] == "Configuration file 'nodes/pve/lxc/100.conf' does not exist\n"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rootfs=local:8", "local:100/vm-100-disk-0.raw,size=8G"),
        ("rootfs=volume%3Dlocal:8,acl%3D1", "local:100/vm-100-disk-0.raw,acl=1,size=8G"),
        ("rootfs=8&storage=thin", "thin:vm-100-disk-0,size=8G"),
        ("storage=thin", "thin:vm-100-disk-0,size=4G"),
    ],
)
def test_the_root_file_system_lies_where_the_call_says(server: Cluster, given: str, kept: str) -> None:
    server.add_storage(Storage("thin", type="lvmthin", content=("rootdir",)))
    (server.storages["local"].folder("pve") / "x.tar.zst").touch()
    assert post(server, "/nodes/pve/lxc", f"vmid=100&ostemplate=local:vztmpl/x.tar.zst&{given}").status == 200
    assert get(server, "/nodes/pve/lxc/100/config").json["data"]["rootfs"] == kept


def test_a_container_of_a_missing_template_is_not_made(server: Cluster) -> None:
    post(server, "/nodes/pve/lxc", "vmid=100&ostemplate=local:vztmpl/x.tar.zst&rootfs=local:8")
    server.tasks.wait()
    assert server.tasks.all[0].exitstatus.startswith("unable to create CT 100 - volume")
    assert get(server, "/nodes/pve/lxc").json["data"] == []
    server.access.acl[:] = [Acl("/storage", "tester@pve", ("PVEDatastoreAdmin",))]
    reply = post(server, "/nodes/pve/lxc", "vmid=100&ostemplate=local:vztmpl/x.tar.zst&rootfs=local:8")
    assert (reply.status, reply.json["message"]) == (403, "Permission check failed (/vms/100, VM.Allocate)\n")


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lxcast.testing", "--state", str(tmp_path / "state"), "--node", "a", "--node", "b"]
    command += ["--storage", "local", "--storage", "nfs,type=nfs,shared,content=vztmpl+iso,total=1000000"]
    command += ["--task", "imgcopy:warnings=1", "--grant", "/storage=PVEDatastoreAdmin"]
    fingerprints = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            told = json.loads(running.stdout.readline())
            headers = {"Authorization": f"PVEAPIToken={told['token_id']}={told['token_secret']}"}
            url = f"{told['nodes']['b']}/api2/json/nodes/b/storage/nfs"
            status = requests.get(f"{url}/status", headers=headers, verify=told["ca"], timeout=60).json()["data"]
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
        assert (status["total"], status["shared"], status["content"]) == (1000000, 1, "vztmpl,iso")
        assert told["storages"] == ["local", "nfs"]
        fingerprints.append(told["fingerprint"])
    assert fingerprints[0] == fingerprints[1]


@pytest.mark.parametrize("arguments", [["--storage", "local,colour=red"], ["--task", "imgcopy:x=1"], ["--grant", "x"]])
def test_the_program_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "lxcast.testing", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: argument" in done.stderr


def test_nothing_of_the_server_is_left(tmp_path: Path) -> None:
    with Cluster() as server:
        state = server.directory
        assert state.is_dir()
    assert not state.exists()
    with Cluster(state=tmp_path / "kept"):
        pass
    assert (tmp_path / "kept" / "certificate").is_dir()


def test_a_server_that_goes_down_breaks_an_upload_and_keeps_nothing_of_it(server: Cluster) -> None:
    body = form(CONTENT, FILE + DATA * 1000)
    with connect(server) as sock:
        sock.sendall(head(server, len(body)) + body[:2000])
        while not [*server.temporary("pve").glob("*")]:
            time.sleep(0.01)
        server.stop("pve")
        assert receive(sock) is None
    server.start("pve")
    assert get(server, "/nodes/pve/tasks?source=all").json["data"] == []
    assert answered(upload(server, body)).status == 200
