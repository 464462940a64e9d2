"""The plugin's arguments that speak of Proxmox and of pins: what each does, and what Configure says of wrong ones."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lxcast.testing import Cluster
from packer_post.arguments import ATTRIBUTES
from packer_post.protocol.rpc import CallError
from tests.unit.cli.proxmox import access, held
from tests.unit.packer_post.packer_core import Core, packer_core
from tests.web import WebServer

FILE = "debian-12-v1.tar.zst"
VOLID = f"local:vztmpl/{FILE}"
EXPORT = {"BuilderId": "packer.docker", "Id": "Container", "Files": ["rootfs.tar"], "String": ""}
OFFLINE = {"PM_API_TOKEN_ID": "ci@pve!lxcast", "PM_API_TOKEN_SECRET": "00000000-0000-0000-0000-000000000000"}


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster(("a", "b", "c")) as cluster:
        yield cluster


def posted(core: Core, **arguments: Any) -> str:
    """Configure and build; return the artifact's id, or what went wrong."""
    core.configure(template_name="debian-12", **arguments)
    answer = core.post_process(EXPORT)
    return str(answer["Err"]["Message"] if answer["Err"] else core.artifact(answer["StreamId"]).call("Artifact.Id"))


def test_no_argument_takes_a_secret() -> None:
    assert [each.name for each in ATTRIBUTES if re.search(r"token|secret|password|key", each.name)] == []


def test_the_address_is_an_argument_and_the_token_comes_from_the_environment(
    plugin: Path, folder: Path, server: Cluster
) -> None:
    env = access(server, folder, PM_API_URL="", SSL_CERT_FILE="")
    with packer_core(plugin, cwd=folder, **env) as core:
        said = {"api_url": server.url, "fingerprint": server.fingerprint, "storage": "proxmox:a/local"}
        assert posted(core, **said, records="records", nodes=["b", "c"]) == VOLID
    assert [bool(held(server, FILE, node)) for node in server.nodes] == [False, True, True]
    record = json.loads((folder / "records/debian-12-v1.json").read_text())
    assert record["hints"]["nodes"] == ["b", "c"]
    assert server.token.secret not in str(core.said)


def test_the_local_file_of_an_uploaded_template_stays_until_the_chain_ends(
    plugin: Path, folder: Path, server: Cluster
) -> None:
    """Packer's checksum, manifest and provenance post-processors read the artifact's files."""
    env = access(server, folder)
    kept = folder / "records/files"
    for version in ("v1", "v2"):
        with packer_core(plugin, cwd=folder, **env) as core:
            core.configure(template_name="debian-12", storage="proxmox:a/local", records="records")
            artifact = core.artifact(core.post_process(EXPORT)["StreamId"])
            (file,) = artifact.call("Artifact.Files")
            assert Path(file) == kept / f"debian-12-{version}.tar.zst"
            assert Path(file).read_bytes() == held(server, Path(file).name)
            state = artifact.call("Artifact.State", "generated_data")
            assert state["TemplateFile"] == file
            # What an earlier chain left, whose process has ended, is swept.
            assert [path.name for path in kept.iterdir()] == [Path(file).name]


@pytest.mark.parametrize("files", [[], [""], None], ids=str)
def test_an_artifact_without_a_file_is_an_error_and_never_the_working_directory(
    plugin: Path, folder: Path, files: object
) -> None:
    with packer_core(plugin, cwd=folder) as core:
        core.configure(template_name="debian-12", storage="nfs=./nfs")
        answer = core.post_process({**EXPORT, "Files": files})
        assert "has 0 files" in answer["Err"]["Message"]
    assert not (folder / "nfs").exists()


def test_the_nodes_fetch_what_was_put(plugin: Path, folder: Path, server: Cluster) -> None:
    with WebServer() as web, packer_core(plugin, cwd=folder, **access(server, folder)) as core:
        web.signature = "Signature=c0ffee"
        urls = dict.fromkeys(("put_url", "get_url"), f"{web.url}/{{file}}?Signature=c0ffee")
        assert posted(core, **urls, storage="proxmox:a/local", all_nodes=True, ca_file=str(server.ca)) == VOLID
        assert [method for method, _ in web.asked] == ["PUT", "GET", "GET", "GET"]
    assert [bool(held(server, FILE, node)) for node in server.nodes] == [True] * 3
    assert "c0ffee" not in str(core.said)


def test_some_nodes_that_fail_fail_the_build_and_name_the_command_for_the_rest(
    plugin: Path, folder: Path, server: Cluster
) -> None:
    server.stop("c")
    with packer_core(plugin, cwd=folder, **access(server, folder)) as core:
        said = posted(core, storage="proxmox:a/local", all_nodes=True, records="records")
    assert "c: " in said
    assert re.search(r"lxcast publish records/debian-12-v1.tar.zst --storage proxmox:a/local --all-nodes", said)
    assert (folder / "records" / FILE).exists()


def test_a_pin_is_moved_to_what_was_built(plugin: Path, folder: Path) -> None:
    for version in ("v1", "v2"):
        with packer_core(plugin, cwd=folder) as core:
            volid = posted(core, storage="nfs=./nfs", pin_file="templates.auto.tfvars.json", init="auto")
        assert volid == f"nfs:vztmpl/debian-12-{version}.tar.zst"
        pins = json.loads((folder / "templates.auto.tfvars.json").read_text())["lxc_templates"]
        assert (pins["debian-12"]["template_id"], pins["debian-12"]["version"]) == (volid, version)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"api_url": "ftp://pve.invalid"}, "'ftp://pve.invalid' must start with https://"),
        ({"api_url": "https://root:hunter2@pve.invalid"}, "contains a user or password"),
        ({"fingerprint": "AB:CD"}, "32 pairs"),
        ({"ca_file": "none.pem"}, "none.pem not found"),
        ({"nodes": ["a"], "all_nodes": True}, "nodes and all_nodes exclude each other"),
        ({"put_url": "https://store.invalid/x?Signature=hunter2"}, "put_url needs get_url"),
        ({"get_url": "store.invalid/x?Signature=hunter2"}, "get_url"),
        ({"init": "systemd"}, "none, auto, app"),
        ({"pin_file": "main.tf"}, "main.tf"),
    ],
)
def test_wrong_arguments_are_told_before_any_work_and_without_a_server(
    plugin: Path, folder: Path, arguments: dict[str, Any], said: str
) -> None:
    with packer_core(plugin, cwd=folder, **OFFLINE) as core:
        known = {"storage": "proxmox:a/local", "api_url": "pve.invalid"}
        core.configure(template_name="debian-12", **known)
        with pytest.raises(CallError) as raised:
            core.configure(template_name="debian-12", **known | arguments)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
