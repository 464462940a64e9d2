import gzip
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.tar.member import regular
from lxcast.testing import EVERYTHING, Acl, Answer, Cluster, Injected, Storage, TaskFault, Token
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import COMMAND, archive, environment, lxcast, wait_for
from tests.unit.rootfs.filesystems import minimal_debian, without

NAME = "debian-12-v1.tar.zst"
VOLID = f"local:vztmpl/{NAME}"
ROLE = ("Datastore.AllocateTemplate", "Datastore.Audit", "Sys.Audit", "Sys.AccessNetwork")


def publish(server: Cluster, tmp_path: Path, file: Path, *more: str | Path, **environ: str) -> CompletedProcess[str]:
    told = lxcast("publish", file, *more, cwd=tmp_path, environ=access(server, tmp_path, **environ))
    everything = told.stdout + told.stderr
    assert "bug in lxcast" not in everything
    assert server.token.secret not in everything
    return told


def failed(told: CompletedProcess[str], code: int, said: str) -> None:
    assert re.search(said, told.stderr), told.stderr
    assert "hint: " in told.stderr
    assert (told.returncode, told.stdout) == (code, "")


def record_of(tmp_path: Path) -> Path | None:
    return next(tmp_path.glob(".local/state/lxcast/*/local/debian-12-v1.json"), None)


def test_the_id_is_printed_and_the_storage_holds_the_bytes(server: Cluster, tmp_path: Path, template: Path) -> None:
    told = publish(server, tmp_path, template)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n"), told.stderr
    assert held(server, NAME) == template.read_bytes()
    record = record_of(tmp_path)
    assert record
    assert json.loads(record.read_text())["template_id"] == VOLID
    assert list(server.temporary("pve").iterdir()) == []


def test_the_same_bytes_again_are_a_success_without_an_upload(server: Cluster, tmp_path: Path, template: Path) -> None:
    publish(server, tmp_path, template)
    again = publish(server, tmp_path, template, "--json")
    document = json.loads(again.stdout)
    assert document["nodes"] == [{"node": "pve", "state": "present", "verified": True}]
    assert document["sha256"] == hashlib.sha256(template.read_bytes()).hexdigest()
    assert [task.type for task in server.tasks.all] == ["imgcopy", "download"]


