import io
import tarfile
from pathlib import Path

from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, regular, symlink
from lxcast.tar.reader import Reader
from lxcast.tar.writer import Writer


def written(*members: Member) -> bytes:
    out = io.BytesIO()
    writer = Writer(out.write)
    for member in members:
        writer.add(member)
    writer.finish()
    return out.getvalue()


def read(archive: bytes) -> list[Member]:
    return [member.held() for member in Reader(io.BytesIO(archive), "archive")]


def test_what_is_written_is_read_by_python() -> None:
    long = b"usr/" + b"d" * 120 + b"/" + b"f" * 150
    archive = written(
        directory(b"", mtime=5),
        directory(b"usr"),
        regular(long, b"abc" * 1000, mode=0o4755, mtime=1700000000),
        symlink(b"bin", b"usr/bin"),
        Member(b"ping", REG, 0o755, 1000, 2_500_000, 1, body=b"x", xattrs={b"security.capability": b"\x01\0\n\xff"}),
        Member(b"other", LNK, 0o755, 1000, 2_500_000, link=b"ping"),
    )
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        names = [member.name for member in members]
        assert names == [".", "./usr", "./" + long.decode(), "./bin", "./ping", "./other"]
        assert members[2].mode == 0o4755
        assert members[3].linkname == "usr/bin"
        assert members[4].gid == 2_500_000
        assert members[5].linkname == "./ping"
        content = tar.extractfile(members[2])
        assert content is not None
        assert content.read() == b"abc" * 1000


def test_what_passes_through_twice_is_the_same() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, size in (("./a/" + "n" * 200, 3_000_000), ("b", 0), ("c", 513)):
            info = tarfile.TarInfo(name)
            info.size, info.uname, info.mtime = size, "somebody", 1.5
            tar.addfile(info, io.BytesIO(b"\1" * size))
    once = io.BytesIO()
    for source, target in ((buffer, once), (once, again := io.BytesIO())):
        source.seek(0)
        reader, writer = Reader(source, "archive"), Writer(target.write)
        reader.before_refill = writer.flush
        for member in reader:
            writer.add(member)
        writer.finish()
    assert once.getvalue() == again.getvalue()
    assert [(m.path, m.size, m.type) for m in read(once.getvalue())] == [
        (b"a/" + b"n" * 200, 3_000_000, REG),
        (b"b", 0, REG),
        (b"c", 513, REG),
    ]


def test_kinds_come_back(tmp_path: Path) -> None:
    members = read(written(directory(b"d", 0o1777), symlink(b"l", b"/a/../b"), Member(b"h", LNK, link=b"d/x")))
    assert [(m.path, m.type, m.mode, m.link) for m in members] == [
        (b"d", DIR, 0o1777, b""),
        (b"l", SYM, 0o777, b"/a/../b"),
        (b"h", LNK, 0o644, b"d/x"),
    ]
