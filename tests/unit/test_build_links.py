"""What a build makes of repeated paths, and of hard links to what the tables drop, empty, hold or replace."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.compression import Peeked, decompress
from lxcast.errors import LxcastError, SourceError
from lxcast.jobs.build import Built, build
from lxcast.jobs.check import check
from lxcast.progress import Progress
from lxcast.rootfs.checks import CHECKS
from lxcast.settings import CheckOptions, make_build_options
from lxcast.tar.member import regular, symlink
from tests.unit.cli.running import archive as packed
from tests.unit.rootfs.filesystems import minimal_debian

Entry = tuple[str, str, str]
"""Name, kind (dir, file, link, symlink, fifo), content or target."""

KINDS = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "link": tarfile.LNKTYPE,
    "symlink": tarfile.SYMTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def archive(path: Path, *entries: Entry, **attributes: int) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, text in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = KINDS[kind], 0o755 if kind == "dir" else 0o644
            for key, value in attributes.items():
                setattr(info, key, value)
            body = text.encode() if kind == "file" else b""
            info.linkname, info.size = "" if kind == "file" else text, len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def built(source: Path | str, folder: Path, **options: object) -> Built:
    allow = {check.id: "the tree of a test" for check in CHECKS}
    given: dict[str, Any] = {"name": "small", "output": folder / "out", "allow": allow, **options}
    return build(str(source), make_build_options(**given), Progress())


def contents(result: Built) -> dict[str, tuple[str, str]]:
    """Return (kind, content or target) by path, as tar tells them; no path may stand twice."""
    assert result.path
    with result.path.open("rb") as file:
        stream = decompress(Peeked(file), "template")
        data, buffer = bytearray(), memoryview(bytearray(1 << 20))
        while got := stream.readinto(buffer):
            data += buffer[:got]
    names = {type: kind for kind, type in KINDS.items()}
    found: dict[str, tuple[str, str]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            assert info.name not in found
            body = tar.extractfile(info) if info.isreg() else None
            if info.islnk():
                assert found[info.linkname][0] not in ("dir", "link"), "a hard link names the file that came before it"
            found[info.name] = names[info.type], body.read().decode() if body else info.linkname
    return {name.removeprefix("./"): each for name, each in found.items()}


SRV: Entry = ("srv", "dir", "")
TMP: Entry = ("tmp", "dir", "")


def test_a_link_to_a_link_leads_to_the_file(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a", SRV, ("srv/a", "file", "1"), ("srv/b", "link", "srv/a"), ("srv/c", "link", "srv/b")
    )
    found = contents(built(source, tmp_path))
    assert found["srv/b"] == found["srv/c"] == ("link", "./srv/a")


@pytest.mark.parametrize("late", [False, True])
def test_a_link_to_a_dropped_link_to_a_dropped_file_becomes_the_file(tmp_path: Path, late: bool) -> None:
    entries: list[Entry] = [("tmp/a", "file", "1"), ("tmp/b", "link", "tmp/a"), ("srv/c", "link", "tmp/b")]
    entries.append(("srv/d", "link", "srv/c"))
    found = contents(built(archive(tmp_path / "a", TMP, SRV, *(entries[::-1] if late else entries)), tmp_path))
    files = [name for name in ("srv/c", "srv/d") if found[name] == ("file", "1")]
    assert len(files) == 1
    assert not {"tmp/a", "tmp/b"} & found.keys()


def test_a_link_before_its_dropped_file_becomes_the_file(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a", SRV, TMP, ("srv/b", "link", "tmp/a"), ("srv/c", "link", "tmp/a"), ("tmp/a", "file", "1")
    )
    found = contents(built(source, tmp_path))
    assert found["srv/b"] == ("file", "1")
    assert found["srv/c"] == ("link", "./srv/b")


def test_a_link_to_a_dropped_symbolic_link_becomes_it(tmp_path: Path) -> None:
    source = archive(tmp_path / "a", SRV, TMP, ("tmp/a", "symlink", "x"), ("srv/b", "link", "tmp/a"))
    assert contents(built(source, tmp_path))["srv/b"] == ("symlink", "x")


def test_the_last_of_a_dropped_and_repeated_file_is_what_the_link_becomes(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a", SRV, TMP, ("tmp/a", "file", "1"), ("tmp/a", "file", "2"), ("srv/b", "link", "tmp/a")
    )
    assert contents(built(source, tmp_path))["srv/b"] == ("file", "2")


def test_the_target_of_a_link_removed_by_the_user(tmp_path: Path) -> None:
    source = archive(tmp_path / "a", SRV, ("srv/a", "file", "1"), ("srv/b", "link", "srv/a"))
    found = contents(built(source, tmp_path, remove=("/srv/a",)))
    assert found["srv/b"] == ("file", "1")
    assert "srv/a" not in found


def test_a_link_to_an_emptied_file_is_that_file(tmp_path: Path) -> None:
    log: list[Entry] = [("var", "dir", ""), ("var/log", "dir", ""), ("var/log/x.log", "file", "line\n")]
    found = contents(built(archive(tmp_path / "a", *log, SRV, ("srv/b", "link", "var/log/x.log")), tmp_path))
    assert found["var/log/x.log"] == ("file", "")
    assert found["srv/b"] == ("link", "./var/log/x.log")


@pytest.mark.parametrize("held", ["etc/hostname", "etc/hosts", "etc/resolv.conf"])
@pytest.mark.parametrize("late", [False, True])
def test_what_fit_replaces_leaves_its_links_their_content(tmp_path: Path, held: str, late: bool) -> None:
    entries: list[Entry] = [(held, "file", "of old\n"), ("srv/b", "link", held), ("srv/c", "link", "srv/b")]
    source = archive(tmp_path / "a", ("etc", "dir", ""), SRV, *(entries[::-1] if late else entries))
    found = contents(built(source, tmp_path))
    kinds = sorted(found[name][0] for name in ("srv/b", "srv/c"))
    assert kinds in (["file", "link"], ["link", "link"])


@pytest.mark.parametrize("late", [False, True])
def test_a_held_path_that_is_itself_a_link(tmp_path: Path, late: bool) -> None:
    entries: list[Entry] = [("srv/a", "file", "name\n"), ("etc/hostname", "link", "srv/a")]
    source = archive(tmp_path / "a", ("etc", "dir", ""), SRV, *(entries[::-1] if late else entries))
    found = contents(built(source, tmp_path))
    assert found["srv/a"] == ("file", "name\n")


def test_a_held_path_that_is_a_link_to_a_dropped_file(tmp_path: Path) -> None:
    source = archive(tmp_path / "a", ("tmp/d", "file", "name\n"), ("etc/hosts", "link", "tmp/d"))
    assert contents(built(source, tmp_path))["etc/hosts"][0] == "file"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a", "link", "b"), ("b", "link", "a")], "/a is a hard link to /b"),
        ([("a", "link", "a")], "/a is a hard link to /a"),
        ([("a", "link", "gone")], "/a is a hard link to /gone"),
        ([("a", "link", "etc/hostname")], "/a is a hard link to /etc/hostname"),
        ([("etc/hostname", "link", "etc/hostname")], "/etc/hostname is a hard link"),
        ([("etc/hosts", "link", "etc/hostname"), ("etc/hostname", "link", "etc/hosts")], "is a hard link to"),
        ([("d", "dir", ""), ("a", "link", "d")], "/a is a hard link to the directory /d"),
        ([("a", "link", "d"), ("d", "dir", "")], "/a is a hard link to the directory /d"),
        ([("tmp/a", "link", "tmp/b"), ("tmp/b", "link", "tmp/a"), ("c", "link", "tmp/a")], "/c is a hard link to"),
        ([("x", "file", "1"), ("x/a", "file", "2")], "/x is not a directory, but /x/a is below it"),
        ([("lib", "symlink", "usr/lib"), ("lib/a", "file", "2")], "/lib is a link to usr/lib, but /lib/a is"),
        (
            [("lib", "symlink", "/etc"), ("lib/sub/a", "file", "2"), ("lib/sub", "symlink", "x")],
            "/lib is a link to /etc, but /lib/sub is below it",
        ),
        ([("d", "dir", ""), ("d/a", "file", "1"), ("d", "file", "2")], "/d is not a directory, but /d/a is"),
    ],
)
def test_what_no_filesystem_holds_is_an_error(tmp_path: Path, entries: list[Entry], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        built(archive(tmp_path / "a", *entries), tmp_path)
    assert caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_members_below_a_relative_link_are_built_where_tar_puts_them_and_check_agrees(tmp_path: Path) -> None:
    below: list[Entry] = [("usr/lib", "dir", ""), ("lib", "symlink", "usr/lib"), ("lib/a", "file", "1")]
    source = archive(tmp_path / "a", *below, ("b", "link", "lib/a"))
    found = contents(built(source, tmp_path))
    assert (found["usr/lib/a"], found["b"]) == (("file", "1"), ("link", "./usr/lib/a"))
    assert "lib/a" not in found
    checked = check(source, CheckOptions(policy="default", allow={}, arch=""), Progress())
    assert [each for each in checked.findings if b"lib" in (each.path or b"")] == []


@pytest.mark.parametrize("before", [True, False], ids=["target first", "link first"])
@pytest.mark.parametrize(
    ("links", "file"),
    [
        ([("etc/debian_version", "symlink", "../usr/lib/debian_version")], "usr/lib/debian_version"),
        ([("etc/debian_version", "symlink", "alternatives/v")], "etc/alternatives/v"),
        ([("etc/debian_version", "symlink", "../usr/etc/v"), ("usr/etc", "symlink", "share/d")], "usr/share/d/v"),
        ([("etc/debian_version", "symlink", "v"), ("etc/v", "symlink", "../srv/version")], "srv/version"),
    ],
)
def test_a_version_file_is_read_wherever_a_relative_link_leads(
    tmp_path: Path, links: list[Entry], file: str, before: bool
) -> None:
    target: list[Entry] = [(file, "file", "12.7\n")]
    base = [each for each in minimal_debian() if each.path != b"etc/debian_version"]
    entries = [*target, *links] if before else [*links, *target]
    members = [
        (symlink if kind == "symlink" else regular)(name.encode(), text.encode()) for name, kind, text in entries
    ]
    path = tmp_path / "a.tar"
    path.write_bytes(packed([*base, *members]))
    options = CheckOptions(policy="default", allow={}, arch="")
    assert [each for each in check(path, options, Progress()).findings if each.check == "distribution-version"] == []
    record = built(path, tmp_path, allow={}).record
    assert (record.ostype, record.release) == ("debian", "12")


def test_a_long_chain_of_links_that_come_before_their_targets(tmp_path: Path) -> None:
    links: list[Entry] = [(f"l{at}", "link", f"l{at - 1}") for at in range(3000, 0, -1)]
    found = contents(built(archive(tmp_path / "a", *links, ("l0", "file", "1")), tmp_path))
    assert {found[f"l{at}"] for at in range(1, 3001)} == {("link", "./l0")}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([("x", "file", "1"), ("x", "file", "2"), ("x", "file", "3")], {"x": ("file", "3")}),
        ([("x", "file", "1"), ("x", "dir", ""), ("x/a", "file", "2")], {"x": ("dir", ""), "x/a": ("file", "2")}),
        ([("x", "symlink", "y"), ("x", "dir", ""), ("x/a", "file", "2")], {"x": ("dir", ""), "x/a": ("file", "2")}),
        ([("x", "dir", ""), ("x/a", "file", "1"), ("x", "dir", "")], {"x": ("dir", ""), "x/a": ("file", "1")}),
        ([("x", "dir", ""), ("x", "file", "2")], {"x": ("file", "2")}),
        ([("x", "dir", ""), ("x", "file", "2"), ("x", "dir", "")], {"x": ("dir", "")}),
        ([("x", "file", "1"), ("x", "symlink", "y")], {"x": ("symlink", "y")}),
        ([("y", "file", "1"), ("x", "file", "2"), ("x", "link", "y")], {"y": ("file", "1"), "x": ("link", "./y")}),
        ([("./x", "file", "1"), ("x", "file", "2")], {"x": ("file", "2")}),
        ([("etc/hostname", "file", "1"), ("etc/hostname", "file", "2"), ("a", "file", "1")], {"a": ("file", "1")}),
        ([("./", "dir", ""), ("./", "dir", ""), ("a", "file", "1")], {"a": ("file", "1")}),
    ],
)
def test_the_last_of_a_repeated_path_counts(
    tmp_path: Path, entries: list[Entry], expected: dict[str, tuple[str, str]]
) -> None:
    found = contents(built(archive(tmp_path / "a", *entries), tmp_path))
    assert {path: found.get(path) for path in expected} == expected


def test_a_repeated_folder_has_the_last_attributes_before_its_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as tar:
        for mode, acl in (
            (0o755, "user::rwx,group::r-x,other::r-x"),
            (0o2750, "user::rwx,user:7:r-x,group::---,mask::r-x,other::---"),
        ):
            info = tarfile.TarInfo("x")
            info.type, info.mode, info.pax_headers = tarfile.DIRTYPE, mode, {"SCHILY.acl.default": acl}
            tar.addfile(info)
            file = tarfile.TarInfo("x/a" if mode == 0o755 else "x/b")
            tar.addfile(file, io.BytesIO())
    result = built(tmp_path / "a", tmp_path, format="tar")
    with tarfile.open(result.path) as tar:
        names = tar.getnames()
        info = tar.getmember("./x")
        assert names.index("./x") < names.index("./x/a") < names.index("./x/b")
        assert (info.mode, info.pax_headers["SCHILY.acl.default"].count("user:7")) == (0o2750, 1)


def from_stdin(source: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with source.open("rb") as file:
        return subprocess.run(
            [sys.executable, "-m", "lxcast", "build", "-", "--name", "small", "--output", folder / "out", *arguments],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )


def test_what_must_be_read_twice_cannot_come_from_standard_input(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a",
        SRV,
        TMP,
        ("tmp/a", "file", "1"),
        ("srv/b", "link", "tmp/a"),
        ("srv/x", "file", ""),
        ("srv/x", "file", ""),
    )
    told = from_stdin(source, tmp_path)
    assert told.returncode == 3
    assert "/srv/b is a hard link to /tmp/a, which the row tmp drops" in told.stderr
    assert "/srv/x" in told.stderr
    assert "--disable tmp" in told.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_times_are_clamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000")
    source = archive(tmp_path / "a", SRV, ("srv/a", "file", "1"), ("srv/b", "link", "srv/a"), mtime=2000)
    early = archive(tmp_path / "b", SRV, ("srv/a", "file", "1"), ("srv/b", "link", "srv/a"), mtime=500)
    for path, expected in ((source, 1000), (early, 500)):
        with tarfile.open(built(path, tmp_path, format="tar", name=path.name).path) as tar:
            assert {tar.getmember(name).mtime for name in ("./srv", "./srv/a", "./srv/b")} == {expected}
            assert tar.getmember(".").mtime == 1000


@pytest.mark.parametrize("second", [[("x", "file", "1")], [("x", "file", "1")] * 3, [("y", "file", "1")] * 2])
def test_a_source_that_changes_between_its_readings_is_told(tmp_path: Path, second: list[Entry]) -> None:
    from lxcast.jobs.convert import Rules, convert
    from lxcast.sources.archive import open_file

    first = archive(tmp_path / "first", ("x", "file", "1"), ("x", "file", "2"))
    other = archive(tmp_path / "second", *second)
    source, files = open_file(first), iter((first, other))
    source.opener = lambda: next(files).open("rb", buffering=0)
    options = make_build_options(name="x")
    with pytest.raises(SourceError, match="changed while it was read"):
        convert(source, Rules.chosen(options), options, None, Progress())


paths = st.sampled_from(
    ["a", "srv", "srv/b", "srv/c", "tmp", "tmp/d", "tmp/e", "etc/hosts", "etc/hostname", "var/log/x.log", "dev/null"]
)
entries_of_any_kind = st.lists(
    st.tuples(paths, st.sampled_from(list(KINDS)), st.one_of(paths, st.just("text"))), min_size=1, max_size=7
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(entries_of_any_kind)
def test_any_order_and_links_give_a_sound_template_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        result = built(archive(folder / "a", *entries), folder, format="tar")
    except LxcastError:
        assert list((folder / "out").iterdir()) == []
        return
    found = contents(result)
    for path in found:
        for parent in map(str, Path(path).parents):
            assert found.get(parent, ("dir", ""))[0] == "dir"
