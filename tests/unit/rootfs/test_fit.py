from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import ArchiveError, SourceError, UsageError
from lxcast.rootfs.additions import Addition
from lxcast.rootfs.fit import HELD_LIMIT, Fit, FitOptions, Fitting
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, regular, symlink
from tests.unit.rootfs.pipeline import attributes, fitted


def row(apply: Callable[[Fitting], object], *holds: str) -> Fit:
    def run(fitting: Fitting) -> None:
        apply(fitting)

    return Fit("row", True, "heading", "why.", run, holds=holds)


def link(path: bytes, target: bytes) -> Member:
    return Member(path, LNK, link=target)


def test_a_held_member_that_no_row_changes_comes_back_as_it_was() -> None:
    held = [
        Member(b"etc/a", REG, 0o4640, 3, 4, 5, 77, body=b"12345", xattrs={b"user.x": b"y"}),
        Member(b"etc/b", SYM, 0o777, 1, 2, mtime=5, link=b"/c"),
        Member(b"etc/c", DIR, 0o2750, 8, 9, mtime=6),
        Member(b"etc/c/d", REG, 0o600, size=1, body=b"x"),
        link(b"etc/e", b"etc/a"),
    ]
    members, order, fitting = fitted(
        [directory(b"etc"), *held], [row(lambda _: None, "etc/a", "etc/b", "etc/c", "etc/c/d", "etc/e")]
    )
    assert order == [b"etc", b"etc/c", b"etc/a", b"etc/b", b"etc/c/d", b"etc/e"]
    assert [attributes(members[member.path]) for member in held] == [attributes(member) for member in held]
    assert fitting.report() == {"row": []}


def test_a_sparse_file_that_is_held_keeps_its_content() -> None:
    sparse = Member(b"etc/a", REG, size=8, body=b"abc", sparse=((1, 2), (6, 1)))
    members, _, fitting = fitted([sparse], [row(lambda f: f.note(f.text(b"etc/a") or ""), "etc/a")])
    assert attributes(members[b"etc/a"])["body"] == b"\0ab\0\0\0c\0"
    assert fitting.report() == {"row": [r"\x00ab\x00\x00\x00c\x00"]}


def test_what_is_made_is_roots_and_has_the_epoch_and_missing_folders_are_made() -> None:
    def apply(fitting: Fitting) -> None:
        fitting.write(b"etc/x/y/file", "text", "wrote it", mode=0o600)
        fitting.link(b"etc/link", b"x", "linked it")

    holds = row(apply, "etc/x/y/file", "etc/link")
    members, order, fitting = fitted([directory(b"etc", 0o711, mtime=9)], [holds], FitOptions(epoch=12345))
    assert order == [b"etc", b"etc/x", b"etc/x/y", b"etc/link", b"etc/x/y/file"]
    assert {(m.uid, m.gid, m.mtime) for path, m in members.items() if path != b"etc"} == {(0, 0, 12345)}
    assert members[b"etc/x"].mode == 0o755
    assert (members[b"etc/x/y/file"].mode, members[b"etc/x/y/file"].size) == (0o600, 4)
    assert fitting.report() == {"row": ["wrote it", "linked it"]}


def test_writing_what_is_there_is_no_change() -> None:
    write = row(lambda f: f.write(b"etc/a", "text", "wrote it"), "etc/a")
    assert fitted([regular(b"etc/a", b"text", mtime=99)], [write])[2].report() == {"row": []}
    assert fitted([regular(b"etc/a", b"text", 0o755)], [write])[2].report() == {"row": ["wrote it"]}


def test_rows_never_write_through_a_link_or_over_a_directory() -> None:
    write = row(lambda f: f.write(b"etc/a/b", "text", "wrote it"), "etc/a/b")
    members, _, fitting = fitted([directory(b"etc"), symlink(b"etc/a", b"/somewhere")], [write])
    assert set(members) == {b"etc", b"etc/a"}
    assert fitting.report() == {"row": ["left /etc/a/b unchanged: /etc/a is not a directory"]}
    members, _, fitting = fitted([directory(b"etc"), directory(b"etc/a"), directory(b"etc/a/b")], [write])
    assert members[b"etc/a/b"].type == DIR
    assert fitting.report() == {"row": ["left /etc/a/b unchanged: it is a directory"]}


def test_hard_links_to_a_held_file_follow_it() -> None:
    source = [regular(b"etc/a", b"old"), link(b"usr/b", b"etc/a"), link(b"etc/c", b"etc/a")]
    members, order, _ = fitted(source, [row(lambda _: None, "etc/a")])
    assert order[-3:] == [b"etc/a", b"etc/c", b"usr/b"]
    assert members[b"usr/b"].link == b"etc/a"


