"""`lxcast create` and `lxcast destroy` against the stand-in server, by a token with the documented privileges."""

import json
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.testing import Acl, Answer, Cluster, Injected, Storage, TaskFault, Token
from tests.documents import REPOSITORY
from tests.image_files import Layout
from tests.session import follow
from tests.unit.cli.proxmox import access
from tests.unit.cli.running import COMMAND, archive, environment, lxcast
from tests.unit.cli.test_documented_commands import Access
from tests.unit.rootfs.filesystems import minimal_debian

FILE = "debian-12-v1.tar.zst"
VOLID = f"local:vztmpl/{FILE}"
USER = "ci@pve"
PRIVILEGES = {
    "/vms": (
        *("VM.Allocate", "VM.Audit", "VM.PowerMgmt"),
        *("VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options"),
    ),
    "/storage/disks": ("Datastore.AllocateSpace",),
    "/storage/local": ("Datastore.Audit",),
    "/sdn/zones/localnetwork/vmbr0": ("SDN.Use",),
}
"""What `--dry-run` prints for a container with memory, on the storage `disks`."""
OPTIONS = ("--rootfs", "disks", "--memory", "256")


def cluster(privileges: dict[str, tuple[str, ...]], nodes: tuple[str, ...] = ("pve",)) -> Cluster:
    """A cluster with a token that has just these privileges."""
    acl = [Acl(path, who, names) for path, names in privileges.items() for who in (USER, f"{USER}!lxcast")]
    token = Token(f"{USER}!lxcast", "1" * 32)
    storages = [Storage("local"), Storage("disks", "lvmthin", ("rootdir",))]
    return Cluster(nodes, storages, [token], acl)


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster(PRIVILEGES) as made:
        for number in (1, 2):
            (made.storages["local"].folder("pve") / FILE.replace("v1", f"v{number}")).write_bytes(b"x" * number)
        yield made


def create(server: Cluster, tmp_path: Path, *words: str, what: str = VOLID, name: str = "web") -> CompletedProcess[str]:
    told = lxcast("create", what, "--name", name, *OPTIONS, *words, cwd=tmp_path, environ=access(server, tmp_path))
    assert server.token.secret not in told.stdout + told.stderr
    assert "fault of lxcast" not in told.stderr, told.stderr
    return told


def failed(told: CompletedProcess[str], code: int, message: str) -> None:
    assert re.search(message, told.stderr), told.stderr
    assert "hint: " in told.stderr
    assert (told.returncode, told.stdout) == (code, "")


def records(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / ".local/state/lxcast/containers").rglob("*.json"))


def test_a_container_is_created_started_and_verified(server: Cluster, tmp_path: Path) -> None:
    told = create(server, tmp_path, "--json")
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert (record["id"], record["state"], record["template_id"]) == ("100", "verified", VOLID)
    assert record["addresses"] == ["192.0.2.101"]
    (container,) = server.containers.values()
    assert container.running
    assert container.configuration["hostname"] == "web"
    assert container.configuration["unprivileged"] == "1"
    assert f"lxcast: {record['marker']} from {VOLID}" in container.configuration["description"]
    assert [task.type for task in server.tasks.all] == ["vzcreate", "vzstart"]


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in PRIVILEGES.items() for name in names], ids=lambda each: str(each)
)
def test_no_documented_privilege_is_superfluous(tmp_path: Path, path: str, name: str) -> None:
    fewer = PRIVILEGES | {path: tuple(each for each in PRIVILEGES[path] if each != name)}
    with cluster(fewer) as server:
        (server.storages["local"].folder("pve") / FILE).write_bytes(b"x")
        told = create(server, tmp_path)
        assert told.returncode == 9, told.stderr
        assert name in told.stderr
        assert server.containers == {}
        assert server.tasks.all == []


def test_the_page_about_creating_does_what_it_shows(commands: Path, tmp_path: Path) -> None:
    page = REPOSITORY / "docs/how-to/create-containers.md"
    made = Access(page)
    folder, home = tmp_path / "reader", tmp_path / "home"
    folder.mkdir()
    (home / ".config/lxcast").mkdir(parents=True)
    (home / ".config/lxcast/create.token").write_text(made.tokens[0].secret)
    storages = [Storage("local"), Storage("local-lvm", "lvmthin", ("rootdir",))]
    with Cluster(("pve1",), storages, made.tokens, made.acl) as server:
        (server.storages["local"].folder("pve1") / FILE).write_bytes(b"x")
        env = environment({"HOME": str(home), "SSL_CERT_FILE": str(server.ca), "NO_PROXY": "127.0.0.1"})
        env["PATH"] = f"{commands}:{env['PATH']}"
        assert follow(page, folder, env, {"pve1.example": server.url}) == 5
        assert server.containers == {}


