"""The sidecars of a template go where it goes, and are removed with it; its record stays."""

from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.unit.cli.proxmox import access, make_template
from tests.unit.cli.running import lxcast

SIDECARS = ("debian-12-v1.cdx.json", "debian-12-v1.intoto.json", "debian-12-v1.tar.zst.sha256.sig")


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A template with an SBOM, a statement and a signature next to it, and a file that is none of its own."""
    template = make_template(tmp_path / "made")
    for name in SIDECARS:
        template.with_name(name).write_bytes(name.encode())
    template.with_name("debian-12-v1.notes").write_bytes(b"")
    return template


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file())


def test_sidecars_reach_a_directory_and_go_with_the_template(tmp_path: Path, signed: Path) -> None:
    there = ("--storage", "nfs=./nfs")
    told = lxcast("publish", signed, *there, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (0, "nfs:vztmpl/debian-12-v1.tar.zst\n"), told.stderr
    cache = tmp_path / "nfs/template/cache"
    whole = [*SIDECARS, "debian-12-v1.json", "debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]
    assert names(cache) == sorted(whole)
    assert (cache / SIDECARS[0]).read_bytes() == SIDECARS[0].encode()
    assert (cache / "debian-12-v1.tar.zst").read_bytes() == signed.read_bytes()
    assert "already" in lxcast("publish", signed, *there, cwd=tmp_path).stderr
    assert lxcast("remove", "debian-12-v1.tar.zst", *there, "--apply", cwd=tmp_path).returncode == 0
    assert names(cache) == ["debian-12-v1.json"]


def test_sidecars_reach_the_ledger_of_a_proxmox_storage_and_go_with_the_last_copy(tmp_path: Path, signed: Path) -> None:
    with Cluster(("a", "b")) as server:
        environ = access(server, tmp_path)

        def run(*words: str | Path) -> None:
            told = lxcast(*words, "--records", "records", cwd=tmp_path, environ=environ)
            assert told.returncode == 0, told.stderr

        run("publish", signed, "--storage", "proxmox:a/local", "--all-nodes")
        records = tmp_path / "records"
        assert names(records) == sorted((*SIDECARS, "debian-12-v1.json"))
        run("remove", "debian-12-v1.tar.zst", "--storage", "proxmox:a/local", "--apply")
        assert len(names(records)) == 4, "node b still has the template"
        run("remove", "debian-12-v1.tar.zst", "--storage", "proxmox:b/local", "--apply")
        assert names(records) == ["debian-12-v1.json"]
