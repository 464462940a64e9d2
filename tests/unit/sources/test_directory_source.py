"""A folder as a source: what GNU tar would say of it, in Docker's order, and nothing from outside of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError, SourceError
from lxcast.jobs.diff import diff
from lxcast.progress import Progress
from lxcast.sources import open_source
from lxcast.tar.member import DIR, FIFO, LNK, SYM, Member
from lxcast.tar.reader import Limits, Reader
from lxcast.tar.writer import Writer


def read(folder: Path) -> list[Member]:
    with open_source(f"rootfs:{folder}").members() as members:
        return [member.held() for member in members]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one of each kind, larger and smaller than the buffer."""
    root = tmp_path / "tree"
    for folder in ("a", "a/b", "a.d", "empty"):
        (root / folder).mkdir(parents=True)
    (root / "a/b/small").write_bytes(b"small")
    (root / "a/empty").touch()
    (root / "big").write_bytes(os.urandom(3_000_001))
    for number in range(300):
        (root / f"a.d/{number}").write_bytes(os.urandom(number * 37))
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(1 << 22)
    (root / "hole").touch()
    os.truncate(root / "hole", 1 << 20)
    (root / "link").symlink_to("/etc/passwd")
    (root / "folder-link").symlink_to(tmp_path)
    os.link(root / "a/b/small", root / "z-hard")
    os.mkfifo(root / "pipe")
    (root / "a/b").chmod(0o1755)
    (root / "big").chmod(0o4755)
    os.utime(root / "a", (1, -1.5))
    return root


def test_a_folder_is_what_gnu_tar_makes_of_it(tree: Path, tmp_path: Path) -> None:
    os.setxattr(tree / "big", "user.note", b"\x00\xff")
    acl = bytes.fromhex("02000000 01000600ffffffff 0200050087d61200 04000400ffffffff 10000500ffffffff 20000400ffffffff")
    os.setxattr(tree / "a/empty", "system.posix_acl_access", acl)
    for kind in ("access", "default"):
        os.setxattr(tree / "empty", f"system.posix_acl_{kind}", acl)
    archive = tmp_path / "tree.tar"
    options = ("--format=pax", "--sparse", "--acls", "--xattrs", "--numeric-owner")
    subprocess.run(["tar", *options, "-C", tree, "-cf", archive, "."], check=True)
    assert diff(str(tree), str(archive), Progress()) == []
    (acls,) = (member.xattrs for member in read(tree) if member.path == b"a/empty")
    assert acls == {b"SCHILY.acl.access": b"user::rw-,user:1234567:r-x,group::r--,mask::r-x,other::r--"}


def test_members_come_in_the_order_in_which_docker_exports_them(tree: Path) -> None:
    paths = [member.path for member in read(tree)]
    assert paths[:6] == [b"", b"a", b"a/b", b"a/b/small", b"a/empty", b"a.d"]
    assert paths[6:9] == [b"a.d/0", b"a.d/1", b"a.d/10"]
    types = {member.path: (member.type, member.link) for member in read(tree)}
    assert types[b"z-hard"] == (LNK, b"a/b/small")
    assert types[b"pipe"] == (FIFO, b"")


def test_links_are_told_and_never_followed(tree: Path) -> None:
    found = {member.path: member for member in read(tree)}
    assert (found[b"link"].type, found[b"link"].link) == (SYM, b"/etc/passwd")
    assert found[b"folder-link"].type == SYM
    assert not any(path.startswith(b"folder-link/") for path in found)


def test_holes_stay_holes(tree: Path) -> None:
    found = {member.path: member for member in read(tree)}
    assert (found[b"hole"].size, found[b"hole"].sparse) == (1 << 20, ())
    ((at, length),) = found[b"sparse"].sparse or ()
    assert at <= 1 << 20 < at + length < 1 << 22


def test_what_streams_out_is_whole(tree: Path) -> None:
    """Also where members pass through one buffer, are skipped, or are only looked at."""
    out = bytearray()
    writer = Writer(out.extend)
    with open_source(str(tree)).members() as members:
        members.before_refill = writer.flush
        for number, member in enumerate(members):
            if number % 3:
                assert len(member.head()) >= min(member.stored, 65536)
            if number % 5 or member.type == DIR:
                writer.add(member)
    writer.finish()
    (tree.parent / "out.tar").write_bytes(out)
    with (tree.parent / "out.tar").open("rb") as file:
        bodies = {member.path: b"".join(map(bytes, member.chunks())) for member in Reader(file, "out") if member.size}
    assert len(bodies) > 200
    for path, body in bodies.items():
        if path not in (b"sparse", b"hole"):
            assert body == (tree / os.fsdecode(path)).read_bytes()


def test_a_socket_is_left_out_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        source = open_source(str(tmp_path))
        with source.members() as members:
            assert [member.path for member in members] == [b""]
    assert source.warnings == [f"{tmp_path}: /socket is a socket, which is left out"]


def test_a_mount_is_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "tree/mount point").mkdir(parents=True)
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces")
    code = (
        "from lxcast.sources import open_source\n"
        f"source = open_source({str(tmp_path / 'tree')!r})\n"
        "with source.members() as members: print([member.path for member in members], source.warnings)"
    )
    mount = f"{tmp_path}/tree/mount point"
    script = f"mount -t tmpfs none '{mount}' && touch '{mount}/inside' && exec \"$0\" -c \"$1\""
    told = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert "[b'', b'mount point']" in told.stdout
    assert "/mount point is a mount" in told.stdout


def test_limits_and_what_is_no_folder(tree: Path, tmp_path: Path) -> None:
    for limits in (Limits(members=5), Limits(size=1000)):
        with (
            pytest.raises(ArchiveError, match="the limits are"),
            open_source(str(tree)).members(limits) as members,
        ):
            list(members)
    with pytest.raises(SourceError, match="no such file or directory"):
        open_source(f"rootfs:{tmp_path}/gone")
    with pytest.raises(SourceError, match="not a directory"):
        open_source(f"rootfs:{tree}/big")
