"""A root filesystem beside its metadata, or with it in one archive, as distrobuilder, Incus and their users pack it."""

import hashlib
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError, LxcastError, SourceError
from lxcast.sources import Packaged, open_source
from lxcast.sources.archive import open_file
from lxcast.tar.member import SYM
from tests.image_files import Line, layer

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


YAML = b"architecture: x86_64\nproperties: {os: debian, release: bookworm}\n"
META = layer([("metadata.yaml", "file", YAML)])
LXC_META = layer([("templates", "file", b"/etc/name\n"), ("create-message", "file", b"hello\n")])
FILES = [(b"etc", 0), (b"etc/big", 3_000_000), (b"sbin", 0)]


def members(source: str) -> list[tuple[bytes, int]]:
    with open_source(source).members() as found:
        return [(member.path, member.size) for member in found]


def release(source: str) -> str:
    opened = open_source(source)
    assert isinstance(opened, Packaged)
    return opened.metadata.said("release")


def test_the_pair_is_found_by_its_folder_and_by_either_file(tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar.xz").write_bytes(lzma.compress(INNER))
    (tmp_path / "meta.tar.xz").write_bytes(lzma.compress(META))
    for source in (tmp_path, tmp_path / "rootfs.tar.xz", tmp_path / "meta.tar.xz"):
        assert release(str(source)) == "bookworm"
        assert members(str(source)) == FILES


@pytest.mark.parametrize(
    ("root", "meta"),
    [
        ("rootfs.tar.gz", "incus.tar.xz"),
        ("rootfs.tar", "lxd.tar.xz"),
        ("rootfs.tar.xz", "metadata.yaml"),
        ("hakim-default-bookworm-amd64.tar.xz", "hakim-default-bookworm-amd64.meta.tar.xz"),
    ],
)
def test_the_names_that_builders_give(tmp_path: Path, root: str, meta: str) -> None:
    (tmp_path / root).write_bytes(lzma.compress(INNER))
    (tmp_path / meta).write_bytes(YAML if meta.endswith("yaml") else lzma.compress(META))
    assert release(str(tmp_path / root)) == "bookworm"
    assert members(str(tmp_path / root)) == FILES


def test_metadata_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "incus.tar.xz").write_bytes(lzma.compress(META))
    with pytest.raises(SourceError, match="contains only the metadata"):
        open_source(str(tmp_path / "incus.tar.xz"))


