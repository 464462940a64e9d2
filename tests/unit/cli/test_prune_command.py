"""list, prune and remove on a Proxmox storage."""

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.proxmox.client import Client, Profile, Secret
from lxcast.testing import EVERYTHING, Acl, Answer, Cluster, Injected, Storage, TaskFault, Token
from tests.unit.cli.proxmox import access
from tests.unit.cli.running import lxcast


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes, with web v1 to v4 on a shared storage and on `local` of the first."""
    with Cluster(("pve", "pve2"), [Storage("local"), Storage("nfs", "nfs", shared=True)]) as server:
        for storage in server.storages.values():
            for number in range(1, 5):
                (storage.folder("pve") / f"web-v{number}.tar.zst").write_bytes(b"x" * 1000 * number)
        yield server


def make(server: Cluster, vmid: int, volid: str, node: str = "pve", **more: str) -> None:
    """Make a container, as the user of a hypervisor does."""
    token = server.token
    with Client(Profile(url=server.url, token_id=token.id, secret=Secret(token.secret), ca_file=server.ca)) as client:
        client.post(f"/nodes/{node}/lxc", vmid=vmid, ostemplate=volid, **more)
    server.tasks.wait()


def destroy(server: Cluster, vmid: int, node: str = "pve") -> None:
    token = server.token
    with Client(Profile(url=server.url, token_id=token.id, secret=Secret(token.secret), ca_file=server.ca)) as client:
        client.delete(f"/nodes/{node}/lxc/{vmid}")
    server.tasks.wait()


def run(server: Cluster, tmp_path: Path, *words: str | Path, **environ: str) -> CompletedProcess[str]:
    told = lxcast(*words, "--records", tmp_path / "records", cwd=tmp_path, environ=access(server, tmp_path, **environ))
    assert "bug in lxcast" not in told.stderr
    return told


def used(server: Cluster, tmp_path: Path, storage: str = "proxmox:pve/nfs") -> dict[str, list[tuple[int, str]]]:
    told = run(server, tmp_path, "list", "--storage", storage, "--json")
    assert told.returncode == 0, told.stderr
    templates = json.loads(told.stdout)["templates"]
    return {
        each["file"]: [(use["vmid"], use["node"]) for use in each["used_by"]] for each in templates if each["used_by"]
    }


def listed(server: Cluster, storage: str = "nfs", node: str = "pve") -> list[str]:
    return sorted(path.name for path in server.storages[storage].folder(node).iterdir())


def test_a_list_tells_size_age_digest_and_use(cluster: Cluster, tmp_path: Path, template: Path) -> None:
    published = run(cluster, tmp_path, "publish", template, "--storage", "proxmox:pve/nfs")
    make(cluster, 100, published.stdout.strip())
    told = run(cluster, tmp_path, "list", "--storage", "proxmox:pve/nfs")
    head, debian, *web = (line.split() for line in told.stdout.splitlines())
    assert head == ["NAME", "VERSION", "FORMAT", "SIZE", "AGE", "SHA256", "TEMPLATE", "USED", "BY"]
    record = json.loads(template.with_name("debian-12-v1.json").read_text())
    assert (debian[5:7], debian[8:]) == (["0", "h"], ["nfs:vztmpl/debian-12-v1.tar.zst", "100"])
    assert debian[7] == record["sha256"][:12]
    assert web[0] == ["web", "v1", "-", "1.0", "kB", "0", "h", "unknown", "nfs:vztmpl/web-v1.tar.zst", "unknown"]
    assert [row[1] for row in web] == ["v1", "v2", "v3", "v4"]


def test_what_is_in_use_follows_from_the_logs_of_all_nodes(cluster: Cluster, tmp_path: Path) -> None:
    make(cluster, 100, "nfs:vztmpl/web-v1.tar.zst")
    make(cluster, 101, "nfs:vztmpl/web-v1.tar.zst", "pve2")
    make(cluster, 102, "nfs:vztmpl/web-v2.tar.zst")
    make(cluster, 103, "local:vztmpl/web-v3.tar.zst")
    assert used(cluster, tmp_path) == {
        "web-v1.tar.zst": [(100, "pve"), (101, "pve2")],
        "web-v2.tar.zst": [(102, "pve")],
    }
    assert used(cluster, tmp_path, "proxmox:pve/local") == {"web-v3.tar.zst": [(103, "pve")]}
    (cluster.storages["local"].folder("pve2") / "web-v3.tar.zst").write_bytes(b"of the other node")
    assert used(cluster, tmp_path, "proxmox:pve2/local") == {}


def test_a_container_that_is_gone_or_failed_uses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    make(cluster, 100, "nfs:vztmpl/web-v1.tar.zst")
    destroy(cluster, 100)
    cluster.faults.tasks["vzcreate"] = TaskFault(error="no space")
    make(cluster, 101, "nfs:vztmpl/web-v1.tar.zst")
    assert used(cluster, tmp_path) == {}
    cluster.faults.tasks["vzcreate"] = TaskFault(warnings=1)
    make(cluster, 102, "nfs:vztmpl/web-v3.tar.zst")
    assert used(cluster, tmp_path) == {"web-v3.tar.zst": [(102, "pve")]}


def test_a_node_that_is_down_is_told_and_the_rest_is_listed(cluster: Cluster, tmp_path: Path) -> None:
    make(cluster, 100, "nfs:vztmpl/web-v1.tar.zst")
    cluster.stop("pve2")
    told = run(cluster, tmp_path, "list", "--storage", "proxmox:pve/nfs")
    assert (told.returncode, len(told.stdout.splitlines())) == (0, 5)
    assert "the templates of containers on node pve2 are unknown" in told.stderr


def test_a_prune_plans_and_removes_with_apply(cluster: Cluster, tmp_path: Path) -> None:
    make(cluster, 100, "nfs:vztmpl/web-v1.tar.zst")
    words = ("prune", "--keep", "2", "--older-than", "0h", "--storage", "proxmox:pve/nfs")
    plan = run(cluster, tmp_path, *words)
    assert [line.split()[:2] for line in plan.stdout.splitlines()[1:]] == [
        ["keep", "nfs:vztmpl/web-v1.tar.zst"],
        ["remove", "nfs:vztmpl/web-v2.tar.zst"],
        ["keep", "nfs:vztmpl/web-v3.tar.zst"],
        ["keep", "nfs:vztmpl/web-v4.tar.zst"],
    ]
    assert "container 100 on pve was created from it" in plan.stdout
    assert "would remove 1 of 4 templates, 2.0 kB; --apply removes them" in plan.stderr
    assert len(listed(cluster)) == 4
    done = run(cluster, tmp_path, *words, "--apply", "--json")
    document = json.loads(done.stdout)
    assert (document["applied"], [each["action"] for each in document["templates"]]) == (
        True,
        ["keep", "remove", "keep", "keep"],
    )
    assert listed(cluster) == ["web-v1.tar.zst", "web-v3.tar.zst", "web-v4.tar.zst"]
    assert len(listed(cluster, "local")) == 4
    assert "would remove 0 of 3" in run(cluster, tmp_path, *words).stderr


def test_nothing_is_old_enough_yet(cluster: Cluster, tmp_path: Path) -> None:
    told = run(cluster, tmp_path, "prune", "--older-than", "90d", "--storage", "proxmox:pve/nfs", "--apply")
    assert (told.returncode, len(listed(cluster))) == (0, 4)
    assert told.stdout.count("0 h old") == 4


def test_a_pinned_template_stays(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('locals {\n  template = "nfs:vztmpl/web-v1.tar.zst"\n}\n')
    words = ("--storage", "proxmox:pve/nfs", "--pins", tmp_path / "main.tf", "--apply")
    assert run(cluster, tmp_path, "prune", "--keep", "2", *words).returncode == 0
    assert listed(cluster) == ["web-v1.tar.zst", "web-v3.tar.zst", "web-v4.tar.zst"]
    refused = run(cluster, tmp_path, "remove", "web-v1.tar.zst", *words)
    assert (refused.returncode, refused.stdout) == (11, "")
    assert "web-v1.tar.zst is pinned by" in refused.stderr
    assert len(listed(cluster)) == 3


def test_the_pin_file_that_builds_keep_counts_unsaid(cluster: Cluster, tmp_path: Path) -> None:
    pinned = {"template_id": "nfs:vztmpl/web-v1.tar.zst", "version": "v1", "sha256": "a" * 64, "size": 1000}
    pinned |= {"diff_id": f"sha256:{'b' * 64}", "ostype": "debian", "arch": "amd64", "previous": None}
    file = tmp_path / "templates.auto.tfvars.json"
    words = ("prune", "--keep", "3", "--storage", "proxmox:pve/nfs")
    assert "would remove 1 of 4" in run(cluster, tmp_path, *words, LXCAST_PIN_FILE=str(file)).stderr
    file.write_text(json.dumps({"lxc_templates": {"web": pinned}}))
    told = run(cluster, tmp_path, *words, LXCAST_PIN_FILE=str(file))
    assert "would remove 0 of 4" in told.stderr
    assert f"pinned by {file}: lxc_templates.web" in told.stdout


def test_a_removed_name_is_not_given_away_again(cluster: Cluster, tmp_path: Path, template: Path) -> None:
    there = ("--storage", "proxmox:pve/nfs")
    told = run(cluster, tmp_path, "remove", "nfs:vztmpl/web-v4.tar.zst", *there)
    assert (told.returncode, len(listed(cluster))) == (0, 4)
    assert run(cluster, tmp_path, "remove", "nfs:vztmpl/web-v4.tar.zst", *there, "--apply").returncode == 0
    assert listed(cluster)[-1] == "web-v3.tar.zst"
    source = template.parent.parent / "rootfs.tar"
    source.write_bytes(template.read_bytes())
    built = run(cluster, tmp_path, "build", source, "--name", "web", *there)
    assert built.stdout == "nfs:vztmpl/web-v5.tar.zst\n", built.stderr


def test_a_token_that_may_not_remove_is_told_so_before_anything_goes(tmp_path: Path) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    grants = ("Datastore.AllocateTemplate", "Datastore.Audit", "Sys.Audit")
    acl = [Acl("/", "ci@pve", EVERYTHING), Acl("/storage/local", token.id, grants), Acl("/nodes", token.id, grants)]
    with Cluster(tokens=[token], acl=acl) as server:
        for number in (1, 2):
            (server.storages["local"].folder("pve") / f"web-v{number}.tar.zst").write_bytes(b"x")
        words = ("prune", "--keep", "1", "--storage", "proxmox:pve/local")
        assert run(server, tmp_path, *words).returncode == 0
        told = run(server, tmp_path, *words, "--apply")
        assert (told.returncode, told.stdout) == (9, "")
        assert "lacks Datastore.Allocate (to remove) on /storage/local" in told.stderr
        assert "pveum acl modify /storage/local --tokens 'ci@pve!lxcast' --roles LxcastPrune" in told.stderr
        assert server.tasks.all == []
        acl[1:] = [
            Acl(path, token.id, ("Datastore.Allocate", "Datastore.Audit", "Sys.Audit"))
            for path in ("/storage/local", "/nodes")
        ]
        server.access.acl[:] = acl
        assert run(server, tmp_path, *words, "--apply").returncode == 0
        assert listed(server, "local") == ["web-v2.tar.zst"]


def test_what_the_node_does_not_remove_is_told_and_the_others_go(cluster: Cluster, tmp_path: Path) -> None:
    cluster.faults.answers.append(Injected(Answer(500, "busy"), ".*/content/vztmpl/web-v1.*", "DELETE"))
    words = ("prune", "--keep", "1", "--storage", "proxmox:pve/nfs", "--apply")
    told = run(cluster, tmp_path, *words)
    assert told.returncode == 9
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == ["failed", "remove", "remove", "keep"]
    assert "500 busy" in told.stderr
    assert listed(cluster) == ["web-v1.tar.zst", "web-v4.tar.zst"]
    cluster.faults.tasks["imgdel"] = TaskFault(error="unlink failed")
    told = run(cluster, tmp_path, *words)
    assert told.returncode == 9
    assert "unlink failed" in told.stderr
    cluster.faults.tasks["imgdel"] = TaskFault(seconds=6)
    assert run(cluster, tmp_path, *words).returncode == 0
    assert listed(cluster) == ["web-v4.tar.zst"]


def test_all_nodes_are_pruned_and_a_shared_storage_once(cluster: Cluster, tmp_path: Path) -> None:
    for number in (1, 2):
        (cluster.storages["local"].folder("pve2") / f"web-v{number}.tar.zst").write_bytes(b"x")
    told = run(cluster, tmp_path, "list", "--storage", "proxmox:pve/local", "--all-nodes")
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["NODE", *["pve"] * 4, *["pve2"] * 2]
    words = ("prune", "web", "--keep", "1", "--all-nodes", "--apply")
    assert run(cluster, tmp_path, *words, "--storage", "proxmox:pve/local").returncode == 0
    assert (listed(cluster, "local"), listed(cluster, "local", "pve2")) == (["web-v4.tar.zst"], ["web-v2.tar.zst"])
    shared = run(cluster, tmp_path, *words, "--storage", "proxmox:pve/nfs", "--json")
    assert [each["node"] for each in json.loads(shared.stdout)["templates"]] == ["pve"] * 4
    assert listed(cluster) == ["web-v4.tar.zst"]


def test_what_was_done_on_the_nodes_that_answer_stands_and_the_others_fail_the_command(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.stop("pve2")
    place = ("--storage", "proxmox:pve/local", "--all-nodes")
    told = run(cluster, tmp_path, "list", *place)
    assert (told.returncode, len(told.stdout.splitlines())) == (9, 5)
    assert "1 of 2 nodes failed\npve2: the node pve2 is offline\n" in told.stderr
    told = run(cluster, tmp_path, "prune", "--keep", "2", *place, "--apply", "--json")
    document = json.loads(told.stdout)
    assert [each["action"] for each in document["templates"]] == ["remove", "remove", "keep", "keep"]
    assert (document["storage"], document["applied"]) == ("proxmox:pve/local", True)
    assert (told.returncode, document["error"]["exit_code"], document["error"]["class"]) == (9, 9, "ApiError")
    assert document["error"]["hint"] == "run the same command again to complete the rest"
    assert listed(cluster, "local") == ["web-v3.tar.zst", "web-v4.tar.zst"]
    told = run(cluster, tmp_path, "remove", "web-v3.tar.zst", *place, "--apply")
    assert (told.returncode, listed(cluster, "local")) == (9, ["web-v4.tar.zst"])
    assert "removed 1 of 1 templates" in told.stderr
    told = run(cluster, tmp_path, "remove", "web-v1.tar.zst", *place)
    assert told.returncode == 6
    assert "proxmox:pve/local: web-v1.tar.zst not found; pve2 did not answer: " in told.stderr
    told = run(cluster, tmp_path, "list", *place, "--json")
    assert len(json.loads(told.stdout)["templates"]) == 1
    cluster.start("pve2")
    assert run(cluster, tmp_path, "prune", "--keep", "2", *place, "--apply").returncode == 0


def test_a_shared_storage_is_whole_where_any_node_answers(cluster: Cluster, tmp_path: Path) -> None:
    node = "/api2/json/nodes/pve/(storage|tasks).*"
    cluster.faults.answers.append(Injected(Answer(595, "Connection refused"), node, "GET", 99))
    told = run(cluster, tmp_path, "list", "--storage", "proxmox:pve/nfs", "--all-nodes")
    assert (told.returncode, len(told.stdout.splitlines())) == (0, 5)