def test_the_plan_names_calls_privileges_and_what_only_root_may_set(server: Cluster, tmp_path: Path) -> None:
    told = create(server, tmp_path, "--dry-run", "--feature", "fuse=1", "--mount", "/srv/data,mp=/data")
    assert "POST /nodes/pve/lxc vmid=NEXT" in told.stdout
    for path, names in PRIVILEGES.items():
        for name in names:
            assert re.search(rf"{path}(/ID)? +{name}", told.stdout), told.stdout
    assert "bind mount of /srv/data" in told.stdout
    assert "pct set ID --features fuse=1" in told.stdout
    assert told.returncode == 9
    assert "only root@pam can set this, no token" in told.stderr
    assert server.containers == {}
    assert records(tmp_path) == []


def test_the_same_name_from_the_same_template_does_nothing_and_from_another_conflicts(
    server: Cluster, tmp_path: Path
) -> None:
    assert create(server, tmp_path).stdout == "100\n"
    again = create(server, tmp_path)
    assert (again.returncode, again.stdout) == (0, "100\n")
    other = create(server, tmp_path, what=VOLID.replace("v1", "v2"))
    failed(other, 7, f"created from {VOLID}, not from {VOLID.replace('v1', 'v2')}")
    assert len(server.containers) == 1


def test_a_container_of_another_user_with_the_name_is_never_touched(server: Cluster, tmp_path: Path) -> None:
    create(server, tmp_path)
    server.containers[100].configuration["description"] = "mine"
    before = dict(server.containers[100].configuration)
    failed(create(server, tmp_path), 7, "container 100 on pve is called web and was not created by lxcast")
    removed = lxcast("destroy", "web", "--apply", cwd=tmp_path, environ=access(server, tmp_path))
    assert removed.returncode == 6, removed.stderr
    assert server.containers[100].configuration == before


def test_destroy_plans_first_and_removes_only_with_apply(server: Cluster, tmp_path: Path) -> None:
    create(server, tmp_path)
    environ = access(server, tmp_path)
    assert "would remove container 100" in lxcast("destroy", "web", cwd=tmp_path, environ=environ).stderr
    assert 100 in server.containers
    told = lxcast("destroy", "web", "--apply", cwd=tmp_path, environ=environ)
    assert (told.returncode, server.containers, records(tmp_path)) == (0, {}, [])
    assert lxcast("destroy", "web", cwd=tmp_path, environ=environ).returncode == 6


def test_ten_creates_of_one_name_at_once_give_one_container(server: Cluster, tmp_path: Path) -> None:
    with ThreadPoolExecutor(10) as pool:
        done = [*pool.map(lambda _: create(server, tmp_path), range(10))]
    assert {(each.returncode, each.stdout) for each in done} == {(0, "100\n")}, [each.stderr for each in done]
    assert len(server.containers) == 1


def test_ten_creates_of_different_names_at_once_get_ten_ids(server: Cluster, tmp_path: Path) -> None:
    with ThreadPoolExecutor(10) as pool:
        done = [*pool.map(lambda number: create(server, tmp_path, name=f"web{number}"), range(10))]
    assert [each.returncode for each in done] == [0] * 10, [each.stderr for each in done]
    assert len({each.stdout for each in done}) == len(server.containers) == 10


