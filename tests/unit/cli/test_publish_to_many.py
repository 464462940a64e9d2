"""One template to many nodes, by way of a web server that they fetch it from."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.testing import EVERYTHING, Acl, Cluster, Storage, Token
from tests.documents import REPOSITORY
from tests.session import follow
from tests.unit.cli.proxmox import access, held, make_template
from tests.unit.cli.running import archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian
from tests.web import WebServer

NAME = "debian-12-v1.tar.zst"
VOLID = f"local:vztmpl/{NAME}"
SIGNATURE = "X-Amz-Signature=c0ffee"


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        server.signature = SIGNATURE
        yield server


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster(("a", "b", "c")) as cluster:
        yield cluster


def publish(
    server: Cluster, web: WebServer, tmp_path: Path, file: Path, *more: str | Path, **environ: str
) -> CompletedProcess[str]:
    signed = {f"LXCAST_{verb}_URL": f"{web.url}/templates/{{file}}?{SIGNATURE}&op={verb}" for verb in ("PUT", "GET")}
    told = lxcast("publish", file, *more, cwd=tmp_path, environ=access(server, tmp_path, **{**signed, **environ}))
    assert "bug in lxcast" not in told.stderr
    assert "c0ffee" not in told.stdout + told.stderr
    return told


def methods(web: WebServer) -> list[str]:
    return [method for method, _ in web.asked]


def states(told: CompletedProcess[str]) -> list[str]:
    return re.findall(r"^[abc] +(\w+)", told.stderr, re.MULTILINE)


def test_the_file_goes_up_once_and_every_node_fetches_it(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    log = tmp_path / "log"
    told = publish(server, web, tmp_path, template, "--all-nodes", "--debug", "--log-file", log, "--json")
    document = json.loads(told.stdout)
    assert [each["state"] for each in document["nodes"]] == ["uploaded"] * 3
    assert all(each["verified"] for each in document["nodes"])
    assert [held(server, NAME, node) for node in server.nodes] == [template.read_bytes()] * 3
    assert methods(web) == ["PUT", "GET", "GET", "GET"]
    assert web.asked[0][1] == f"/templates/{NAME}?{SIGNATURE}&op=PUT"
    assert web.headers[0]["content-length"] == str(template.stat().st_size)
    assert not {"authorization", "transfer-encoding"} & web.headers[0].keys()
    assert {task.type for task in server.tasks.all} == {"download"}
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        assert b"c0ffee" not in path.read_bytes(), path


def test_a_run_after_a_failure_completes_the_rest(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    server.stop("c")
    told = publish(server, web, tmp_path, template, "--all-nodes", "--json")
    document = json.loads(told.stdout)
    assert (told.returncode, document["error"]["exit_code"]) == (9, 9)
    assert ["error" in each for each in document["nodes"]] == [False, False, True]
    assert states(told) == [each["state"] for each in document["nodes"]] == ["uploaded", "uploaded", "failed"]
    server.start("c")
    again = publish(server, web, tmp_path, template, "--all-nodes")
    assert (again.returncode, again.stdout) == (0, f"{VOLID}\n"), again.stderr
    assert states(again) == ["present", "present", "uploaded"]
    assert methods(web) == ["PUT", "GET", "GET", "PUT", "GET"]
    assert states(publish(server, web, tmp_path, template, "--all-nodes")) == ["present"] * 3
    assert len(web.asked) == 5, "nothing was to be done"


def test_what_is_there_already_is_fetched_without_being_put(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    web.files["/there"] = template.read_bytes()
    environ = {"LXCAST_PUT_URL": "", "LXCAST_GET_URL": ""}
    told = publish(server, web, tmp_path, template, "--get-url", f"{web.url}/there?{SIGNATURE}", **environ)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n"), told.stderr
    assert methods(web) == ["GET"]


def test_a_shared_storage_fetches_once(web: WebServer, tmp_path: Path, template: Path) -> None:
    with Cluster(("a", "b"), [Storage("nfs", "nfs", shared=True)]) as server:
        told = publish(server, web, tmp_path, template, "--storage", "proxmox:a/nfs", "--all-nodes")
        assert told.stdout == f"nfs:vztmpl/{NAME}\n", told.stderr
        assert methods(web) == ["PUT", "GET"]


def test_an_expired_signature_is_told_once_and_without_it(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    web.signature = "another"
    told = publish(server, web, tmp_path, template, "--all-nodes", "--debug")
    assert (told.returncode, told.stdout) == (9, "")
    assert re.search(r"error: PUT http://127.0.0.1:\d+/\*\*\*: 403 Forbidden; Request has expired\n", told.stderr)
    assert methods(web) == ["PUT"]
    assert server.tasks.all == []


def test_a_node_that_cannot_fetch_says_so(server: Cluster, web: WebServer, tmp_path: Path, template: Path) -> None:
    told = publish(server, web, tmp_path, template, "--debug", LXCAST_GET_URL=f"{web.url}/other?{SIGNATURE}")
    assert (told.returncode, told.stdout) == (9, "")
    assert re.search(r"the node could not fetch .*404", told.stderr), told.stderr
    assert held(server, NAME) is None


def test_other_bytes_on_the_web_server_are_refused_by_the_node(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    web.files["/old"] = b"of last week"
    told = publish(server, web, tmp_path, template, "--node", "b", LXCAST_GET_URL=f"{web.url}/old?{SIGNATURE}")
    assert told.returncode == 9
    assert "checksum mismatch" in told.stderr
    assert "does --get-url name what was put?" in told.stderr
    assert held(server, NAME, "b") is None


def test_a_name_with_other_bytes_is_a_conflict_before_anything_is_put(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    other = b"\0" * template.stat().st_size
    (server.storages["local"].folder("a") / NAME).write_bytes(other)
    assert publish(server, web, tmp_path, template).returncode == 7
    assert held(server, NAME) == other
    assert web.asked == []


def test_a_token_that_may_not_let_nodes_fetch_is_told_before_anything_is_put(
    web: WebServer, tmp_path: Path, template: Path
) -> None:
    token = Token("ci@pve!lxcast", "1" * 36)
    grants = ("Datastore.AllocateTemplate", "Datastore.Audit")
    acl = [Acl("/", "ci@pve", EVERYTHING), Acl("/storage/local", token.id, grants)]
    with Cluster(("a", "b"), tokens=[token], acl=acl) as server:
        told = publish(server, web, tmp_path, template, "--all-nodes")
        assert told.returncode == 9
        assert "it lacks Sys.AccessNetwork" in told.stderr
        assert web.asked == []


def test_the_web_servers_certificate_is_looked_at(
    server: Cluster, tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebServer(server.certificate.context()) as web:
        system = "/etc/ssl/certs/ca-certificates.crt"
        told = publish(server, web, tmp_path, template, "--ca-file", server.ca, SSL_CERT_FILE=system)
        assert told.returncode == 9
        assert re.search(r"PUT https://127.0.0.1:\d+/\*\*\*: its certificate is not trusted", told.stderr)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))  # what the nodes trust
        assert publish(server, web, tmp_path, template).stdout == f"{VOLID}\n"


def test_a_password_in_the_url_is_for_the_web_server_alone(
    server: Cluster, web: WebServer, tmp_path: Path, template: Path
) -> None:
    url = web.url.replace("://", "://me:c0ffee@") + f"/x?{SIGNATURE}"
    told = publish(server, web, tmp_path, template, LXCAST_PUT_URL=url, LXCAST_GET_URL=f"{web.url}/x?{SIGNATURE}")
    assert told.stdout == f"{VOLID}\n", told.stderr
    assert web.headers[0]["authorization"].startswith("Basic ")
    assert "authorization" not in web.headers[1]


def test_a_signed_url_is_not_taken_from_a_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "lxcast.toml").write_text(f'put_url = "https://s3.example/b/k?{SIGNATURE}"\n')
    told = lxcast("settings", cwd=tmp_path)
    assert told.returncode == 2
    assert "a signed URL is a secret; set LXCAST_PUT_URL in the environment" in told.stderr
    assert "c0ffee" not in told.stderr
    (tmp_path / "lxcast.toml").write_text('put_url = "https://dav.example/templates/{file}"\n')
    for more in ((), ("--json",)):
        told = lxcast(
            "settings", *more, cwd=tmp_path, environ={"LXCAST_GET_URL": f"https://s3.example/p/c0ffee/k?{SIGNATURE}"}
        )
        assert "https://s3.example/***" in told.stdout
        assert "c0ffee" not in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--put-url", f"https://s3.example/k?{SIGNATURE}"), "--put-url needs --get-url"),
        (("--get-url", f"s3.example/k?{SIGNATURE}"), "expected a URL that starts with https://"),
        (("--get-url", f"ftp://s3.example/k?{SIGNATURE}"), "expected a URL that starts with https://"),
    ],
)
def test_urls_that_nothing_can_be_fetched_from_are_refused(
    server: Cluster, tmp_path: Path, template: Path, words: tuple[str, str], said: str
) -> None:
    told = lxcast("publish", template, *words, cwd=tmp_path, environ=access(server, tmp_path))
    assert told.returncode == 2
    assert said in told.stderr
    assert "c0ffee" not in told.stderr


def test_a_build_goes_to_every_node_and_what_failed_is_completed_by_the_command_that_it_names(
    server: Cluster, web: WebServer, tmp_path: Path
) -> None:
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    (server.storages["local"].folder("b") / "web-v3.tar.zst").write_bytes(b"of another machine")
    server.stop("c")
    words = ("--name", "web", "--storage", "proxmox:", "--node", "a", "--node", "b", "--node", "c", "--records", "kept")
    environ = access(server, tmp_path)
    told = lxcast("build", source, *words, cwd=tmp_path, environ=environ)
    assert (told.returncode, told.stdout) == (9, "")
    assert [held(server, "web-v4.tar.zst", node) is not None for node in server.nodes] == [True, True, False]
    found = re.search(r"lxcast (publish \S+ --storage \S+ --node a --node b --node c)", told.stderr)
    assert found, told.stderr
    server.start("c")
    again = lxcast(*found[1].split(), "--records", "kept", cwd=tmp_path, environ=environ)
    assert again.stdout == "local:vztmpl/web-v4.tar.zst\n", again.stderr
    assert states(again) == ["present", "present", "uploaded"]
    unchanged = lxcast("build", source, *words, "--if-changed", cwd=tmp_path, environ=environ)
    assert unchanged.stdout == "local:vztmpl/web-v4.tar.zst\n", unchanged.stderr
    (server.storages["local"].folder("c") / "web-v4.tar.zst").unlink()
    renewed = lxcast("build", source, *words, "--if-changed", cwd=tmp_path, environ=environ)
    assert renewed.stdout == "local:vztmpl/web-v5.tar.zst\n", "a node lacked the newest version"


def test_a_build_is_fetched_by_every_node(server: Cluster, web: WebServer, tmp_path: Path) -> None:
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    url = f"{web.url}/{{file}}?{SIGNATURE}"
    environ = access(server, tmp_path, LXCAST_PUT_URL=url, LXCAST_GET_URL=url, LXCAST_NODES="a c")
    told = lxcast("build", source, "--name", "web", "--storage", "proxmox:", cwd=tmp_path, environ=environ)
    assert told.stdout == "local:vztmpl/web-v1.tar.zst\n", told.stderr
    assert [held(server, "web-v1.tar.zst", node) == web.files["/web-v1.tar.zst"] for node in "ac"] == [True, True]
    assert held(server, "web-v1.tar.zst", "b") is None
    assert "c0ffee" not in told.stderr


def test_the_how_to_does_what_it_says(web: WebServer, commands: Path, tmp_path: Path) -> None:
    web.signature = ""
    folder = tmp_path / "reader"
    folder.mkdir()
    for number in (1, 2, 3):
        made = make_template(tmp_path / str(number), content=b"x" * number)
        made.rename(folder / f"debian-12-v{number}.tar.zst")
    with Cluster(("pve1", "pve2", "pve3")) as server:
        environ = environment(access(server, tmp_path))
        environ["PATH"] = f"{commands}:{environ['PATH']}"
        page = REPOSITORY / "docs" / "how-to" / "publish-to-many-nodes.md"
        here = {"https://s3.example": web.url, "https://dav.example": web.url}
        assert follow(page, folder, environ, here) == 4
        assert [len(server.storages["local"].listing(node)) for node in server.nodes] == [3, 3, 3]
    assert sorted(web.files) == ["/templates/debian", "/templates/debian-12-v3.tar.zst"]
    assert methods(web) == ["PUT", "GET", "GET", "GET"] * 2