def test_replacing_one_name_leaves_the_other_names_their_content() -> None:
    source = [regular(b"etc/a", b"old", 0o600), link(b"usr/b", b"etc/a"), link(b"opt/c", b"etc/a")]
    members, _, _ = fitted(source, [row(lambda f: f.write(b"etc/a", "new", "wrote it"), "etc/a")])
    assert attributes(members[b"etc/a"])["body"] == b"new"
    assert (attributes(members[b"opt/c"])["body"], members[b"opt/c"].mode) == (b"old", 0o600)
    assert (members[b"usr/b"].type, members[b"usr/b"].link) == (LNK, b"opt/c")


def test_replacing_a_name_that_is_itself_a_link_leaves_the_target() -> None:
    source = [regular(b"usr/first", b"old"), link(b"etc/a", b"usr/first"), link(b"opt/c", b"etc/a")]
    members, _, _ = fitted(source, [row(lambda f: f.write(b"etc/a", "new", "wrote it"), "etc/a")])
    assert attributes(members[b"usr/first"])["body"] == b"old"
    assert attributes(members[b"etc/a"])["body"] == b"new"
    assert members[b"opt/c"].link == b"usr/first"


def test_a_file_too_large_to_hold_names_the_row() -> None:
    with pytest.raises(ArchiveError) as error:
        fitted([regular(b"etc/a", b"x" * (HELD_LIMIT + 1))], [row(lambda _: None, "etc/a")])
    assert "/etc/a" in error.value.message
    assert "--disable row" in error.value.hint


def test_links_are_followed_through_held_members() -> None:
    seen = []

    def apply(fitting: Fitting) -> None:
        seen.append((fitting.resolve(b"etc/a"), fitting.resolve(b"etc/a", chrooted=False), fitting.text(b"etc/a")))

    held = Fit("row", True, "h", "w.", apply, holds=("etc/a", "etc/b"), reads=("usr/file",))
    fitted([symlink(b"etc/a", b"b"), symlink(b"etc/b", b"/usr/file"), regular(b"usr/file", b"text")], [held])
    fitted([symlink(b"etc/a", b"b"), symlink(b"etc/b", b"../usr/file"), regular(b"usr/file", b"text")], [held])
    fitted([symlink(b"etc/a", b"b"), symlink(b"etc/b", b"a")], [held])
    assert seen == [(b"usr/file", None, "text"), (b"usr/file", b"usr/file", "text"), (None, None, None)]


names = st.sampled_from([b"etc", b"etc/a", b"etc/b", b"etc/c", b"etc/c/d", b"usr", b"usr/x", b"var/y"])


@given(st.lists(names, unique=True), st.lists(names, unique=True), st.data())
def test_any_set_of_held_members_comes_back_once_and_in_a_valid_order(
    there: list[bytes], held: list[bytes], data: st.DataObject
) -> None:
    folders = {b"etc", b"etc/c", b"usr"}
    source: list[Member] = []
    for path in sorted(there):
        files = [member.path for member in source if member.type == REG]
        if path in folders:
            source.append(directory(path))
        elif files and (first := data.draw(st.sampled_from([None, *files]))):
            source.append(link(path, first))
        else:
            source.append(regular(path, path))
    made = data.draw(st.lists(st.sampled_from(held), unique=True)) if held else []

    def apply(fitting: Fitting) -> None:
        for path in made:
            if path not in folders:
                fitting.write(path, "new", "wrote it")

    members, _, _ = fitted(source, [row(apply, *(path.decode() for path in held))])
    contents = {member.path: bytes(member.head()) for member in source if member.type == REG}
    expected = {m.path: contents.get(m.link if m.type == LNK else m.path) for m in source if m.type != DIR}
    expected |= dict.fromkeys((path for path in made if path not in folders), b"new")
    assert {p: bytes(members[m.link if m.type == LNK else p].head()) for p, m in members.items() if m.type != DIR} == (
        expected
    )


