"""Everything that GNU tar, bsdtar and Python write is read equal, and what we make of it is read equal by them."""

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.tar.member import REG
from lxcast.tar.reader import Reader
from lxcast.tar.writer import Writer
from tests.unit.tar import trees

GNU = ("v7", "ustar", "oldgnu", "gnu", "pax")
BSD = ("v7", "ustar", "gnutar", "pax")
AGES = {"v7": "oldest", "ustar": "modest"}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make owners, devices and capabilities"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("tar", "bsdtar", "setfacl", "setcap"))),
        reason="tar, bsdtar, setfacl or setcap is missing",
    ),
]


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("forest")
    for name, age in (("oldest", "oldest"), ("modest", "modest"), ("modern", "modern"), ("dressed", "modern")):
        (top / name).mkdir()
        trees.plant(top / name, age)
    trees.dress(top / "dressed")
    return top


def pack(command: str, *arguments: str, root: Path) -> bytes:
    environ = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    told = subprocess.run([command, "-C", str(root), *arguments, "-cf", "-", "."], capture_output=True, env=environ)
    assert told.returncode == 0, told.stderr
    return told.stdout


class Trickle(io.RawIOBase):
    """Gives as many bytes at a time as it is told to."""

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        super().__init__()
        self._data, self._sizes, self._at = memoryview(data), sizes, 0

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # what a Reader hands over
        part = self._data[self._at : self._at + min(next(self._sizes), len(buffer))]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def reader(data: bytes) -> Reader:
    return Reader(io.BytesIO(data), "archive")


def rewritten(data: bytes) -> bytes:
    out = io.BytesIO()
    source, writer = reader(data), Writer(out.write)
    source.before_refill = writer.flush
    for member in source:
        writer.add(member)
    writer.finish()
    return out.getvalue()


def normal(members: dict[bytes, trees.Seen]) -> dict[bytes, trees.Seen]:
    return trees.with_link_modes(members)


@pytest.mark.parametrize(
    ("format", "sparse"),
    [
        *((format, "") for format in GNU),
        *(("pax", version) for version in ("0.0", "0.1", "1.0")),
        ("oldgnu", "old"),
        ("gnu", "old"),
    ],
)
def test_gnu_tar_is_read_equal(forest: Path, format: str, sparse: str) -> None:
    root = forest / AGES.get(format, "modern")
    flags = ["--sparse", *([f"--sparse-version={sparse}"] if sparse != "old" else [])] if sparse else []
    data = pack("tar", f"--format={format}", *flags, root=root)
    assert normal(trees.seen(reader(data))) == normal(trees.grown(root))
    if sparse:
        assert sum(member.sparse is not None for member in reader(data)) >= 5
    assert normal(trees.seen(reader(rewritten(data)))) == normal(trees.grown(root))


@pytest.mark.parametrize("format", BSD)
def test_bsdtar_is_read_equal(forest: Path, format: str) -> None:
    root = forest / AGES.get(format, "modern")
    expected = trees.grown(root)
    if format == "gnutar":  # bsdtar writes its times in octal alone
        expected = {path: each._replace(mtime=max(0, min(each.mtime, 8**11 - 1))) for path, each in expected.items()}
    assert normal(trees.seen(reader(pack("bsdtar", f"--format={format}", root=root)))) == normal(expected)


@pytest.mark.parametrize(
    "command", ["tar --format=pax --xattrs --acls --xattrs-include=*", "bsdtar --format=pax --acls --xattrs"]
)
def test_attributes_are_read_equal(forest: Path, command: str) -> None:
    root = forest / "dressed"
    data = pack(*command.split(), root=root)
    expected, found = normal(trees.grown(root)), normal(trees.seen(reader(data)))
    # The mode of a file with an ACL: stat(2) shows the ACL's mask as the group's part, bsdtar writes the group's own.
    assert (expected[b"size512"].mode, found[b"size512"].mode & 0o717) == (0o660, 0o600)
    found[b"size512"] = found[b"size512"]._replace(mode=0o660)
    assert found == expected
    members = {member.path: member.xattrs for member in reader(data)}
    assert b"SCHILY.acl.access" in (members[b"size512"] or {})
    assert b"SCHILY.acl.default" in (members[b"group"] or {})


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_python_is_read_equal(forest: Path, format: int) -> None:
    root = forest / ("modest" if format == tarfile.USTAR_FORMAT else "modern")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8") as tar:
        tar.add(root, arcname=".")
    assert normal(trees.seen(reader(out.getvalue()))) == normal(trees.plain(trees.grown(root)))