def test_a_folder_with_two_root_filesystems_is_told(tmp_path: Path) -> None:
    for name in ("rootfs.tar.xz", "rootfs.tar"):
        (tmp_path / name).write_bytes(INNER)
    with pytest.raises(ArchiveError, match="several root filesystems"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("order", [["metadata.yaml", "templates/x.tpl", "rootfs"], ["rootfs", "metadata.yaml"]])
def test_a_unified_archive_is_what_lies_below_rootfs(tmp_path: Path, order: list[str]) -> None:
    parts: dict[str, list[Line]] = {
        "metadata.yaml": [("metadata.yaml", "file", YAML)],
        "templates/x.tpl": [("templates", "dir", 0o755), ("templates/x.tpl", "file", b"x")],
        "rootfs": [
            ("rootfs", "dir", 0o755),
            ("rootfs/etc", "dir", 0o755),
            ("rootfs/etc/a", "file", b"a"),
            ("rootfs/etc/b", "link", "rootfs/etc/a"),
            ("rootfs/rootfs/x", "file", b"deeper"),
        ],
    }
    path = tmp_path / "debian.tar.xz"
    path.write_bytes(lzma.compress(layer([each for name in order for each in parts[name]])))
    assert release(str(path)) == "bookworm"
    with open_source(str(path)).members() as found:
        told = [(each.path, each.link) for each in found]
    assert told == [(b"", b""), (b"etc", b""), (b"etc/a", b""), (b"etc/b", b"etc/a"), (b"rootfs/x", b"")]


def test_what_a_unified_archive_must_not_hold_is_told_at_the_latest_when_it_is_read(tmp_path: Path) -> None:
    for name, more in (("x", ("etc/passwd", "file", b"")), ("y", ("rootfs/b", "link", "metadata.yaml"))):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(layer([("metadata.yaml", "file", YAML), ("rootfs/a", "file", b"a"), more]))
        with pytest.raises(ArchiveError, match=r"in addition to a root filesystem|not below rootfs/"):
            paths(str(path))


def test_a_folder_rootfs_without_metadata_is_no_unified_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(layer([("rootfs", "dir", 0o755), ("rootfs/etc", "dir", 0o755)]))
    assert paths(str(path)) == [b"rootfs", b"rootfs/etc"]


def test_what_comes_after_the_inner_archive_is_looked_at(tmp_path: Path) -> None:
    files = {"meta.tar.xz": lzma.compress(META), "rootfs.tar.xz": lzma.compress(INNER), "etc/passwd": b""}
    source = wrapped(tmp_path / "x.tar.xz", files)
    with pytest.raises(ArchiveError, match="contains /etc/passwd in addition to a root filesystem"):
        paths(source)


def test_lxc_name_is_replaced_where_the_metadata_says_that_it_stands_for_the_name(tmp_path: Path) -> None:
    inner = layer([("etc/name", "file", b"LXC_NAME LXC_NAME\n"), ("etc/other", "file", b"LXC_NAME\n")])
    (tmp_path / "rootfs.tar.xz").write_bytes(lzma.compress(inner))
    (tmp_path / "meta.tar.xz").write_bytes(lzma.compress(LXC_META))
    with open_source(str(tmp_path)).members() as found:
        told = {member.path: b"".join(map(bytes, member.chunks())) for member in found}
    assert told == {b"etc/name": b"localhost localhost\n", b"etc/other": b"LXC_NAME\n"}


@pytest.mark.parametrize("sums", ["SHA256SUMS", "sha256sums.txt"])
def test_the_checksums_beside_a_file_hold(tmp_path: Path, sums: str) -> None:
    files = {"rootfs.tar.xz": lzma.compress(INNER), "meta.tar.xz": lzma.compress(META), "plain.tar": INNER}
    lines = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()} *./{name}\n")
    (tmp_path / sums).write_text("".join(lines))
    assert members(str(tmp_path)) == FILES
    assert members(str(tmp_path / "plain.tar")) == FILES
    for number, name in enumerate(files):
        wrong = [*lines]
        wrong[number] = f"{'0' * 64}  {name}\n"
        (tmp_path / sums).write_text("".join(wrong))
        with pytest.raises(ArchiveError, match="is damaged: its digest is sha256:"):
            members(str(tmp_path / ("plain.tar" if name == "plain.tar" else "")))


def listing(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()} *./{name}\n" for name, data in files.items()).encode()


PAIR = {"meta.tar.xz": lzma.compress(META), "rootfs.tar.xz": lzma.compress(INNER)}


