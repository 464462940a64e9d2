"""Whatever an archive, a folder or a locale holds: each thing that a command prints is one line of plain text."""

import os
import subprocess
from pathlib import Path

import pytest

from lxcast.tar.member import Member, regular, symlink
from tests.unit.cli.running import archive, lxcast, lxcast_process
from tests.unit.rootfs.filesystems import minimal_debian, replaced

FORGED = "\nlxcast: error: forged\x1b[2J\u202e"


def write(file: Path, *members: Member) -> Path:
    file.write_bytes(archive(replaced(minimal_debian(), *members)))
    return file


def require_plain(told: subprocess.CompletedProcess[str], *more: str) -> None:
    lines = "".join((told.stdout, told.stderr, *more)).split("\n")
    assert [line for line in lines if line.startswith("lxcast: error: forged")] == []
    assert [line for line in lines if not line.isprintable()] == []


@pytest.mark.parametrize(
    "member",
    [
        symlink(b"usr/sbin/init", f"/none{FORGED}".encode()),
        symlink(b"lib", f"/none{FORGED}".encode()),
        regular(f"etc{FORGED}/x".encode(), b""),
        regular(b"usr/lib/os-release", b'ID=debian\nVERSION_ID="12\\nlxcast: error: forged"\n'),
        regular(b"usr/lib/os-release", b'ID="x\\nlxcast: error: forged"\n'),
        regular(f"root{FORGED}".encode(), b"", mode=0o777),
    ],
    ids=["init", "way", "folder", "version", "distribution", "file"],
)
def test_no_text_of_an_archive_looks_like_a_line_of_ours(tmp_path: Path, member: Member) -> None:
    file = write(tmp_path / "web-v1.tar", member)
    require_plain(lxcast("check", file, "--log-file", tmp_path / "log"), (tmp_path / "log").read_text())
    built = lxcast("build", file, "--name", "web", "--output", tmp_path / "out", "-v")
    require_plain(built)
    assert "bug in lxcast" not in built.stderr


def test_a_difference_is_one_line(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", symlink(b"x", b"a"))
    forged = write(tmp_path / "forged", symlink(b"x", b"b\n- /etc/passwd"))
    told = lxcast("diff", plain, forged)
    assert told.stdout == "~ /x link a -> b\\n- /etc/passwd\n"


def test_a_locale_without_a_names_letters_gets_them_escaped(tmp_path: Path) -> None:
    files = [write(tmp_path / name, regular("x→".encode(), name.encode())) for name in ("a", "b")]
    told = lxcast_process("diff", *files, environ={"PYTHONIOENCODING": "ascii"})
    assert (told.returncode, told.stderr.count("error")) == (1, 0)
    assert told.stdout.startswith("~ /x\\u2192")


def test_units_of_names_that_systemd_does_not_read_are_left_alone(tmp_path: Path) -> None:
    text = b"[Install]\nWantedBy=multi-user.target\n"
    names = (b"\xff.service", b"a\nb.service", b"good.service")
    wants = b"etc/systemd/system/multi-user.target.wants/"
    file = write(
        tmp_path / "web.tar",
        *(regular(b"etc/systemd/system/" + name, text) for name in names),
        symlink(wants + b"getty@\xff.service", b"/lib/systemd/system/getty@.service"),
        regular(b"usr/lib/systemd/system/getty@.service", text),
    )
    told = lxcast("build", file, "--name", "web", "--output", tmp_path / "out", "--format", "tar")
    assert told.returncode == 0, told.stderr
    content = Path(told.stdout.rstrip()).read_bytes()
    assert b"\ndisable good.service\n" in content
    assert b"\nb.service\n" not in content
    assert b"\xff.service\n" not in content


def test_a_folder_may_hold_a_name_of_any_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch()
    told = lxcast("check", folder)
    assert told.returncode == 5, told.stderr
    assert "members" in told.stdout