LXC = "/api2/json/nodes/pve/lxc"
FAULTS = {
    "task error": (lambda server: server.faults.tasks.update(vzcreate=TaskFault(error="no space")), 9, "no space"),
    "start fails": (lambda server: server.faults.tasks.update(vzstart=TaskFault(error="exit 1")), 12, "log of a start"),
    "exits at once": (lambda server: setattr(server.faults, "exits", True), 12, "stopped right after its start"),
    "no address": (lambda server: setattr(server.faults, "dhcp", False), 12, "has no address after 1 s"),
    "unknown bridge": (lambda server: setattr(server, "bridges", ()), 9, "bridge vmbr0 not found"),
    "storage full": (lambda server: setattr(server.storages["disks"], "total", 1), 9, "is full"),
    "template removed": (lambda server: (server.storages["local"].folder("pve") / FILE).unlink(), 6, "not found"),
    "other configuration": (
        lambda server: server.faults.answers.append(
            Injected(Answer(200, "OK", b'{"data": {"hostname": "web", "memory": 1}}'), f"{LXC}/100/config", times=1)
        ),
        12,
        "memory: expected 256, got 1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_failure_nothing_is_left(server: Cluster, tmp_path: Path, fault: str) -> None:
    arrange, code, message = FAULTS[fault]
    arrange(server)  # type: ignore[no-untyped-call]
    failed(create(server, tmp_path, "--timeout", "1"), code, message)
    server.tasks.wait()
    assert server.containers == {}
    assert records(tmp_path) == []


def test_a_node_that_is_offline_and_a_lost_quorum_are_told_together(tmp_path: Path) -> None:
    with cluster(PRIVILEGES | {"/": ("Sys.Audit",)}) as server:
        (server.storages["local"].folder("pve") / FILE).write_bytes(b"x")
        server.faults.quorate = False
        server.bridges = ("vmbr9",)
        told = create(server, tmp_path)
        failed(told, 9, "the cluster has no quorum")
        assert "bridge vmbr0 not found" in told.stderr
        assert server.containers == {}


def test_a_lock_of_a_killed_task_is_told_with_the_commands_for_root(server: Cluster, tmp_path: Path) -> None:
    server.faults.tasks["vzcreate"] = TaskFault(killed=True)
    told = create(server, tmp_path)
    failed(told, 12, r"container 100 on pve is locked \(create\)")
    assert "pct unlock 100 && pct destroy 100" in told.stderr
    (server.containers[100].configuration.pop("lock"))
    server.faults.tasks.clear()
    again = create(server, tmp_path)
    assert (again.returncode, len(server.containers)) == (0, 1), again.stderr
    assert "an interrupted run of lxcast left behind" in again.stderr


def test_keep_leaves_the_container_and_names_the_command_that_removes_it(server: Cluster, tmp_path: Path) -> None:
    server.faults.exits = True
    told = create(server, tmp_path, "--keep")
    failed(told, 12, "stopped right after its start")
    assert "lxcast destroy web --apply" in told.stderr
    assert 100 in server.containers
    assert lxcast("destroy", "web", "--apply", cwd=tmp_path, environ=access(server, tmp_path)).returncode == 0
    assert server.containers == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.4, 0.6, 0.8, 1.0, 1.2])
def test_a_run_that_is_killed_leaves_nothing_or_what_the_next_run_removes(
    server: Cluster, tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    server.faults.tasks |= {"vzcreate": TaskFault(seconds=0.3), "vzstart": TaskFault(seconds=0.3)}
    other = replace_name(server)
    words = ["create", VOLID, "--name", "web", *OPTIONS]
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=environment(access(server, tmp_path)), stderr=subprocess.PIPE
    )
    time.sleep(delay)
    process.send_signal(number)
    process.communicate()
    server.tasks.wait()
    mine = [each for each in server.containers.values() if each.vmid != other]
    if number == signal.SIGTERM and process.returncode != 0:
        assert (mine, records(tmp_path)) == ([], [])
    again = create(server, tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(server.containers) == 2
    assert server.containers[other].configuration["hostname"] == "other"


def replace_name(server: Cluster) -> int:
    """Put a container of somebody else there, and return its id."""
    from lxcast.testing.state import Container

    server.containers[100] = Container(100, "pve", {"hostname": "other", "memory": "1", "swap": "1"}, running=True)
    return 100


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{LXC}/100/config"),
        ("POST", f"{LXC}/100/status/start"),
        ("GET", f"{LXC}/100/status/current"),
        ("GET", f"{LXC}/100/interfaces"),
        ("GET", "/api2/json/cluster/nextid"),
        ("POST", LXC),
    ],
)
def test_an_error_of_any_call_leaves_nothing(server: Cluster, tmp_path: Path, method: str, path: str) -> None:
    body = b'{"data": null, "message": "broken"}'
    server.faults.answers.append(Injected(Answer(500, "broken", body), path, method, times=1))
    told = create(server, tmp_path)
    if told.returncode:
        server.tasks.wait()
        assert (server.containers, records(tmp_path)) == ({}, []), told.stderr
    else:
        assert len(server.containers) == 1


def test_options_override_the_profile_which_overrides_hints_and_explain_shows_it(
    server: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "lxcast.toml").write_text('[containers.web]\nmemory = 1024\ntags = ["blue"]\ncores = 3\n')
    told = create(server, tmp_path, "--container-profile", "web", "--explain", "--dry-run")
    rows = {line.split()[0]: line.split()[-2:] for line in told.stderr.splitlines() if len(line.split()) > 2}
    assert rows["memory"] == ["option", "--memory"]
    assert rows["tags"] == ["profile", "web"]
    assert rows["swap"][-1] == "default"
    wrong = create(server, tmp_path, "--container-profile", "db")
    failed(wrong, 2, "container profile 'db' not found")
    (tmp_path / "lxcast.toml").write_text("[containers.web]\nmemry = 1\n")
    failed(create(server, tmp_path, "--container-profile", "web"), 2, "unknown option.*memory")


