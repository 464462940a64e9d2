"""Whatever the bytes are: members, or a typed error that names the archive; never another exception, never a hang."""

import io
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.errors import ArchiveError
from lxcast.tar.header import IGNORED, number, parse_pax, pax_record
from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, regular, symlink
from lxcast.tar.quirks import Quirks
from lxcast.tar.reader import Limits, Reader
from lxcast.tar.writer import Writer

END = b"\0" * 1024


def raw(
    name: bytes = b"a",
    type: bytes = b"0",
    size: bytes = b"00000000000\0",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    tail: bytes = b"ustar\00000",
) -> bytes:
    """Return a header as it is told, with a right checksum."""
    front = name.ljust(100, b"\0") + mode + uid + gid + size + mtime
    back = type + link.ljust(100, b"\0") + tail.ljust(255, b"\0")
    return front + b"%06o\0 " % (sum(front) + sum(back) + 256) + back


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def body(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def pax(records: bytes, type: bytes = b"x") -> bytes:
    return raw(b"h", type, octal(len(records))) + body(records)


def read(data: bytes, limits: Limits | None = None, quirks: Quirks | None = None) -> list[Member]:
    return [member.held() for member in Reader(io.BytesIO(data), "the.tar", limits, quirks)]


def written(*members: Member) -> bytes:
    out = io.BytesIO()
    writer = Writer(out.write)
    for member in members:
        writer.add(member)
    writer.finish()
    return out.getvalue()


def passed(archive: bytes) -> bytes:
    """Return what an archive becomes whose members go from the reader to the writer."""
    out = io.BytesIO()
    reader, writer = Reader(io.BytesIO(archive), "the.tar"), Writer(out.write)
    reader.before_refill = writer.flush
    for member in reader:
        writer.add(member)
    writer.finish()
    return out.getvalue()


MINUS = b"\xff" * 12
SPARSE = pax_record(b"GNU.sparse.major", b"1") + pax_record(b"GNU.sparse.minor", b"0")


def sparse_1_0(size: bytes, data: bytes) -> bytes:
    return pax(SPARSE + pax_record(b"GNU.sparse.realsize", size)) + raw(size=octal(len(data))) + body(data) + END


HOSTILE: dict[str, tuple[bytes, str]] = {
    "checksum": (raw(b"etc/passwd")[:-1] + b"x" + END, "/etc/passwd has a header whose checksum is wrong"),
    "text": (b"hello world\n" * 100, "checksum is wrong"),
    "dots": (raw(b"a/../../etc/passwd") + END, r"a/\.\./\.\./etc/passwd' contains '..'"),
    "dots after an absolute name": (raw(b"/etc/../../passwd") + END, r"contains '\.\.'"),
    "dots by pax": (pax(pax_record(b"path", b"a/../x")) + raw() + END, r"contains '\.\.'"),
    "dots in a hard link": (raw(type=b"1", link=b"../../etc/passwd") + END, r"contains '\.\.'"),
    "dots in an absolute hard link": (raw(type=b"1", link=b"/../etc/passwd") + END, r"contains '\.\.'"),
    "huge extended header": (raw(type=b"x", size=octal(2 << 20)) + END, "extended headers of 2097664 bytes"),
    "huge long name": (raw(type=b"L", size=octal(7 << 30)) + END, "extended headers of 7516193280 bytes"),
    "negative size": (raw(size=MINUS) + END, "size -1"),
    "negative size of a long name": (raw(type=b"L", size=MINUS) + END, "size -1"),
    "negative size seen as a time": (raw(mtime=MINUS) + raw(size=MINUS) + END, "size -1"),
    "a size that leads back": (
        raw(mtime=b"\xff" * 10 + b"\xfc\0") + raw(size=b"\xff" * 10 + b"\xfc\0") + END,
        "size -1024",
    ),
    "negative owner": (raw(uid=b"\xff" * 8) + END, "owner -1"),
    "huge owner": (raw(gid=b"\x80" + b"\xff" * 7) + END, "owner"),
    "huge time": (raw(mtime=b"\x80" + b"\xff" * 11) + END, "time"),
    "a number that is none": (raw(mode=b"rw-r--r\0") + END, "is not a number"),
    "digits that are not octal": (raw(size=b"99999999999\0") + END, "malformed header"),
    "members after the end": (raw() + END + raw(b"b") + END, "members after the end"),
    "an end within": (raw() + b"\0" * 512 + raw(b"b") + END, "members after the end"),
    "unknown type": (raw(type=b"Z") + END, "has the unsupported type b'Z'"),
    "multi-volume": (raw(type=b"M") + END, "has the unsupported type b'M'"),
    "8 GiB in a short file": (raw(size=octal((8 << 30) - 1)) + END, "is truncated"),
    "8 GiB of a sparse one": (sparse_1_0(b"%d" % (8 << 30), b"1\n0\n%d\n" % (8 << 30)), "sparse map lists"),
    "no member behind a header": (pax(pax_record(b"path", b"x")) + END, "without a member"),
    "a file as the root": (raw(b".") + END, "place of the root"),
    "a file without a name": (raw(b"") + END, "place of the root"),
    "a link as the root": (raw(b"./", b"2", link=b"x") + END, "place of the root"),
    "a link to the empty name": (raw(type=b"2") + END, "links to"),
    "a hard link to the empty name": (raw(type=b"1") + END, "links to"),
    "NUL in a name": (pax(pax_record(b"path", b"a\0b")) + raw() + END, "contains a NUL byte"),
    "NUL in a target": (pax(pax_record(b"linkpath", b"a\0b")) + raw(type=b"2") + END, "links to"),
    "NUL in an attribute": (pax(pax_record(b"SCHILY.xattr.user.a\0b", b"1")) + raw() + END, "contains a NUL byte"),
    "pax length too long": (pax(b"99 path=x\n") + raw() + END, "malformed"),
    "pax length too short": (pax(b"5 path=x\n") + raw() + END, "malformed"),
    "pax length of itself": (pax(b"2 ") + raw() + END, "malformed"),
    "pax length zero": (pax(b"0 path=x\n") + raw() + END, "malformed"),
    "pax length with a sign": (pax(b"+10 path=x\n") + raw() + END, "has no length"),
    "pax length with underscores": (pax(b"1_0 path=x\n") + raw() + END, "has no length"),
    "pax length without end": (pax(b"9" * 600) + raw() + END, "has no length"),
    "pax without equals": (pax(b"9 path x\n") + raw() + END, "malformed"),
    "pax without key": (pax(b"5 =x\n") + raw() + END, "malformed"),
    "pax without newline": (pax(b"9 path=xy") + raw() + END, "malformed"),
    "pax size with underscores": (pax(pax_record(b"size", b"1_0")) + raw() + END, "is not a number"),
    "pax size with a sign": (pax(pax_record(b"size", b"+1")) + raw() + END, "is not a number"),
    "pax size below zero": (pax(pax_record(b"size", b"-1")) + raw() + END, "size -1"),
    "pax owner with a fraction": (pax(pax_record(b"uid", b"12.5")) + raw() + END, "is not a whole number"),
    "pax size with a fraction": (pax(pax_record(b"size", b"1.0")) + raw() + END, "is not a whole number"),
    "pax owner below zero": (pax(pax_record(b"uid", b"-1")) + raw() + END, "owner -1"),
    "pax time of ages": (pax(pax_record(b"mtime", b"9" * 20)) + raw() + END, "time"),
    "pax fraction of ages": (pax(pax_record(b"mtime", b"-1." + b"9" * 9000)) + raw() + END, "malformed header"),
    "attribute that is not base64": (pax(pax_record(b"LIBARCHIVE.xattr.user.a", b"@")) + raw() + END, "not base64"),
    "sparse without a size": (pax(pax_record(b"GNU.sparse.map", b"0,1")) + raw() + END, "is not a number"),
    "sparse without a real size": (pax(SPARSE) + raw() + END, "is not a number"),
    "sparse size with underscores": (sparse_1_0(b"1_0", b"0\n"), "is not a number"),
    "sparse pieces that overlap": (
        sparse_1_0(b"20", body(b"2\n0\n5\n4\n5\n") + b"x" * 10),
        "before the end of the last one",
    ),
    "sparse pieces beyond the size": (sparse_1_0(b"20", body(b"1\n18\n5\n") + b"x" * 5), "after the file's size"),
    "sparse pieces without number": (sparse_1_0(b"20", b"99999999\n1\n1\n"), "the limit is 1000000"),
    "sparse map without end": (sparse_1_0(b"20", b"3\n0\n1\n"), "does not end"),
    "sparse map of zeros": (sparse_1_0(b"20", b"\0" * 512), "is not a number"),
    "sparse map of an odd length": (
        pax(pax_record(b"GNU.sparse.map", b"0,1,2") + pax_record(b"GNU.sparse.size", b"9"))
        + raw(size=octal(1))
        + body(b"x")
        + END,
        "3 numbers, expected two for each piece",
    ),
    "sparse in a form of the future": (
        pax(pax_record(b"GNU.sparse.major", b"2") + pax_record(b"GNU.sparse.realsize", b"9")) + raw() + END,
        "unknown sparse format b'2.0'",
    ),
    "a long component": (pax(pax_record(b"path", b"a/" + b"n" * 256)) + raw() + END, "a name of 256 bytes"),
    "a long path": (pax(pax_record(b"path", b"d/" * 2046 + b"nn")) + raw() + END, "a path of 4096 bytes"),
    "a long name by GNU": (raw(type=b"L", size=octal(300)) + body(b"n" * 300) + raw() + END, "a name of 300 bytes"),
    "a long target": (pax(pax_record(b"linkpath", b"t" * 4096)) + raw(type=b"2") + END, "a target of 4096 bytes"),
    "old sparse map that overlaps": (
        raw(
            type=b"S",
            size=octal(4),
            tail=b"ustar  \0".ljust(129, b"\0") + (octal(0) + octal(2)) * 2 + b"\0" * 49 + octal(9),
        )
        + body(b"abcd")
        + END,
        "before the end of the last one",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_an_error_that_says_why(name: str) -> None:
    data, message = HOSTILE[name]
    with pytest.raises(ArchiveError, match=message) as caught:
        read(data)
    assert caught.value.message.startswith("the.tar")


@pytest.mark.parametrize("name", ["a/", "../"])
def test_a_name_of_hundreds_of_kilobytes_is_cut_in_the_message(name: str) -> None:
    data = pax(pax_record(b"path", name.encode() * 150_000 + b"x")) + raw() + END
    for quirks in (None, Quirks()):
        with pytest.raises(ArchiveError) as caught:
            read(data, None, quirks)
        assert len(caught.value.message) < 500


def test_the_longest_names_that_linux_takes_are_taken() -> None:
    path, target = b"d/" * 1919 + b"n" * 255, b"t" * 4095
    assert len(b"./" + path) == 4095
    (file,) = read(pax(pax_record(b"path", path)) + raw() + END)
    (link,) = read(pax(pax_record(b"linkpath", target)) + raw(type=b"2") + END)
    assert (file.path, link.link) == (path, target)


def test_a_judged_archive_has_long_names_noted_instead() -> None:
    quirks = Quirks()
    name = b"n" * 256
    members = read(
        pax(pax_record(b"path", name)) + raw() + pax(pax_record(b"linkpath", b"t" * 4096)) + raw(type=b"2") + END,
        None,
        quirks,
    )
    assert [member.path for member in members] == [name, b"a"]
    assert quirks.too_long == [
        (name, "a name of 256 bytes, the limit is 255"),
        (b"a", "a target of 4096 bytes, the limit is 4095"),
    ]


def test_a_leading_slash_is_cut_off_names_and_hard_links_but_not_off_symbolic_links() -> None:
    directory, file, hard, symbolic = read(
        raw(b"/", b"5")
        + raw(b"//etc/./passwd")
        + raw(b"/etc/copy", b"1", link=b"/etc/passwd")
        + raw(b"/lib", b"2", link=b"/usr/lib")
        + END
    )
    assert (directory.path, directory.type) == (b"", DIR)
    assert (file.path, hard.path, hard.link) == (b"etc/passwd", b"etc/copy", b"etc/passwd")
    assert (symbolic.path, symbolic.link) == (b"lib", b"/usr/lib")
    (long,) = read(pax(pax_record(b"path", b"/" + b"n" * 200)) + raw() + END)
    assert long.path == b"n" * 200


LIB = raw(b"./usr/lib/", b"5") + raw(b"./lib", b"2", link=b"usr/lib")


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        (LIB + raw(b"./lib/x") + raw(b"./lib/y"), [b"usr/lib/x", b"usr/lib/y"]),
        (LIB + raw(b"./lib/new/x"), [b"usr/lib/new/x"]),
        (LIB + raw(b"./lib/d/", b"5") + raw(b"./lib/d/x"), [b"usr/lib/d", b"usr/lib/d/x"]),
        (raw(b"a/x") + LIB + raw(b"b", b"2", link=b"./lib/") + raw(b"b/x"), [b"b", b"usr/lib/x"]),
        (raw(b"usr/lib/y") + raw(b"lib", b"2", link=b"usr/lib") + raw(b"lib/x"), [b"lib", b"usr/lib/x"]),
        (raw(b"d/real/", b"5") + raw(b"d/l", b"2", link=b"real") + raw(b"d/l/x"), [b"d/l", b"d/real/x"]),
        (LIB + raw(b"./lib/l", b"2", link=b"x"), [b"usr/lib/l"]),
        # What tar cannot unpack stays as it is named: absolute, with dots, dangling, and in a circle.
        (raw(b"usr/lib/", b"5") + raw(b"lib", b"2", link=b"/usr/lib") + raw(b"lib/x"), [b"lib", b"lib/x"]),
        (raw(b"usr/lib/", b"5") + raw(b"lib", b"2", link=b"../usr/lib") + raw(b"lib/x"), [b"lib", b"lib/x"]),
        (raw(b"lib", b"2", link=b"usr/lib") + raw(b"lib/x") + raw(b"usr/lib/", b"5"), [b"lib", b"lib/x", b"usr/lib"]),
        (raw(b"l", b"2", link=b"l") + raw(b"l/x"), [b"l", b"l/x"]),
    ],
)
def test_members_below_a_relative_link_get_the_path_that_tar_writes_to(
    archive: bytes, expected: list[bytes], tmp_path: Path
) -> None:
    paths = [member.path for member in read(archive + END)]
    assert paths[-len(expected) :] == expected
    assert [member.path for member in read(archive + END, None, Quirks())] == paths
    done = subprocess.run(["tar", "-x", "-C", tmp_path], input=archive + END, check=False, capture_output=True)
    real = {os.fsencode(os.path.relpath(path, tmp_path)) for path in tmp_path.rglob("*")}
    assert (done.returncode == 0) == (set(paths) - {b""} <= real)


def test_a_hard_link_through_a_link_names_the_real_file() -> None:
    *_, link = read(LIB + raw(b"./usr/lib/x") + raw(b"./y", b"1", link=b"./lib/x") + END)
    assert link.link == b"usr/lib/x"


def test_a_link_that_a_directory_replaces_is_followed_no_longer() -> None:
    *_, file = read(LIB + raw(b"./lib", b"5") + raw(b"./lib/x") + END)
    assert file.path == b"lib/x"


@pytest.mark.parametrize("size", [0, 1, 512, 700])
def test_a_verified_archive_may_lack_its_padding_and_its_end(size: int) -> None:
    whole = raw(b"d/", b"5") + raw(b"x", size=octal(size)) + b"x" * size
    padded = whole + bytes(-size % 512)
    for data in dict.fromkeys((whole, padded, padded + bytes(512), padded + END)):
        *_, member = [each.held() for each in Reader(io.BytesIO(data), "the.tar", verified=True)]
        assert (member.path, member.body) == (b"x", b"x" * size)
    assert list(Reader(io.BytesIO(b""), "the.tar", verified=True)) == []
    cut = [whole[:-1], padded + b"x"] if size else [padded + b"x"]
    for data in cut:
        with pytest.raises(ArchiveError, match="truncated"):
            list(Reader(io.BytesIO(data), "the.tar", verified=True))
    with pytest.raises(ArchiveError, match="extended header without a member"):
        list(Reader(io.BytesIO(padded + pax(pax_record(b"path", b"y"))), "the.tar", verified=True))


class Zeros:
    """An archive of one member, and zeros without an end."""

    def __init__(self) -> None:
        self.start = raw() + END

    def readinto(self, buffer: memoryview) -> int:
        start, self.start = self.start, b""
        buffer[:] = start.ljust(len(buffer), b"\0")
        return len(buffer)


def test_zeros_after_the_end_of_an_archive_are_read_up_to_a_limit() -> None:
    with pytest.raises(ArchiveError, match="67108864 bytes of zeros after its end at byte 512") as caught:
        list(Reader(Zeros(), "the.tar"))
    assert "head -c 512" in caught.value.hint
    assert len(read(raw() + bytes(1 << 25))) == 1


def small() -> bytes:
    """Return an archive of every kind of header, small enough to be cut everywhere."""
    return written(
        directory(b""),
        regular(b"file", b"x" * 700),
        Member(b"attributes", REG, body=b"y", size=1, xattrs={b"user.a": b"1", b"security.capability": b"\1\0\n"}),
        symlink(b"long", b"t" * 200),
        Member(b"again", LNK, link=b"file"),
        Member(b"sparse", REG, size=9000, body=b"zz", sparse=((0, 1), (8000, 1))),
    )


def test_an_archive_cut_anywhere_is_an_error_unless_only_zeros_are_missing() -> None:
    whole = small()
    content = len(whole.rstrip(b"\0")) + 511 & -512
    for end in range(len(whole)):
        if end >= content + 512:
            assert len(read(whole[:end])) == 6
            continue
        with pytest.raises(ArchiveError, match=r"the\.tar.*is (truncated after|empty)"):
            read(whole[:end])


def test_archives_joined_by_cat_are_an_error() -> None:
    with pytest.raises(ArchiveError, match="members after the end") as caught:
        read(small() + small())
    assert "concatenated" in caught.value.hint


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(members=2), "member 3"),
        (Limits(size=699), "700 bytes"),
        (Limits(size=8000), "takes the unpacked size to"),
    ],
)
def test_limits_hold(limits: Limits, message: str) -> None:
    with pytest.raises(ArchiveError, match=message) as caught:
        read(small(), limits)
    assert "--max-members" in caught.value.hint