@pytest.mark.parametrize("size", [1, 511, 512, 513, 4096, 0])
def test_the_size_of_reads_does_not_matter(forest: Path, size: int) -> None:
    data = pack("tar", "--format=pax", "--sparse", "--exclude=./size2500000", root=forest / "modern")
    sizes = random.Random(size)
    pieces = iter(lambda: size or sizes.randrange(1, 100_000), 0)
    assert trees.seen(Reader(Trickle(data, pieces), "archive")) == trees.seen(reader(data))


@pytest.mark.parametrize("flags", ["--format=gnu --sparse", "--format=pax --sparse --xattrs --acls --xattrs-include=*"])
def test_what_passes_twice_has_the_same_bytes(forest: Path, flags: str) -> None:
    once = rewritten(pack("tar", *flags.split(), root=forest / "dressed"))
    assert rewritten(once) == once


def test_every_format_of_one_tree_becomes_the_same_archive(forest: Path) -> None:
    """As far as a format holds everything: one order, one canonical form."""
    root = forest / "modern"
    outcomes = {
        rewritten(pack("tar", "--sort=name", f"--format={format}", root=root)) for format in ("oldgnu", "gnu", "pax")
    }
    assert len(outcomes) == 1


def test_gnu_tar_unpacks_what_we_write_as_it_was(forest: Path, tmp_path: Path) -> None:
    root = forest / "dressed"
    data = rewritten(pack("tar", "--format=pax", "--sparse", "--xattrs", "--acls", "--xattrs-include=*", root=root))
    told = subprocess.run(["tar", "-C", tmp_path, "-x", *trees.PROXMOX], input=data, capture_output=True)
    assert told.returncode == 0, told.stderr
    assert b"gnor" not in told.stderr, "it ignored something"
    assert trees.grown(tmp_path) == trees.grown(root)
    assert trees.acls(tmp_path) == trees.acls(root)
    for name in ("sparse-all", "sparse-many"):
        assert (tmp_path / name).stat().st_blocks <= (root / name).stat().st_blocks


def test_bsdtar_unpacks_what_we_write_as_it_was(forest: Path, tmp_path: Path) -> None:
    root = forest / "dressed"
    data = rewritten(pack("tar", "--format=pax", "--sparse", "--xattrs", "--acls", "--xattrs-include=*", root=root))
    command = ["bsdtar", "-C", str(tmp_path), "--numeric-owner", "--acls", "--xattrs", "-xpf", "-"]
    told = subprocess.run(
        command, input=data, capture_output=True, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    )
    assert told.returncode == 0, told.stderr
    expected, found = trees.grown(root), trees.grown(tmp_path)
    # GNU tar's way to write "=" and "%" in an attribute's name, which bsdtar does not know.
    expected[b"size0"] = expected[b"size0"]._replace(
        xattrs=((b"user.100%2525", b"percent"), (b"user.a%3Db", b"equals"))
    )
    assert found == expected
    assert trees.acls(tmp_path) == trees.acls(root)


def test_python_reads_what_we_write(forest: Path) -> None:
    root = forest / "modern"
    data = rewritten(pack("tar", "--format=pax", "--sparse", root=root))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            body = content.read() if content else b""
            path = os.fsencode(info.name).removeprefix(b"./")
            link = os.fsencode(info.linkname)
            found[path] = (info.mode, info.uid, info.gid, info.mtime, body, link)
    expected = {}
    for member in reader(data):
        link = b"./" + member.link if member.type == b"1" else member.link
        body = trees.expanded(member) if member.type == REG else b""
        expected[member.path or b"."] = (member.mode, member.uid, member.gid, member.mtime, body, link)
    assert found == expected
