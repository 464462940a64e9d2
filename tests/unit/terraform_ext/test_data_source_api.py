"""A pin confirmed by the Proxmox API, asked of the stand-in server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.references.entries import DEFAULT
from lxcast.testing import Cluster
from tests.published import pin, publish
from tests.unit.terraform_ext.asking import KEYS, refusal, result

NAMED = {"name": "debian-12", "storage": "proxmox:pve/local"}


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster(nodes=("pve", "pve2")) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path, server: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Terraform runs: the pin of a template that the node has, and the token in the environment."""
    record = publish(tmp_path, "debian-12", 4)
    pin(tmp_path / DEFAULT, record)
    (server.storages["local"].folder("pve") / record.file).write_bytes(b"template")
    monkeypatch.setenv("PM_API_URL", server.url)
    monkeypatch.setenv("PM_API_TOKEN_ID", server.token.id)
    monkeypatch.setenv("PM_API_TOKEN_SECRET", server.token.secret)
    monkeypatch.setenv("LXCAST_CA_FILE", str(server.ca))
    monkeypatch.setenv("PM_NODE", "pve")
    monkeypatch.setenv("PM_STORAGE", "local")
    return tmp_path


def test_name_and_size_are_confirmed(folder: Path) -> None:
    answer = result({**NAMED, "verify": "storage"}, cwd=folder)
    assert set(answer) == KEYS
    assert (answer["template_id"], answer["version"]) == ("local:vztmpl/debian-12-v4.tar.zst", "v4")
    assert (answer["node"], answer["verified"]) == ("pve", "size")
    assert int(answer["ctime"]) > 0
    assert result({**NAMED, "storage": "proxmox:", "version": "v4"}, cwd=folder) == answer


@pytest.mark.parametrize(
    "named", [{}, {"storage": "local"}, {"storage": "proxmox:"}, {"storage": "proxmox:pve2/local"}], ids=str
)
def test_a_node_of_its_own_confirms_the_pin(named: dict[str, str], folder: Path, server: Cluster) -> None:
    """Its storage is the pin's where none is named."""
    asked = {"name": "debian-12", "node": "pve2", **named}
    assert "no local:vztmpl/debian-12-v4.tar.zst" in " ".join(refusal(asked, cwd=folder).split())
    (server.storages["local"].folder("pve2") / "debian-12-v4.tar.zst").write_bytes(b"template")
    answer = result({**asked, "verify": "storage"}, cwd=folder)
    assert (answer["node"], answer["verified"], answer["storage"]) == ("pve2", "size", "local")
    assert result({**asked, "verify": "pin"}, cwd=folder)["node"] == ""


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("/srv", "a directory"),
        ("local=srv", "a directory"),
        ("proxmox:pve/local", "storage is of the node pve: leave node out"),
    ],
)
def test_a_node_and_the_storage_of_another_place_exclude_each_other(storage: str, said: str, folder: Path) -> None:
    assert said in " ".join(refusal({"name": "debian-12", "node": "pve2", "storage": storage}, cwd=folder).split())


def test_a_template_that_is_missing_or_of_another_size_is_told(folder: Path, server: Cluster) -> None:
    file = server.storages["local"].folder("pve") / "debian-12-v4.tar.zst"
    file.write_bytes(b"half")
    text = " ".join(refusal(NAMED, cwd=folder).split())
    assert "has 4 bytes, 8 are pinned" in text
    file.rename(file.with_name("debian-12-v3.tar.zst"))
    text = " ".join(refusal(NAMED, cwd=folder).split())
    assert "no local:vztmpl/debian-12-v4.tar.zst, which is pinned" in text
    assert "there are: local:vztmpl/debian-12-v3.tar.zst" in text


def test_storage_and_version_of_the_query_must_match_the_pin(folder: Path) -> None:
    text = " ".join(refusal({**NAMED, "storage": "proxmox:pve/nfs"}, cwd=folder).split())
    assert "storage is proxmox:pve/nfs" in text
    assert "version is v5 in the query" in " ".join(refusal({**NAMED, "version": "v5"}, cwd=folder).split())
    assert "only a directory has" in " ".join(refusal({**NAMED, "version": "latest"}, cwd=folder).split())


def test_a_server_that_is_down_is_told_and_the_pin_alone_answers(folder: Path, server: Cluster) -> None:
    server.stop("pve")
    text = refusal(NAMED, cwd=folder)
    assert text.startswith("lxcast-data: Proxmox cannot be asked\n")
    assert 'verify = "pin" answers from the pin alone' in " ".join(text.split())
    assert result({**NAMED, "verify": "pin"}, cwd=folder)["verified"] == "pin"


def test_without_a_token_it_says_which_variables_are_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PM_API_TOKEN_SECRET")
    text = refusal(NAMED, cwd=folder)
    assert "PM_API_TOKEN_SECRET" in text
    assert "LXCAST_PROFILE" in text
    assert "--" not in text, "the data source has no options"


def test_a_certificate_that_nobody_vouches_for_is_told_with_the_variables(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LXCAST_CA_FILE")
    text = refusal(NAMED, cwd=folder)
    assert {"(LXCAST_CA_FILE,", "(LXCAST_FINGERPRINT);"} <= set(text.split())
    assert "--" not in text


def test_a_server_that_answers_too_late_is_given_up(folder: Path, server: Cluster) -> None:
    server.faults.delay = 25
    text = refusal(NAMED, cwd=folder)
    assert "did not answer within 20 s" in " ".join(text.split())
    assert text.count('verify = "pin"') == 1
