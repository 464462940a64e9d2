import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.errors import PinError
from lxcast.references.rewriting import edit


def test_mode_owner_and_symbolic_link_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "real" / "main.tf"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 2345)
    was = real.stat()
    link = tmp_path / "main.tf"
    link.symlink_to("real/main.tf")
    change = edit(link, lambda data: data + b"\n")
    assert (change.before, change.after) == (b"old", b"old\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"old\n"
    now = real.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    assert [each.name for each in real.parent.iterdir()] == ["main.tf"]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        edit(tmp_path / "x.json", lambda _: b"{}", create=True)
    finally:
        os.umask(mask)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


def test_an_unchanged_file_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "x.tf"
    file.write_bytes(b"a")
    inode = file.stat().st_ino
    assert not edit(file, lambda data: data).changed
    assert edit(file, lambda _: b"b", write=False).changed
    assert (file.stat().st_ino, file.read_bytes()) == (inode, b"a")


def test_a_concurrent_change_by_another_program_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.tf"
    file.write_bytes(b"a")

    def make(data: bytes) -> bytes:
        file.write_bytes(b"theirs")
        return b"ours"

    with pytest.raises(PinError, match="changed by another program"):
        edit(file, make)
    assert file.read_bytes() == b"theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["x.tf"]


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "loop", "missing folder"])
def test_anything_but_a_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tf"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to("x.tf")
    elif kind == "missing folder":
        path = tmp_path / "none" / "x.tf"
    with pytest.raises(PinError, match=r"x\.tf"):
        edit(path, lambda data: data + b"x")


def test_two_writers_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")
    program = (
        "import sys, time; from pathlib import Path; from lxcast.references.rewriting import edit\n"
        "def more(data):\n    time.sleep(0.002)\n    return str(int(data) + 1).encode()\n"
        f"for _ in range(20): edit(Path({str(file)!r}), more)\n"
    )
    root = Path(__file__).parents[3]
    running = [subprocess.Popen([sys.executable, "-c", program], cwd=root) for _ in range(3)]
    assert [each.wait(240) for each in running] == [0, 0, 0]
    assert file.read_text() == "60"


def test_a_writer_waits_for_the_lock_of_the_directory(tmp_path: Path) -> None:
    file = tmp_path / "x.tf"
    file.write_bytes(b"a")
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    program = (
        "from pathlib import Path; from lxcast.references.rewriting import edit; "
        f"edit(Path({str(file)!r}), lambda _: b'b')"
    )
    waiting = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    time.sleep(0.5)
    assert file.read_bytes() == b"a"
    os.close(fd)
    assert waiting.wait(240) == 0
    assert file.read_bytes() == b"b"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (b"a\nb\n", b"a\nc\n", "--- x.tf\n+++ x.tf\n@@ -1,2 +1,2 @@\n a\n-b\n+c"),
        (b"a\r\n", b"b\r\n", "--- x.tf\n+++ x.tf\n@@ -1 +1 @@\n-a\n+b"),
        (b"", b"a\n", "--- x.tf\n+++ x.tf\n@@ -0,0 +1 @@\n+a"),
        (
            b"a",
            b"b",
            "--- x.tf\n+++ x.tf\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file",
        ),
        (b"a", b"a", ""),
    ],
)
def test_the_difference_is_shown_as_diff_does(
    before: bytes, after: bytes, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.tf").write_bytes(before)
    assert edit(Path("x.tf"), lambda _: after).diff() == shown


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Run as a user who may not change the owners of files."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_file_of_another_owner_that_its_group_may_write_is_written_in_place(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    file = directory / "x.tf"
    file.write_bytes(b"a longer text")
    for path in (directory, file):
        os.chown(path, 1234, 65534)
        path.chmod(0o775 if path == directory else 0o664)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    before = file.stat()
    request.getfixturevalue("as_nobody")
    edit(file, lambda _: b"new")
    after = file.stat()
    assert file.read_bytes() == b"new"
    assert (after.st_ino, after.st_uid, after.st_gid, after.st_mode) == (before.st_ino, 1234, 65534, before.st_mode)
    os.seteuid(0)
    directory.chmod(0o555)
    os.seteuid(65534)
    edit(file, lambda _: b"in a directory that takes no new file")
    assert file.read_bytes() == b"in a directory that takes no new file"
    assert [each.name for each in directory.iterdir()] == ["x.tf"]


def test_hard_links_of_a_file_stay_links(tmp_path: Path) -> None:
    file, other = tmp_path / "x.tf", tmp_path / "other.tf"
    file.write_bytes(b"old")
    other.hardlink_to(file)
    edit(file, lambda _: b"longer than before")
    assert other.read_bytes() == b"longer than before"
    edit(other, lambda _: b"short")
    assert file.read_bytes() == b"short"
    assert file.samefile(other)


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("a\n" * 5000)
    lines = edit(file, lambda _: b"b\n" * 5000, write=False).diff().splitlines()
    assert len(lines) == 1001
    assert lines[-1] == "... and 9003 more lines"
