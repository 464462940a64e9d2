import time
from pathlib import Path

import pytest

from lxcast.errors import UsageError
from lxcast.identifiers import suffix_of
from lxcast.model import (
    DirectoryRef,
    ProxmoxRef,
    Version,
    Volid,
    moment,
    parse_architecture,
    parse_storage,
    rfc3339,
)
from lxcast.settings import BY_NAME


def test_a_volid_reads_and_prints() -> None:
    volid = Volid.parse("pve-nfs:vztmpl/debian-12-v4.tar.zst")
    assert (volid.storage, volid.file) == ("pve-nfs", "debian-12-v4.tar.zst")
    assert str(volid) == "pve-nfs:vztmpl/debian-12-v4.tar.zst"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local", "not a volid of a template"),
        ("local:iso/x.iso", "not a volid of a template"),
        ("x:vztmpl/a.tar.zst", "invalid storage id"),
        ("-x:vztmpl/a.tar.zst", "invalid storage id"),
        ("local:vztmpl/a b.tar.zst", "invalid template file name"),
        ("local:vztmpl/../a.tar.zst", "invalid template file name"),
        ("local:vztmpl/.a.tar.zst", "invalid template file name"),
        ("local:vztmpl/a.TAR.ZST", "ends in none"),
        ("local:vztmpl/a.tgz", "ends in none"),
        ("local:vztmpl/ä.tar.zst", "invalid template file name"),
        ("local:vztmpl/" + "a" * 235 + ".tar.zst", "256 characters"),
        ("x:vztmpl/a b", "invalid storage id"),
        ("x:vztmpl/a b", "invalid template file name"),
        ("x:vztmpl/a b", "ends in none"),
    ],
)
def test_an_illegal_volid_is_refused_with_every_reason(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Volid.parse(text)


def test_a_volid_of_255_characters_is_legal() -> None:
    assert len(str(Volid.parse("local:vztmpl/" + "a" * 234 + ".tar.zst"))) == 255


@pytest.mark.parametrize(
    ("file", "suffix"),
    [
        ("a.tar.zst", ".tar.zst"),
        ("a.tar", ".tar"),
        ("a.tar.bz2", ".tar.bz2"),
        (".a.tar", ""),
        (".tar", ""),
        ("a.tar.zst.sha256", ""),
        ("a.json", ""),
        ("a/b.tar", ""),
    ],
)
def test_what_proxmox_lists_as_a_template(file: str, suffix: str) -> None:
    assert suffix_of(file) == suffix


def test_versions_count_and_compare() -> None:
    assert Version.parse("v9").next == Version.parse("v10")
    assert Version.parse("v9") < Version.parse("v10")
    assert str(Version(4)) == "v4"


@pytest.mark.parametrize("text", ["", "4", "v", "v0", "v04", "v-1", "v1.2", "V4", "v٤", "v4\n", "v1234567890"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(UsageError, match="invalid version"):
        Version.parse(text)


def test_architectures_of_docker_debian_and_uname() -> None:
    names = ("amd64", "x86_64", "linux/amd64", "aarch64", "linux/arm/v7", "armv7l", "386", "i686", "riscv64")
    assert [parse_architecture(name) for name in names] == [
        "amd64",
        "amd64",
        "amd64",
        "arm64",
        "armhf",
        "armhf",
        "i386",
        "i386",
        "riscv64",
    ]
    with pytest.raises(UsageError, match="s390x") as caught:
        parse_architecture("s390x")
    assert caught.value.hint == f"one of: {', '.join(BY_NAME['arch'].choices)}"


def test_storages_are_folders_or_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "storage").mkdir()
    assert parse_storage("storage") == DirectoryRef("local", tmp_path / "storage")
    assert parse_storage("./new/") == DirectoryRef("local", tmp_path / "new")
    assert parse_storage("..") == DirectoryRef("local", tmp_path.parent)
    assert parse_storage("/var/lib/vz") == DirectoryRef("local", Path("/var/lib/vz"))
    assert parse_storage("/mnt/pve/nfs-1/") == DirectoryRef("nfs-1", Path("/mnt/pve/nfs-1"))
    assert parse_storage("/mnt/pve/nfs-1/deeper") == DirectoryRef("local", Path("/mnt/pve/nfs-1/deeper"))
    assert parse_storage("pve-nfs=/srv/a=b") == DirectoryRef("pve-nfs", Path("/srv/a=b"))
    assert parse_storage("/srv/a=b") == DirectoryRef("local", Path("/srv/a=b"))
    assert parse_storage("proxmox:pve1/local") == ProxmoxRef("pve1", "local")


def test_a_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_storage("~/templates") == DirectoryRef("local", Path("/home/someone/templates"))


def test_a_bare_word_that_is_no_folder_offers_what_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        parse_storage("pve-nfs")
    assert all(offer in caught.value.hint for offer in ("./pve-nfs", "pve-nfs=PATH", "proxmox:NODE/pve-nfs"))


def test_proxmox_alone_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PM_NODE", "pve1")
    monkeypatch.setenv("PM_STORAGE", "local")
    assert parse_storage("proxmox:") == ProxmoxRef("pve1", "local")
    monkeypatch.delenv("PM_NODE")
    monkeypatch.setenv("PM_STORAGE", "!")
    with pytest.raises(UsageError, match="PM_NODE is not set, PM_STORAGE is '!'"):
        parse_storage("proxmox:")


@pytest.mark.parametrize(
    "text", ["", "=x", "a=/x", "id=", "proxmox:node", "proxmox:/x", "proxmox:n/", "proxmox:a b/xx"]
)
def test_what_is_no_storage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_storage(text)


def test_the_moment_is_source_date_epoch_or_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795257180")
    assert rfc3339(moment()) == "2026-11-21T10:33:00Z"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert abs(moment() - time.time()) < 60
    for wrong in ("now", "-1", "1.5", "9999999999999"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
            moment()