def test_other_bytes_of_the_same_size_are_a_conflict_that_the_node_proves(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    other = b"\0" * template.stat().st_size
    (server.storages["local"].folder("pve") / NAME).write_bytes(other)
    failed(publish(server, tmp_path, template), 7, f"sha256 {hashlib.sha256(other).hexdigest()}")
    assert held(server, NAME) == other


def test_without_the_nodes_word_the_record_decides(tmp_path: Path, template: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    grants = ("Datastore.AllocateTemplate", "Datastore.Audit")
    acl = [Acl("/", "ci@pve", EVERYTHING), Acl("/storage/local", token.id, grants)]
    with Cluster(tokens=[token], acl=acl) as server:
        first = publish(server, tmp_path, template, "--json")
        assert json.loads(first.stdout)["nodes"] == [{"node": "pve", "state": "uploaded", "verified": False}]
        assert "cannot see the uploads of other users" in first.stderr
        assert publish(server, tmp_path, template).returncode == 0
        record = record_of(tmp_path)
        assert record
        record.unlink()
        failed(publish(server, tmp_path, template), 7, "its content cannot be compared")
        assert len(server.tasks.all) == 1


def test_a_record_speaks_for_the_nodes_that_it_names_alone(tmp_path: Path, template: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    grants = ("Datastore.AllocateTemplate", "Datastore.Audit")
    acl = [Acl("/", "ci@pve", EVERYTHING), Acl("/storage/local", token.id, grants)]
    with Cluster(("a", "b"), tokens=[token], acl=acl) as server:
        assert publish(server, tmp_path, template).returncode == 0
        (server.storages["local"].folder("b") / NAME).write_bytes(b"\0" * template.stat().st_size)
        failed(publish(server, tmp_path, template, "--node", "b"), 7, "its content cannot be compared")
        assert publish(server, tmp_path, template, "--node", "a").returncode == 0


def test_a_name_that_was_published_stays_with_its_bytes_when_it_is_removed(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    assert publish(server, tmp_path, template).returncode == 0
    (server.storages["local"].folder("pve") / NAME).unlink()
    other = tmp_path / "other" / NAME
    other.parent.mkdir()
    other.write_bytes(b"other")
    failed(publish(server, tmp_path, other, "--no-check"), 7, "was published with sha256")
    assert held(server, NAME) is None


def test_a_name_with_another_size_is_a_conflict(server: Cluster, tmp_path: Path, template: Path) -> None:
    (server.storages["local"].folder("pve") / NAME).write_bytes(b"other")
    failed(publish(server, tmp_path, template), 7, "exists on pve with 5 bytes")
    assert held(server, NAME) == b"other"


def test_a_token_that_the_server_does_not_know_is_refused(server: Cluster, tmp_path: Path, template: Path) -> None:
    failed(publish(server, tmp_path, template, PM_API_TOKEN_SECRET="2" * 36), 9, "401")


def test_an_expired_token_is_refused(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.token.expire = 1
    failed(publish(server, tmp_path, template), 9, "401.*Authentication failed")


def test_a_token_with_privilege_separation_needs_its_own_permissions(tmp_path: Path, template: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    with Cluster(tokens=[token], acl=[Acl("/", "ci@pve", EVERYTHING)]) as server:
        told = publish(server, tmp_path, template)
        failed(told, 9, "lacks Datastore.AllocateTemplate.* and Datastore.Audit")
        assert "pveum acl modify /storage/local --tokens 'ci@pve!lxcast'" in told.stderr


def test_the_documented_role_is_enough(tmp_path: Path, template: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    paths = ("/storage/local", "/nodes")
    acl = [Acl(path, who, ROLE) for path in paths for who in ("ci@pve", token.id)]
    with Cluster(("pve", "pve2"), tokens=[token], acl=acl) as server:
        told = publish(server, tmp_path, template, "--json")
        assert json.loads(told.stdout)["nodes"] == [{"node": "pve", "state": "uploaded", "verified": True}]
        assert "warning" not in told.stderr
        assert publish(server, tmp_path, template).returncode == 0


def test_every_problem_of_a_storage_is_told_at_once(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.add_storage(Storage("local", content=("iso",), enabled=False))
    told = publish(server, tmp_path, template)
    failed(told, 6, "does not accept templates")
    assert "is disabled" in told.stderr
    failed(publish(server, tmp_path, template, PM_STORAGE="none"), 6, "storage none on node pve not found")
    failed(publish(server, tmp_path, template, PM_NODE="other"), 9, "node 'other' not found")
    assert server.tasks.all == []


def test_a_full_storage_is_seen_before_the_upload(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.storages["local"].total = 100
    failed(publish(server, tmp_path, template), 6, "is full: 100 bytes free")
    assert server.tasks.all == []


def test_a_disk_that_fills_up_meanwhile_leaves_the_template(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(error="import failed: No space left on device")
    told = publish(server, tmp_path, template)
    failed(told, 9, "failed on the node: .*No space left")
    assert "/var/tmp" in told.stderr
    assert template.exists()


def test_a_task_that_fails_is_a_failure_with_its_log(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(error="command 'cp' failed: exit code 1")
    failed(publish(server, tmp_path, template), 9, "TASK ERROR: command 'cp' failed: exit code 1")
    server.faults.tasks["imgcopy"] = TaskFault(killed=True)
    failed(publish(server, tmp_path, template), 9, "failed on the node")


def test_a_task_with_warnings_is_a_success_that_shows_them(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(warnings=2)
    told = publish(server, tmp_path, template)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n")
    assert "WARN: warning 2" in told.stderr


def test_a_task_that_says_ok_and_left_bytes_out_is_no_success(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.tasks["imgcopy"] = TaskFault(missing=1)
    told = publish(server, tmp_path, template)
    size = template.stat().st_size
    failed(told, 9, f"has {size - 1} bytes, {size} were sent")
    assert f"pvesm free {VOLID}" in told.stderr
    assert record_of(tmp_path) is None


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_broken_connection_leaves_nothing(server: Cluster, tmp_path: Path, template: Path, share: float) -> None:
    server.faults.cut_upload = share
    failed(publish(server, tmp_path, template), 9, "was interrupted and left nothing")
    server.faults.cut_upload = None
    assert publish(server, tmp_path, template).stdout == f"{VOLID}\n"


def test_an_upload_whose_answer_was_lost_is_looked_up(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.cut_upload = 1.0
    server.faults.tasks["imgcopy"] = TaskFault(seconds=1)
    told = publish(server, tmp_path, template)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n"), told.stderr
    assert held(server, NAME) == template.read_bytes()


def test_a_certificate_of_another_authority_is_refused_with_its_fingerprint(
    server: Cluster, tmp_path: Path, template: Path
) -> None:
    told = publish(server, tmp_path, template, SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt")
    failed(told, 9, "certificate is not trusted")
    assert server.fingerprint in told.stderr
    assert publish(server, tmp_path, template, "--ca-file", server.ca, SSL_CERT_FILE="").stdout == f"{VOLID}\n"


def test_a_fingerprint_takes_the_authorities_place(server: Cluster, tmp_path: Path, template: Path) -> None:
    wrong = "AB:" * 31 + "AB"
    told = publish(server, tmp_path, template, "--fingerprint", wrong)
    failed(told, 9, f"expected {wrong}, got {server.fingerprint}")
    assert publish(server, tmp_path, template, "--fingerprint", server.fingerprint, SSL_CERT_FILE="").returncode == 0


def test_plain_http_is_pointed_to_https_and_gets_no_token(server: Cluster, tmp_path: Path, template: Path) -> None:
    told = publish(server, tmp_path, template, PM_API_URL=server.url.replace("https", "http"))
    failed(told, 9, "redirects to 'https://.*301")


def test_the_page_of_a_proxy_is_told_by_its_title(server: Cluster, tmp_path: Path, template: Path) -> None:
    page = b"<html><head><title>Service &amp; Sorrow</title></head><body>no</body></html>"
    server.faults.answers.append(Injected(Answer(403, "Forbidden", page), times=9))
    failed(publish(server, tmp_path, template), 9, "403 Forbidden; Service")


def test_a_busy_server_is_asked_again(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.delay = 0.1
    server.faults.answers.append(Injected(Answer(503, "Busy"), method="GET", times=2))
    assert publish(server, tmp_path, template).stdout == f"{VOLID}\n"


def test_a_template_that_fails_its_checks_is_not_sent(server: Cluster, tmp_path: Path) -> None:
    broken = tmp_path / "broken-v1.tar"
    broken.write_bytes(archive(without(minimal_debian(), b"usr/lib/systemd/systemd")))
    failed(publish(server, tmp_path, broken), 5, "init: ")
    assert server.tasks.all == []
    allowed = publish(server, tmp_path, broken, "--allow", "init=app container")
    assert allowed.stdout == "local:vztmpl/broken-v1.tar\n", allowed.stderr
    unchecked = tmp_path / "unchecked-v1.tar"
    unchecked.write_bytes(broken.read_bytes() + b"\0" * 512)
    assert publish(server, tmp_path, unchecked, "--no-check").stdout == "local:vztmpl/unchecked-v1.tar\n"


def test_a_file_that_its_record_does_not_describe_is_not_sent(server: Cluster, tmp_path: Path, template: Path) -> None:
    template.write_bytes(template.read_bytes()[:-1] + b"!")
    failed(publish(server, tmp_path, template), 6, "its record has")
    assert server.tasks.all == []


def test_one_node_that_fails_does_not_stop_the_others(tmp_path: Path, template: Path) -> None:
    with Cluster(("a", "b", "c")) as server:
        server.stop("b")
        told = publish(server, tmp_path, template, "--all-nodes")
        assert told.returncode == 9
        assert told.stdout == ""
        assert re.search(r"^b +failed", told.stderr, re.MULTILINE)
        assert [held(server, NAME, node) is not None for node in server.nodes] == [True, False, True]
        server.start("b")
        again = publish(server, tmp_path, template, "--node", "a", "--node", "b", "--node", "c")
        assert (again.returncode, again.stdout) == (0, f"{VOLID}\n"), again.stderr
        assert re.findall(r"^[abc] +(\w+)", again.stderr, re.MULTILINE) == ["present", "uploaded", "present"]


def test_a_shared_storage_is_sent_to_once(tmp_path: Path, template: Path) -> None:
    with Cluster(("a", "b"), [Storage("nfs", "nfs", shared=True)]) as server:
        told = publish(server, tmp_path, template, "--storage", "proxmox:a/nfs", "--all-nodes")
        assert told.stdout == f"nfs:vztmpl/{NAME}\n", told.stderr
        assert len(server.tasks.all) == 1


def test_a_node_without_room_for_the_upload_says_where(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.temporary_space = 10
    told = publish(server, tmp_path, template)
    failed(told, 6, r"too little space in /var/tmp: 10 B free on its root file system")
    assert server.tasks.all == []


def test_a_connection_that_closes_during_a_large_upload_names_a_full_var_tmp_first(
    server: Cluster, tmp_path: Path
) -> None:
    """A token without Sys.Audit on the node cannot see the free space before."""
    server.access.acl = [Acl("/storage", server.token.user, ("PVEDatastoreAdmin",))]
    server.faults.temporary_space = 10
    large = tmp_path / "large-v1.tar"
    with tarfile.open(large, "w") as archive:
        member = tarfile.TarInfo("./large")
        member.size = 1 << 20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    told = publish(server, tmp_path, large, "--no-check")
    failed(told, 9, "hint: free space in /var/tmp of 127.0.0.1:")
    assert server.storages["local"].listing("pve") == []


def test_a_node_whose_state_is_unknown_is_only_warned_of(server: Cluster, tmp_path: Path, template: Path) -> None:
    """Its pvestatd is silent, and everything else replies."""
    server.faults.unreported = ("pve",)
    told = publish(server, tmp_path, template)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n"), told.stderr
    assert "node pve reports no state" in told.stderr


def test_a_slow_server_is_waited_for(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.delay = 0.2
    server.faults.read_rate = template.stat().st_size / 2
    server.faults.tasks["imgcopy"] = TaskFault(seconds=1)
    assert publish(server, tmp_path, template).stdout == f"{VOLID}\n"


def test_a_netrc_does_not_take_the_tokens_place(server: Cluster, tmp_path: Path, template: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n")
    netrc.chmod(0o600)
    assert publish(server, tmp_path, template).stdout == f"{VOLID}\n"


def test_an_interrupted_upload_leaves_nothing(server: Cluster, tmp_path: Path, template: Path) -> None:
    server.faults.read_rate = 1000.0
    process = subprocess.Popen(
        [*COMMAND, "--log-file", tmp_path / "log", "publish", template],
        env=environment(access(server, tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for("begin   publishing", tmp_path / "log", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, talk = process.communicate(timeout=240)
    assert (process.returncode, out) == (143, b"")
    assert b"Traceback" not in talk
    assert held(server, NAME) is None
    assert template.exists()


def test_an_interrupt_of_a_fan_out_waits_for_no_task_and_keeps_what_ended(tmp_path: Path, template: Path) -> None:
    with Cluster(("a", "b", "c")) as server:
        (server.storages["local"].folder("a") / NAME).write_bytes(template.read_bytes())
        server.faults.tasks["imgcopy"] = TaskFault(seconds=600)
        process = subprocess.Popen(
            [*COMMAND, "publish", template, "--all-nodes", "--json"],
            env=environment(access(server, tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while [task.type for task in server.tasks.all].count("imgcopy") < 2:
            assert process.poll() is None
            time.sleep(0.05)
        while not any(task.type == "download" and task.done.is_set() for task in server.tasks.all):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(5)  # in which it asks what became of the comparison on a
        process.send_signal(signal.SIGINT)
        out, talk = process.communicate(timeout=240)
        assert (process.returncode, out) == (130, "")
        assert "hint: run the same command again to complete it" in talk
        assert "Traceback" not in talk
        record = record_of(tmp_path)
        assert record
        assert json.loads(record.read_text())["hints"]["nodes"] == ["a"]


def test_the_doctor_prints_what_it_finds_and_sends_nothing(server: Cluster, tmp_path: Path) -> None:
    well = lxcast("doctor", environ=access(server, tmp_path))
    assert well.returncode == 0, well.stdout
    assert re.search(r"^  ok +storage +storage local on node pve", well.stdout, re.MULTILINE)
    server.storages["local"].enabled = False
    ill = lxcast("doctor", "--json", environ=access(server, tmp_path))
    rows = json.loads(ill.stdout)["targets"][0]["rows"]
    assert ill.returncode == 9
    assert [row["subject"] for row in rows if row["state"] == "error"] == ["storage"]
    assert server.tasks.all == []


READS = """
import sys
from lxcast.cli.app import run
code = run(sys.argv[1:])
print("read", open("/proc/self/io").read().split()[1], file=sys.stderr, flush=True)
sys.exit(code)
"""


def test_a_file_without_a_record_is_read_once_to_check_it_and_once_to_send_it(server: Cluster, tmp_path: Path) -> None:
    content = os.urandom(60 << 20)
    file = tmp_path / "web-v1.tar.gz"
    data = archive([*minimal_debian(), regular(b"srv", content)])
    file.write_bytes(gzip.compress(data, 0))
    words = ("publish", str(file), "--storage", "proxmox:pve/local", "--records", "records")
    environ = environment(access(server, tmp_path))
    command = [sys.executable, "-c", READS, *words]
    told = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    times = int(told.stderr.split()[-1]) / file.stat().st_size
    assert 1.9 < times < 2.5, "modules are read, too"
    record = json.loads((tmp_path / "records/web-v1.json").read_text())
    assert record["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["diff_id"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
