"""What comes from a pipe is told as it comes: a root filesystem, or an archive around one."""

import gzip
import lzma
import os
import subprocess
import threading
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError
from lxcast.sources import open_source
from lxcast.tar.member import regular
from tests.image_files import layer
from tests.unit.cli.running import COMMAND, archive, environment
from tests.unit.rootfs.filesystems import minimal_debian

INNER = layer([("etc", "dir", 0o755), ("etc/big", "file", bytes(3_000_000)), ("sbin", "symlink", "usr/sbin")])
META = lzma.compress(layer([]))


def outer(files: dict[str, bytes]) -> bytes:
    return layer([(name, "file", content) for name, content in files.items()])


def read(tmp_path: Path, data: bytes) -> tuple[list[tuple[bytes, int]], list[str]]:
    """Return path and size of each member that comes through a named pipe, and the warnings."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    try:
        source = open_source(str(pipe))
        assert not source.rereadable
        with source.members() as members:
            found = []
            for member in members:
                assert sum(map(len, member.chunks())) == member.stored
                found.append((member.path, member.size))
        return found, source.warnings
    finally:
        writer.join(10)


WITHIN = [(b"etc", 0), (b"etc/big", 3_000_000), (b"sbin", 0)]


@pytest.mark.parametrize(
    "files",
    [
        {"meta.tar.xz": META, "rootfs.tar.xz": lzma.compress(INNER)},
        {"./rootfs.tar": INNER, "./metadata.yaml": b"architecture: x86_64\n", "./templates/hostname.tpl": b"x"},
        {"rootfs.tar.gz": gzip.compress(INNER)},
    ],
    ids=lambda files: " ".join(files),
)
@pytest.mark.parametrize("pack", [bytes, lzma.compress], ids=["plain", "xz"])
def test_the_inner_archive_comes(tmp_path: Path, files: dict[str, bytes], pack: type[bytes]) -> None:
    found, (warning,) = read(tmp_path, pack(outer(files)))
    assert found == WITHIN
    assert "rootfs.tar" in warning


def test_a_root_filesystem_comes_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, INNER) == (WITHIN, [])


def test_files_that_could_be_metadata_are_not_lost(tmp_path: Path) -> None:
    data = layer([("config", "file", b"abc"), ("templates", "dir", 0o755), ("etc", "dir", 0o755)])
    assert read(tmp_path, data) == ([(b"config", 3), (b"templates", 0), (b"etc", 0)], [])


def test_nothing_but_metadata_comes_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, outer({"metadata.yaml": b"x"})) == ([(b"metadata.yaml", 1)], [])


def test_large_files_are_not_held(tmp_path: Path) -> None:
    assert read(tmp_path, outer({"config": bytes(5 << 20), "expiry": b""}))[0] == [(b"config", 5 << 20), (b"expiry", 0)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"rootfs.tar": INNER, "etc/passwd": b""}, r"holds /etc/passwd beside a root filesystem"),
        ({"rootfs.tar": INNER, "rootfs.tar.xz": b"x"}, r"several root filesystems"),
        ({"rootfs.tar.xz": lzma.compress(INNER)[:-20]}, r"rootfs\.tar\.xz: its xz data is truncated"),
    ],
)
def test_what_is_wrong_around_it_is_told(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        read(tmp_path, outer(files))


def test_a_build_from_standard_input_gives_what_the_file_gives(tmp_path: Path) -> None:
    data = lzma.compress(archive([*minimal_debian(), regular(b"srv/x", b"y")]))
    (tmp_path / "nested.tar").write_bytes(outer({"meta.tar.xz": META, "rootfs.tar.xz": data}))
    for source in ("-", "nested.tar"):
        with (tmp_path / "nested.tar").open("rb") as stdin:
            line = [*COMMAND, "build", source, "--name", "x", "--output", "out"]
            done = subprocess.run(line, stdin=stdin, cwd=tmp_path, env=environment({}), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    one, other = (tmp_path / f"out/x-v{number}.tar.zst" for number in (1, 2))
    assert one.read_bytes() == other.read_bytes()
