"""An https source: one that is streamed, one that must be kept, and everything that is not what it should be."""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lxcast.errors import ArchiveError, SourceError, UsageError
from lxcast.jobs.build import Built, build
from lxcast.progress import Progress
from lxcast.settings import make_build_options
from lxcast.sources import download_cache, open_source
from lxcast.tar.member import Member, regular
from tests.https_server import FileServer, file_server
from tests.image_files import docker_archive
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian

ROOTFS = archive([*minimal_debian(), regular(b"srv/big", os.urandom(1_500_000))])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    with file_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    monkeypatch.setenv("SSL_CERT_FILE", str(running.ca))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    running.__init__(running.url, running.ca)  # type: ignore[misc] # as it was when it was made
    return running


def serve(server: FileServer, data: bytes) -> str:
    """Serve it at /x, and return its digest."""
    server.files["/x"] = data
    return hashlib.sha256(data).hexdigest()


def cast(server: FileServer, tmp_path: Path, sha256: str = "", **given: object) -> Built:
    checksum = {"sha256": sha256} if sha256 else {"insecure_no_checksum": True}
    options: dict[str, Any] = {"name": "web", "storage": str(tmp_path / "storage"), **checksum, **given}
    return build(f"{server.url}/x?sig=hunter2", make_build_options(**options), Progress())


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "storage/template/cache").glob("*"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_tar_is_read_while_it_comes_and_nothing_is_kept(
    server: FileServer, tmp_path: Path, pack: type[bytes]
) -> None:
    digest = serve(server, pack(ROOTFS))
    server.cuts = [1000, 1_200_000]
    made = cast(server, tmp_path, digest)
    assert made.volid == "local:vztmpl/web-v1.tar.zst"
    assert made.record.source.kind == "https"
    assert made.record.source.reference == f"{server.url}/x?***"
    assert made.record.source.digest == f"sha256:{digest}"
    assert "hunter2" not in made.record.to_json()
    (tmp_path / "rootfs.tar").write_bytes(ROOTFS)
    local = build(
        str(tmp_path / "rootfs.tar"), make_build_options(name="local", storage=str(tmp_path / "storage")), Progress()
    )
    assert made.record.diff_id == local.record.diff_id
    assert not download_cache.list_downloads()
    assert [status for status, _ in server.requests].count("/x?sig=hunter2") == len(server.requests) == 3


def test_the_same_file_again_is_a_look_up_that_asks_no_server(server: FileServer, tmp_path: Path) -> None:
    digest = serve(server, ROOTFS)
    first = cast(server, tmp_path, digest)
    asked = len(server.requests)
    again = cast(server, tmp_path, digest)
    assert again.reused
    assert again.volid == first.volid
    assert len(server.requests) == asked
    assert not cast(server, tmp_path, digest, platform="linux/arm64").reused


def test_without_a_checksum_the_record_tells_what_was_read(server: FileServer, tmp_path: Path) -> None:
    digest = serve(server, ROOTFS)
    assert cast(server, tmp_path).record.source.digest == f"sha256:{digest}"
    assert not cast(server, tmp_path).reused


@pytest.mark.parametrize(
    "data", [ROOTFS, gzip.compress(ROOTFS), ROOTFS + b"x" * 5000, ROOTFS[:-700_000], b"<html>", b""]
)
def test_other_bytes_than_expected_are_never_published(server: FileServer, tmp_path: Path, data: bytes) -> None:
    found = serve(server, data)
    with pytest.raises(ArchiveError) as caught:
        cast(server, tmp_path, "ab" * 32, release_metadata={"A": "b"})
    assert caught.value.message == f"{server.url}/x?***: has sha256 {found}, expected {'ab' * 32}"
    assert stored(tmp_path) == []
    assert list(download_cache.cache_directory().glob("*")) == []


def nested(tmp_path: Path) -> bytes:
    (tmp_path / "rootfs.tar.xz").write_bytes(lzma.compress(ROOTFS))
    (tmp_path / "meta.tar.xz").write_bytes(lzma.compress(archive([regular(b"metadata.yaml", b"x: y\n")])))
    with tarfile.open(tmp_path / "outer.tar.xz", "w:xz") as tar:
        for name in ("meta.tar.xz", "rootfs.tar.xz"):
            tar.add(tmp_path / name, name)
    return (tmp_path / "outer.tar.xz").read_bytes()


def saved(tmp_path: Path) -> bytes:
    return docker_archive(tmp_path / "saved.tar", [ROOTFS]).read_bytes()


def squashed(tmp_path: Path) -> bytes:
    subprocess.run(["tar2sqfs", "-q", tmp_path / "x.squashfs"], input=ROOTFS, check=True, capture_output=True)
    return (tmp_path / "x.squashfs").read_bytes()


@pytest.mark.parametrize(
    "kind",
    [
        nested,
        saved,
        pytest.param(
            squashed,
            marks=pytest.mark.skipif(shutil.which("tar2sqfs") is None, reason="needs squashfs-tools-ng"),
        ),
    ],
)
def test_what_is_read_twice_is_kept_under_its_digest(server: FileServer, tmp_path: Path, kind: type[bytes]) -> None:
    data = kind(tmp_path)
    digest = serve(server, data)
    server.cuts = [len(data) // 2]
    made = cast(server, tmp_path, digest)
    assert (made.record.source.kind, made.record.source.digest) == ("https", f"sha256:{digest}")
    assert [each.sha256 for each in download_cache.list_downloads()] == [digest]
    assert download_cache.cache_directory().stat().st_mode & 0o077 == 0
    asked = len(server.requests)
    assert cast(server, tmp_path, digest, remove=("srv",)).volid == "local:vztmpl/web-v2.tar.zst"
    assert len(server.requests) == asked, "it is there"
    (download_cache.cache_directory() / digest).write_bytes(data[:-1])
    assert cast(server, tmp_path, digest, remove=("usr/share/doc",)).volid == "local:vztmpl/web-v3.tar.zst"
    assert len(server.requests) > asked, "what was damaged is fetched again"
    assert (download_cache.cache_directory() / digest).read_bytes() == data


def test_an_archive_that_needs_two_readings_is_fetched_twice(server: FileServer, tmp_path: Path) -> None:
    twice: list[Member] = [*minimal_debian(), regular(b"srv/x", b"1"), regular(b"srv/x", b"2")]
    digest = serve(server, archive(twice))
    assert cast(server, tmp_path, digest).volid == "local:vztmpl/web-v1.tar.zst"
    assert len(server.requests) == 2
    with pytest.raises(SourceError, match="srv/x"):
        cast(server, tmp_path)


def test_what_the_server_refuses_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the server replied 404"):
        cast(server, tmp_path, "ab" * 32)
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "checksum", "said"),
    [
        ("https://me:hunter2@h/x?k=hunter2", None, "https://h/x?***: a checksum is required for an https source"),
        ("http://h/x?k=hunter2", "ab" * 32, "http://h/x?***: http:// is not supported"),
        ("rootfs.tar", "ab" * 32, "rootfs.tar: a checksum is only valid for an https source"),
    ],
)
def test_what_no_checksum_or_no_https_vouches_for_is_refused(source: str, checksum: str | None, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(source, sha256=checksum)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_malformed_checksum_is_told() -> None:
    with pytest.raises(UsageError, match="expected 64 hexadecimal digits"):
        make_build_options(name="x", sha256="abc")
    with pytest.raises(UsageError, match="exclude each other"):
        make_build_options(name="x", sha256="ab" * 32, insecure_no_checksum=True)


def test_downloads_are_pruned_by_age(server: FileServer, tmp_path: Path) -> None:
    data = saved(tmp_path)
    digest = serve(server, data)
    cast(server, tmp_path, digest)
    assert download_cache.prune(1) == []
    os.utime(download_cache.cache_directory() / digest, (0, 0))
    (download_cache.cache_directory() / ".lxcast-0123456789abcdef.tmp").write_bytes(b"of a killed build")
    (kept,) = download_cache.prune(1)
    assert (kept.sha256, kept.size) == (digest, len(data))
    assert list(download_cache.cache_directory().iterdir()) == []
