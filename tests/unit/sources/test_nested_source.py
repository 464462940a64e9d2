"""An archive within an archive, as distrobuilder's users wrapped it: the inner one is the root filesystem."""

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError
from lxcast.sources import open_source
from tests.image_files import layer

INNER = layer([("etc", "dir", 0o755), ("etc/big", "file", bytes(3_000_000)), ("sbin", "symlink", "usr/sbin")])


def wrapped(path: Path, files: dict[str, bytes], mode: str = "w:xz") -> str:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload] # the mode is a literal there
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def paths(source: str) -> list[bytes]:
    with open_source(source).members() as members:
        return [member.path for member in members]


@pytest.mark.parametrize(
    "files",
    [
        {"meta.tar.xz": lzma.compress(layer([])), "rootfs.tar.xz": lzma.compress(INNER)},
        {"./rootfs.tar": INNER, "./metadata.yaml": b"architecture: x86_64\n", "./templates/hostname.tpl": b"x"},
        {"rootfs.tar.xz": lzma.compress(INNER)},
    ],
)
def test_the_inner_archive_is_read_as_often_as_asked(tmp_path: Path, files: dict[str, bytes]) -> None:
    source = open_source(wrapped(tmp_path / "old.tar.xz", files))
    for _ in range(2):
        with source.members() as members:
            assert [(member.path, member.size) for member in members] == [
                (b"etc", 0),
                (b"etc/big", 3_000_000),
                (b"sbin", 0),
            ]
    (warning,) = source.warnings
    assert "rootfs.tar" in warning


def test_an_archive_with_anything_else_is_taken_as_it_is(tmp_path: Path) -> None:
    source = wrapped(tmp_path / "x.tar", {"rootfs.tar": INNER, "etc/passwd": b""}, "w")
    assert paths(source) == [b"rootfs.tar", b"etc/passwd"]


def test_two_root_filesystems_are_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"several root filesystems: /rootfs\.tar, /rootfs\.tar\.xz"):
        open_source(wrapped(tmp_path / "x.tar", {"rootfs.tar": INNER, "rootfs.tar.xz": lzma.compress(INNER)}, "w"))


def test_a_damaged_inner_archive_is_told(tmp_path: Path) -> None:
    source = wrapped(tmp_path / "x.tar", {"rootfs.tar.xz": lzma.compress(INNER)[:-20]}, "w")
    with pytest.raises(ArchiveError, match="xz data is truncated"):
        paths(source)