class TestAdditions:
    def test_a_file_goes_in_as_roots_with_a_mode_that_no_umask_decides(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("hello")
        (tmp_path / "plain").chmod(0o664)
        (tmp_path / "program").write_text("#!/bin/sh")
        (tmp_path / "program").chmod(0o700)
        additions = tuple(
            Addition.parse(text)
            for text in (f"{tmp_path}/plain:/etc/x/motd", f"{tmp_path}/program:/opt/", f"{tmp_path}/plain:/srv/s:0400")
        )
        members, _, fitting = fitted([directory(b"etc")], options=FitOptions(epoch=7, additions=additions))
        assert {path: m.mode for path, m in members.items() if m.type == REG} == {
            b"etc/x/motd": 0o644,
            b"opt/program": 0o755,
            b"srv/s": 0o400,
        }
        assert attributes(members[b"etc/x/motd"])["body"] == b"hello"
        assert {(m.uid, m.gid, m.mtime) for m in members.values() if m.type == REG} == {(0, 0, 7)}
        assert fitting.report()["add"][0] == "wrote /etc/x/motd: 5 bytes"

    def test_a_folder_adds_its_tree_and_no_link_is_followed_out_of_it(self, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        (tree / "sub" / "empty").mkdir(parents=True)
        (tree / "sub" / "file").write_text("x")
        (tree / "out").symlink_to("/etc")
        options = FitOptions(additions=(Addition.parse(f"{tree}:/"),))
        members, _, _ = fitted([directory(b"sub", 0o700)], options=options)
        assert {path: member.type for path, member in members.items()} == {
            b"sub": DIR,
            b"sub/empty": DIR,
            b"sub/file": REG,
            b"out": SYM,
        }
        assert members[b"sub"].mode == 0o700
        assert members[b"out"].link == b"/etc"

    def test_it_replaces_the_images_own_file_and_wins_over_a_row(self, tmp_path: Path) -> None:
        (tmp_path / "hosts").write_text("mine")
        options = FitOptions(additions=(Addition.parse(f"{tmp_path}/hosts:/etc/hosts"),))
        big = regular(b"etc/hosts", b"x" * (HELD_LIMIT + 1), 0o600)
        write = row(lambda f: f.write(b"etc/hosts", "row's", "wrote it"), "etc/hosts")
        members, _, fitting = fitted([big], [write], options)
        assert attributes(members[b"etc/hosts"])["body"] == b"mine"
        assert fitting.report() == {"add": ["wrote /etc/hosts: 4 bytes"], "row": []}
        with pytest.raises(ArchiveError, match="/usr/b is a hard link to /etc/hosts"):
            fitted([big, link(b"usr/b", b"etc/hosts")], [write], options)

    def test_links_in_the_parents_of_an_addition_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("new")
        options = FitOptions(additions=(Addition.parse(f"{tmp_path}/x:/lib/x"),))
        merged = [symlink(b"lib", b"usr/lib"), directory(b"usr"), directory(b"usr/lib")]
        members, _, _ = fitted(merged, options=options)
        assert b"lib/x" not in members
        assert attributes(members[b"usr/lib/x"])["body"] == b"new"
        with pytest.raises(UsageError, match="/lib/x resolves to /usr/lib/x in the root filesystem"):
            fitted([*merged, regular(b"usr/lib/x", b"old")], options=options)
        with pytest.raises(UsageError, match="a parent of /lib/x"):
            fitted([symlink(b"lib", b"nowhere")], options=options)

    def test_all_unreadable_additions_are_reported_before_the_build(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        texts = (f"{tmp_path}/none:/etc/a", f"{tmp_path}/nor:/etc/b", f"{tmp_path}/file:/etc")
        with pytest.raises(UsageError) as error:
            Fitting((), FitOptions(additions=tuple(map(Addition.parse, texts))))
        assert "/none" in error.value.message
        assert "/nor" in error.value.message
        with pytest.raises(UsageError, match="/etc is a directory"):
            fitted([directory(b"etc")], options=FitOptions(additions=(Addition.parse(texts[2]),)))

    def test_an_added_file_whose_size_changes_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("four")
        for text in ("longer", "no"):
            (tmp_path / "file").write_text("four")
            fitting = Fitting((), FitOptions(additions=(Addition.parse(f"{tmp_path}/file:/x"),)))
            (tmp_path / "file").write_text(text)
            (member,) = fitting.finish(Survey())
            with pytest.raises(SourceError, match="expected 4 bytes"):
                list(member.chunks())

    @pytest.mark.parametrize("text", ["file", "file:relative", "file:/a/../b", ":/etc/x", "file:/x:999", "file:/x:rw"])
    def test_malformed_additions_are_rejected(self, text: str) -> None:
        with pytest.raises(UsageError, match="HOST:PATH"):
            Addition.parse(text)


@pytest.mark.parametrize("release", [{"lower": "x"}, {"A B": "x"}, {"A": "two\nlines"}])
def test_a_release_entry_that_a_shell_cannot_read_is_rejected(release: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="release file"):
        FitOptions(release=release)
