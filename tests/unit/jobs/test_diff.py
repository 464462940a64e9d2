import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.jobs.diff import diff
from lxcast.progress import Progress

Change = Callable[[tarfile.TarInfo], object]


def info(name: str, type: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = type
    for key, value in values.items():
        setattr(member, key, value)
    return member


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def compare(
    tmp_path: Path, a: list[tuple[tarfile.TarInfo, bytes]], b: list[tuple[tarfile.TarInfo, bytes]]
) -> list[str]:
    names = archive(tmp_path / "a.tar", *a), archive(tmp_path / "b.tar", *b)
    return [str(each) for each in diff(*names, Progress())]


def file(name: str = "etc/x", content: bytes = b"text", **values: int) -> tuple[tarfile.TarInfo, bytes]:
    return info(name, tarfile.REGTYPE, **values), content


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return info(name, tarfile.LNKTYPE, linkname=target), b""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": 0o600}, "mode 0644 -> 0600"),
        ({"uid": 5, "gid": 70000}, "owner 0:0 -> 5:70000"),
        ({"mtime": 86400}, "mtime 1970-01-01T00:00:00Z -> 1970-01-02T00:00:00Z"),
        ({"mtime": 10**15}, "mtime 1970-01-01T00:00:00Z -> 1000000000000000 s"),
    ],
)
def test_each_attribute_is_told_with_both_values(tmp_path: Path, values: dict[str, int], said: str) -> None:
    assert compare(tmp_path, [file()], [file("etc/x", b"text", **values)]) == [f"~ /etc/x {said}"]


def test_content_links_devices_types_and_attributes_are_compared(tmp_path: Path) -> None:
    def symlink(target: str, mode: int) -> tuple[tarfile.TarInfo, bytes]:
        return info("l", tarfile.SYMTYPE, linkname=target, mode=mode), b""

    def device(minor: int) -> tuple[tarfile.TarInfo, bytes]:
        return info("d", tarfile.CHRTYPE, devmajor=1, devminor=minor), b""

    def capable(name: str, value: str) -> tuple[tarfile.TarInfo, bytes]:
        return info("c", pax_headers={name: value}), b""

    a = [
        file(content=b"one"),
        file("s", b"1"),
        symlink("a", 0o777),
        device(3),
        file("t"),
        capable("SCHILY.xattr.user.a", "1"),
    ]
    b = [file(content=b"two"), file("s", b"22"), symlink("b", 0o755), device(5)]
    b += [(info("t", tarfile.DIRTYPE), b""), capable("SCHILY.xattr.user.a", "2")]
    told = compare(tmp_path, a, b)
    assert [line.partition(" sha256")[0] for line in told] == [
        "~ /c xattrs",
        "~ /d link 1:3 -> 1:5",
        "~ /etc/x content",
        "~ /l link a -> b",
        "~ /s size 1 -> 2",
        "~ /s content",
        "~ /t type file -> directory",
    ]


def test_what_only_one_has_is_told(tmp_path: Path) -> None:
    assert compare(tmp_path, [file("a"), file("b")], [file("b"), file("c")]) == ["- /a", "+ /c"]


def test_the_order_of_the_members_does_not_matter(tmp_path: Path) -> None:
    members = [file(f"f{number}", b"%d" % number) for number in range(50)]
    assert compare(tmp_path, members, members[::-1]) == []


def test_hard_links_are_groups_whichever_name_carries_the_data(tmp_path: Path) -> None:
    a = [file("x"), link("y", "x"), link("z", "x")]
    assert compare(tmp_path, a, [file("z"), link("x", "z"), link("y", "x")]) == []
    assert compare(tmp_path, a, [file("x"), link("y", "x"), file("z")]) == [
        "~ /x hard links /y /z -> /y",
        "~ /y hard links /x /z -> /x",
        "~ /z hard links /x /y -> none",
    ]
    assert compare(tmp_path, a, [file("x"), link("y", "x")]) == ["- /z"]
    changed = compare(tmp_path, a, [file("z", b"Text"), link("x", "z"), link("y", "x")])
    assert [line.split(" sha256")[0] for line in changed] == [f"~ /{name} content" for name in "xyz"]


def test_a_path_that_stands_twice_counts_as_what_stands_last(tmp_path: Path) -> None:
    twice = [file(content=b"old"), file("b"), file(content=b"new")]
    assert compare(tmp_path, twice, [file(content=b"new"), file("b")]) == []
    assert compare(tmp_path, [file(content=b"new"), file("b")], twice) == []
    assert compare(tmp_path, [file(content=b"new"), file("b")], [file(content=b"new"), file("b"), file(content=b"old")])


def test_a_sparse_file_equals_the_same_file_with_zeros(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as out:
        for offset, text in ((0, b"head"), (3_000_000, b"middle")):
            out.seek(offset)
            out.write(text)
        out.truncate(5_000_000)
    for name, options in (("sparse.tar", ["--sparse"]), ("plain.tar", [])):
        subprocess.run(["tar", "-C", tmp_path, *options, "-cf", tmp_path / name, "f"], check=True)
    assert (tmp_path / "sparse.tar").stat().st_size < 100_000
    assert diff(str(tmp_path / "sparse.tar"), str(tmp_path / "plain.tar"), Progress()) == []


names = st.sampled_from("abcdefgh")
trees = st.dictionaries(names, st.tuples(st.binary(max_size=3), st.sampled_from([0o600, 0o644, 0o755])))


@given(trees, trees)
def test_two_trees_differ_exactly_where_their_files_do(
    tmp_path_factory: pytest.TempPathFactory, a: object, b: object
) -> None:
    assert isinstance(a, dict)
    assert isinstance(b, dict)
    folder = tmp_path_factory.mktemp("diff", numbered=True)
    sides = [
        archive(folder / f"{side}.tar", *(file(name, content, mode=mode) for name, (content, mode) in tree.items()))
        for side, tree in (("a", a), ("b", b))
    ]
    found = {each.path.decode() for each in diff(sides[0], sides[1], Progress())}
    assert found == {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