@pytest.mark.parametrize("sums", ["SHA256SUMS", "sha256sums.txt"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("damaged", ["", *PAIR])
def test_the_checksums_in_an_archive_hold(tmp_path: Path, sums: str, first: bool, damaged: str) -> None:
    listed = listing({**PAIR, "other.iso": b""})
    right = hashlib.sha256(PAIR[damaged]).hexdigest() if damaged else ""
    if damaged:
        listed = listed.replace(right.encode(), b"0" * 64)
    files = {sums: listed, **PAIR} if first else {**PAIR, sums: listed}
    path = wrapped(tmp_path / "x.tar", files, "w")
    if damaged:
        with pytest.raises(ArchiveError, match=rf"{damaged}, by its {sums}, is damaged: its digest is sha256:{right}"):
            members(path)
    else:
        assert members(path) == FILES
        assert not [each for each in open_source(path).warnings if "compared" in each]


def test_checksums_that_tell_nothing_of_the_root_filesystem_are_told(tmp_path: Path) -> None:
    source = open_source(wrapped(tmp_path / "x.tar", {"SHA256SUMS": listing({"disk.img": b""}), **PAIR}, "w"))
    for _ in range(2):
        with source.members() as found:
            assert [*found]
    assert [each for each in source.warnings if "compared" in each] == [
        f"{tmp_path}/x.tar: its checksums do not list rootfs.tar.xz, which was not compared"
    ]


def test_the_metadata_of_a_unified_archive_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for told in (YAML, b"other"):
        sums = ("SHA256SUMS", "file", listing({"metadata.yaml": told}))
        path.write_bytes(layer([("metadata.yaml", "file", YAML), ("rootfs/a", "file", b"a"), sums]))
        source = open_source(str(path))
        if told == YAML:
            with source.members() as found:
                assert [*found]
            assert source.warnings == [f"{path}: its checksums do not list rootfs, which was not compared"]
        else:
            with pytest.raises(ArchiveError, match=r"metadata\.yaml, by its SHA256SUMS, is damaged"):
                paths(str(path))


def test_checksums_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    (tmp_path / "plain.tar").write_bytes(INNER)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  plain.tar\n")
    (tmp_path / "sha256sums.txt").write_text(f"{'1' * 64}  plain.tar\n")
    with pytest.raises(SourceError, match=r"SHA256SUMS lists 000.*; sha256sums.txt lists 111"):
        open_source(str(tmp_path / "plain.tar"))


def test_metadata_that_is_too_large_is_refused(tmp_path: Path) -> None:
    big = {"metadata.yaml": bytes(300_000), "rootfs.tar": INNER}
    with pytest.raises(ArchiveError, match="300000 bytes"):
        open_source(wrapped(tmp_path / "x.tar", big, "w"))
    many = lzma.compress(layer([(f"a{number}", "dir", 0o755) for number in range(10_001)]))
    with pytest.raises(ArchiveError, match="10000"):
        open_source(wrapped(tmp_path / "z.tar", {"meta.tar.xz": many, "rootfs.tar": INNER}, "w"))
    bomb = lzma.compress(layer([("a", "file", bytes(200_000_000))]))
    with pytest.raises(ArchiveError, match="200000000 bytes"):
        open_source(wrapped(tmp_path / "y.tar", {"meta.tar.xz": bomb, "rootfs.tar": INNER}, "w"))


needs_sqfs2tar = pytest.mark.skipif(shutil.which("tar2sqfs") is None, reason="needs squashfs-tools-ng")


def squashed(path: Path, inner: bytes) -> Path:
    subprocess.run(["tar2sqfs", "-q", path], input=inner, check=True, capture_output=True)
    return path


@needs_sqfs2tar
def test_a_squashfs_image_gives_the_members_of_its_archive(tmp_path: Path) -> None:
    tree = layer(
        [
            ("etc", "dir", 0o750),
            ("etc/a", "file", b"a" * 200_000),
            ("etc/b", "link", "etc/a"),
            ("etc/link", "symlink", "a"),
            ("etc/odd\nname", "file", b""),
        ]
    )
    image = squashed(tmp_path / "rootfs.squashfs", tree)
    (tmp_path / "incus.tar.xz").write_bytes(lzma.compress(META))
    assert release(str(tmp_path)) == release(str(image)) == release(str(tmp_path / "incus.tar.xz")) == "bookworm"
    assert open_source(str(image)).origin.kind == "squashfs"
    (tmp_path / "plain.tar").write_bytes(tree)

    def told(source: str) -> list[tuple[object, ...]]:
        with open_source(source).members() as found:
            return sorted(
                (m.path, m.type, m.mode * (m.type != SYM), m.uid, m.mtime, m.link, b"".join(m.chunks())) for m in found
            )

    assert [each for each in told(str(image)) if each[0]] == told(str(tmp_path / "plain.tar"))


@needs_sqfs2tar
def test_a_damaged_squashfs_image_is_told(tmp_path: Path) -> None:
    image = squashed(tmp_path / "x.squashfs", layer([("a", "file", random.Random(1).randbytes(3_000_000))]))
    whole = image.read_bytes()
    image.write_bytes(whole[:100_000] + bytes(len(whole) - 100_000))
    with pytest.raises(ArchiveError, match=r"sqfs2tar failed|ends within|is empty"):
        paths(str(image))


def test_without_the_program_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.squashfs").write_bytes(b"hsqs" + bytes(2000))
    environ = dict(os.environ)
    os.environ["PATH"] = str(tmp_path)
    try:
        with pytest.raises(SourceError, match="sqfs2tar") as told:
            open_source(str(tmp_path / "x.squashfs"))
    finally:
        os.environ.update(environ)
    assert "squashfs-tools-ng" in told.value.hint


def test_a_squashfs_image_that_is_taken_for_an_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hsqs" + bytes(2000))
    with pytest.raises(LxcastError, match="squashfs"), open_file(tmp_path / "x").members():
        pass


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