def test_limits_allow_what_they_name() -> None:
    assert len(read(small(), Limits(members=6, size=9701))) == 6


def test_a_judged_archive_has_its_names_noted_instead() -> None:
    quirks = Quirks()
    members = read(
        raw(b"/etc/passwd") + raw(b"../b") + raw(b"./c") + raw(b"d") + raw(type=b"1", name=b"e", link=b"/c") + END,
        None,
        quirks,
    )
    assert [member.path for member in members] == [b"etc/passwd", b"b", b"c", b"d", b"e"]
    assert quirks.absolute == [b"/etc/passwd", b"../b", b"/c"]
    assert quirks.unprefixed == 2


def test_the_list_of_names_behind_an_incremental_folder_is_no_body() -> None:
    folder, file = read(
        raw(b"a", b"D", octal(600)) + body(b"Yb\0" * 200) + raw(b"a/b", size=octal(1)) + body(b"x") + END
    )
    assert (folder.type, folder.size, bytes(folder.head())) == (DIR, 0, b"")
    assert (file.path, bytes(file.head())) == (b"a/b", b"x")


def test_many_extended_headers_for_one_member_are_an_error() -> None:
    bomb = b"".join(pax(pax_record(b"k%d" % at, b"v" * 100_000)) for at in range(20))
    with pytest.raises(ArchiveError, match="extended headers"):
        read(bomb + raw() + END)
    bomb = b"".join(pax(pax_record(b"k%d" % at, b"v" * 10_000), b"g") for at in range(20))
    with pytest.raises(ArchiveError, match="global headers"):
        read(bomb + raw() + END)