def test_the_first_matching_rule_chooses_backend_storage_and_profile_and_options_win(
    server: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "lxcast.toml").write_text(
        "[containers.small]\ncores = 2\n"
        '[[routes]]\nname = "db*"\nbackend = "runc"\n'
        '[[routes]]\nwhat = "local:*"\nbackend = "proxmox"\nstorage = "proxmox:pve/local"\nprofile = "small"\n'
        '[[routes]]\nbackend = "lxc"\n'
    )
    told = create(server, tmp_path, "--dry-run", "--explain")
    assert "backend: proxmox (rule 2 of lxcast.toml)" in told.stdout
    assert re.search(r"cores +2 +profile small", told.stderr)
    explicit = create(server, tmp_path, "--dry-run", "--backend", "proxmox")
    assert "backend: proxmox (--backend proxmox)" in explicit.stdout
    # Rule 1 takes runc, which reads a directory and not the API.
    failed(create(server, tmp_path, "--dry-run", name="db1"), 6, "storage: no such storage directory")
    (tmp_path / "lxcast.toml").write_text('[[routes]]\nbackend = "vm"\n')
    failed(create(server, tmp_path), 2, "virtual machines are not supported")
    (tmp_path / "lxcast.toml").write_text('[[routes]]\nnode = "x"\n')
    assert "unknown key node" in create(server, tmp_path).stderr


def test_the_list_of_containers_shows_state_and_newer_templates(server: Cluster, tmp_path: Path) -> None:
    create(server, tmp_path)
    environ = access(server, tmp_path)
    told = lxcast("list", "--containers", "--storage", "proxmox:", cwd=tmp_path, environ=environ)
    assert re.search(rf"^web +proxmox +pve +100 +running +{VOLID} +v2$", told.stdout, re.MULTILINE), told.stdout
    server.containers.clear()
    told = lxcast("list", "--containers", "--json", cwd=tmp_path, environ=environ)
    assert [each["running"] for each in json.loads(told.stdout)["containers"]] == ["gone"]


def test_a_source_is_built_published_and_reused(tmp_path: Path) -> None:
    upload = {
        "/storage/local": ("Datastore.AllocateTemplate", "Datastore.Audit"),
        "/nodes": ("Sys.Audit", "Sys.AccessNetwork"),
    }
    with cluster(PRIVILEGES | upload) as server:
        source = tmp_path / "rootfs.tar"
        source.write_bytes(archive(minimal_debian()))
        told = create(server, tmp_path, "--json", what=str(source))
        assert told.returncode == 0, told.stderr
        record = json.loads(told.stdout)
        assert record["template_id"] == "local:vztmpl/web-v1.tar.zst"
        assert record["spec"]["disk_gb"] == 1
        named = create(server, tmp_path, what="web:v1", name="web2")
        assert (named.returncode, server.containers[101].template) == (0, "local:vztmpl/web-v1.tar.zst"), named.stderr


def test_the_value_of_a_variable_is_in_no_plan_and_in_no_record(server: Cluster, tmp_path: Path) -> None:
    secret = "hunter2"
    for words in (("--dry-run", "--explain"), ("--dry-run", "--json"), ("--json",)):
        told = create(server, tmp_path, "--env", f"KEY={secret}", *words)
        assert told.returncode == 0, told.stderr
        assert secret not in told.stdout + told.stderr
        assert "KEY" in told.stdout
    assert server.containers[100].configuration["env"] == f"KEY={secret}"
    assert [secret in each.read_text() for each in records(tmp_path)] == [False]


def test_a_virtual_machine_is_refused_with_the_reason(server: Cluster, tmp_path: Path) -> None:
    failed(create(server, tmp_path, "--backend", "vm"), 2, "virtual machines are not supported")


def test_the_environment_of_an_oci_archive_is_set_after_the_create_task(server: Cluster, tmp_path: Path) -> None:
    """Proxmox overwrites what the create call sets by what the image says."""
    image = Layout(tmp_path / "image")
    config = {"Env": ["A=image", "PATH=/bin"], "Cmd": ["/bin/app"]}
    image.add(image.manifest([archive(minimal_debian())], "gzip", config=config))
    with tarfile.open(server.storages["local"].folder("pve") / "app-v1.tar", "w") as tar:
        tar.add(image.folder, "")
    told = create(server, tmp_path, "--env", "A=mine", what="local:vztmpl/app-v1.tar")
    assert told.returncode == 0, told.stderr
    assert server.containers[100].configuration["env"].split("\0") == ["A=mine", "PATH=/bin"]
    assert server.containers[100].configuration["entrypoint"] == "/bin/app"
