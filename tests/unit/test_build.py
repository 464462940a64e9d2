import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lxcast.errors import SourceError
from lxcast.jobs.build import Built, build
from lxcast.progress import Progress
from lxcast.record import parse_record
from lxcast.settings import make_build_options


def archive(path: Path, *entries: tuple[str, str, str | bytes | None]) -> Path:
    """Write (name, kind, content or target), kind one of dir, file, link, symlink."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            types = {"dir": tarfile.DIRTYPE, "link": tarfile.LNKTYPE, "symlink": tarfile.SYMTYPE}
            info.type = types.get(kind, tarfile.REGTYPE)
            info.mode = 0o755 if kind == "dir" else 0o644
            if isinstance(content, str):
                info.linkname = content
            body = content if isinstance(content, bytes) else b""
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def built(source: str, tmp_path: Path, **options: object) -> Built:
    from lxcast.rootfs.checks import CHECKS

    allow = {check.id: "the tree of a test" for check in CHECKS}
    given: dict[str, Any] = {"name": "small", "output": tmp_path / "out", "allow": allow, **options}
    return build(source, make_build_options(**given), Progress())


def listing(result: Built) -> dict[str, tarfile.TarInfo]:
    from lxcast.compression import Peeked, decompress

    assert result.path
    with result.path.open("rb") as file:
        stream = decompress(Peeked(file), "template")
        data, buffer = b"", bytearray(1 << 20)
        while got := stream.readinto(memoryview(buffer)):
            data += buffer[:got]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar.getmembers()}
        assert len(members) == len(tar.getmembers()), "a path stands twice"
        return members


def test_the_root_folder_comes_first_and_is_open_to_all(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar", ("etc", "dir", None), ("./", "dir", None), ("etc/x", "file", b"1"))
    members = listing(built(str(source), tmp_path))
    assert next(iter(members)) == "."
    assert members["."].mode == 0o755


def test_the_last_of_a_repeated_path_counts_where_the_source_can_be_read_twice(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a.tar",
        ("srv", "dir", None),
        ("srv/x", "file", b"old"),
        ("srv/x", "file", b"newer"),
        ("srv/y", "file", b"y"),
    )
    assert listing(built(str(source), tmp_path))["./srv/x"].size == 5


def test_a_link_to_a_dropped_file_becomes_the_file(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "a.tar",
        ("tmp", "dir", None),
        ("tmp/big", "file", b"content"),
        ("srv", "dir", None),
        ("srv/one", "link", "tmp/big"),
        ("srv/two", "link", "tmp/big"),
    )
    members = listing(built(str(source), tmp_path))
    assert "./tmp/big" not in members
    assert (members["./srv/one"].type, members["./srv/one"].size) == (tarfile.REGTYPE, 7)
    assert (members["./srv/two"].type, members["./srv/two"].linkname) == (tarfile.LNKTYPE, "./srv/one")
    assert list(members).index("./srv") < list(members).index("./srv/one")


def test_a_hard_link_before_its_target_comes_after_it(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar", ("b", "link", "a"), ("a", "file", b"1"))
    names = list(listing(built(str(source), tmp_path)))
    assert names.index("./a") < names.index("./b")


def test_a_hard_link_to_nowhere_is_an_error_that_names_both(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar", ("a", "file", b"1"), ("b", "link", "gone"))
    with pytest.raises(SourceError, match="/b is a hard link to /gone"):
        built(str(source), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("format", ["zst", "gz", "xz", "tar"])
def test_the_record_of_every_format_can_be_read_again(tmp_path: Path, format: str) -> None:
    source = archive(tmp_path / "a.tar", ("a", "file", b"1"))
    result = built(str(source), tmp_path, format=format)
    assert parse_record((tmp_path / "out" / "small-v1.json").read_text(), "record") == result.record