def test_global_headers_count_for_all_and_own_ones_for_one() -> None:
    data = (
        pax(pax_record(b"mtime", b"7"), b"g")
        + raw(b"a")
        + pax(pax_record(b"mtime", b"8"))
        + raw(b"b")
        + raw(b"c")
        + END
    )
    assert [member.mtime for member in read(data)] == [7, 8, 7]


def test_a_large_map_of_a_sparse_file_is_read_in_little_time() -> None:
    count = 100_000
    pieces = tuple((at * 1024, 1) for at in range(count))
    data = written(Member(b"s", REG, size=count * 1024, body=b"x" * count, sparse=pieces))
    assert read(data)[0].sparse == pieces


def limited(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with 1 GiB of address space and 240 s of processor time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (240, 240))

    root = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        preexec_fn=limit,
        check=False,
    )


GIANT = """
import sys, itertools
from lxcast.errors import ArchiveError
from lxcast.tar.reader import Reader
from tests.unit.tar.test_hostile_archives import *

class Endless:
    def __init__(self, start, again):
        self.left, self.again = start, again
    def readinto(self, buffer):
        while len(self.left) < len(buffer):
            self.left += self.again * (1 + len(buffer) // len(self.again))
        buffer[:] = self.left[: len(buffer)]
        self.left = self.left[len(buffer) :]
        return len(buffer)

LONG = pax(SPARSE + pax_record(b"GNU.sparse.realsize", b"9")) + raw(size=octal(7 << 30))
start, again = {
    "extended": (b"", pax(pax_record(b"k", b"v" * 500_000))),
    "empty": (b"", pax(b"")),
    "global": (b"", pax(pax_record(b"k", b"v" * 50_000), b"g")),
    "extended names": (b"", raw(type=b"L", size=octal(1 << 20)) + b"n" * (1 << 20)),
    "old sparse": (
        raw(type=b"S", size=octal(4), tail=(b"ustar  \\0".ljust(129, b"\\0") + b"\\0" * 96 + b"\\1" + octal(9))),
        (octal(1) + octal(0)) * 21 + b"\\1" * 8,
    ),
    "sparse map": (LONG + b"1000000\\n", b"1\\n"),
    "sparse numbers": (LONG + b"9\\n", b"1" * 512),
}[sys.argv[1]]
try:
    for member in Reader(Endless(start, again), "the.tar"):
        pass
except ArchiveError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    "name", ["extended", "empty", "global", "extended names", "old sparse", "sparse map", "sparse numbers"]
)
def test_what_has_no_end_ends_in_bounded_memory_and_time(name: str) -> None:
    told = limited(GIANT, name)
    assert told.stdout.startswith("refused: the.tar"), told.stderr[-500:]


names = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b"c" * 120, b"\xff", b"n\n"]), max_size=5).map(
    b"/".join
)
fields = st.one_of(st.binary(min_size=12, max_size=12), st.integers(0, 2000).map(octal), st.just(MINUS))


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """Make headers with right checksums and anything in their fields, and bodies that may not fit."""
    short = st.one_of(st.binary(min_size=8, max_size=8), st.just(b"0000644\0"))
    header = raw(
        draw(names)[:100],
        draw(st.sampled_from([bytes([at]) for at in b"01234567xgLKSDVZ\0"])),
        draw(fields),
        mode=draw(short),
        uid=draw(short),
        gid=draw(short),
        mtime=draw(fields),
        link=draw(names)[:100],
        tail=draw(st.one_of(st.just(b"ustar\00000"), st.binary(max_size=255), st.just(b"ustar  \0"))),
    )
    keys = st.sampled_from(
        [
            b"path",
            b"linkpath",
            b"size",
            b"uid",
            b"mtime",
            b"GNU.sparse.major",
            b"GNU.sparse.realsize",
            b"GNU.sparse.map",
            b"GNU.sparse.size",
            b"GNU.sparse.offset",
            b"SCHILY.xattr.user.a",
            b"SCHILY.acl.access",
            b"LIBARCHIVE.xattr.user.b",
        ]
    )
    values = st.one_of(st.binary(max_size=12), st.integers(-3, 3000).map(lambda n: b"%d" % n), names)
    records = draw(st.dictionaries(keys, values, max_size=4))
    data = b"".join(pax_record(key, value) for key, value in records.items())
    return draw(
        st.sampled_from(
            [header, header + body(draw(st.binary(max_size=600))), pax(data) + header, pax(data, b"g") + header]
        )
    )


def require_sound(members: Iterable[Member]) -> None:
    for member in members:
        assert not member.path.startswith(b"/")
        assert b".." not in member.path.split(b"/")
        assert b"\0" not in member.path + member.link
        assert member.path or member.type == DIR
        assert member.size >= 0 <= member.uid
        assert member.mode == member.mode & 0o7777
        assert (member.type in (LNK, SYM)) == bool(member.link)
        assert len(member.head()) == member.stored


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(blocks(), min_size=1, max_size=5), st.booleans())
def test_any_headers_give_sound_members_or_an_error(parts: list[bytes], judged: bool) -> None:
    try:
        members = read(b"".join(parts) + END, Limits(members=1000, size=1 << 30), Quirks() if judged else None)
    except ArchiveError:
        return
    require_sound(members)
    again = read(written(*members))
    assert [(m.path, m.type, m.uid, m.mtime, m.link, m.size) for m in again] == [
        (m.path, m.type, m.uid, m.mtime, m.link, m.size) for m in members
    ]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Make a file whose header is nearly, or just, the one that the writer would write."""
    names = [
        b"a",
        b"./a",
        b"./d/a",
        b"./d/bb",
        b"./d/.a",
        b"./d//a",
        b"./d/./a",
        b"./d/a/.",
        b"./d/a\0b",
        b"./e/a",
        b"d/a",
    ]
    header = raw(
        draw(st.sampled_from([*names, b"./" + b"n" * 98, b"n" * 100])),
        size=draw(st.sampled_from([octal(5), b"          5 ", b"0000000005 \0", b"\x80" + bytes(10) + b"\5"])),
        mode=draw(st.sampled_from([b"0000644\0", b"0100644\0", b"000644 \0", b"0004755\0"])),
        uid=draw(st.sampled_from([b"0000000\0", b"0000007\0", b"\0" * 8])),
        mtime=draw(st.sampled_from([octal(5), octal(6), b"5".rjust(11) + b" ", MINUS, b"\x80" + bytes(7) + b"\1" * 4])),
        link=draw(st.sampled_from([b"", b"x"])),
        tail=draw(
            st.sampled_from([b"ustar\00000", b"ustar  \0root", b"", b"ustar\00000" + bytes(80) + b"./d", b"\xff" * 255])
        ),
    )
    before = draw(st.sampled_from([b"", *(pax(pax_record(b"mtime", time)) for time in (b"5.25", b"6", b"-5"))]))
    return before + header + draw(st.sampled_from([b"12345".ljust(512, b"\0"), b"12345".ljust(512, b"x")]))


@settings(max_examples=400, deadline=None)
@given(st.lists(files(), min_size=1, max_size=6))
def test_headers_that_are_taken_over_are_those_that_would_be_written(parts: list[bytes]) -> None:
    archive = b"".join(parts) + END
    assert passed(archive) == written(*read(archive))


def test_names_that_begin_alike_are_read_apart() -> None:
    prefixed = raw(b"a", tail=b"ustar\00000" + bytes(80) + b"./d")
    archive = raw(b"./d/b") + prefixed + raw(b"./d/e/.") + raw(b"./d/e/f") + raw(b"d/e/g") + END
    members = read(archive)
    assert [member.path for member in members] == [b"d/b", b"d/a", b"d/e", b"d/e/f", b"d/e/g"]
    assert passed(archive) == written(*members)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(small()) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_sound_members_or_an_error(flips: list[tuple[int, int]]) -> None:
    data = bytearray(small())
    for at, bits in flips:
        data[at] ^= bits
    with suppress(ArchiveError):
        require_sound(read(bytes(data)))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_pax_data_is_records_or_an_error(data: bytes) -> None:
    with suppress(ArchiveError):
        parse_pax(data, {})


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key),
        st.binary(min_size=1, max_size=2000),
        max_size=5,
    )
)
def test_pax_records_come_back(records: dict[bytes, bytes]) -> None:
    records = {k: value for k, value in records.items() if not k.startswith(b"GNU.sparse.") and k not in IGNORED}
    found: dict[bytes, bytes] = {}
    parse_pax(b"".join(pax_record(key, value) for key, value in records.items()), found)
    assert found == records


@given(st.integers(-(1 << 62), 1 << 62))
def test_numbers_are_read_as_python_reads_them(value: int) -> None:
    field = tarfile.itn(value, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined] # no public way
    assert number(field) == value
