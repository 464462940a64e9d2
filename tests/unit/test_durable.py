import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lxcast import durable
from lxcast.errors import StorageError
from lxcast.identifiers import suffix_of


def written(folder: Path, text: str) -> durable.Temporary:
    temporary = durable.Temporary(folder)
    temporary.write(text.encode())
    return temporary


def refusing(number: int) -> durable.Way:
    def way(temporary: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    return way


def test_a_temporary_file_is_no_template_and_goes_with_its_context(tmp_path: Path) -> None:
    with durable.Temporary(tmp_path) as temporary:
        assert suffix_of(temporary.path.name) == ""
        assert temporary.write(memoryview(b"abc")) == 3
        assert temporary.size == 3
        assert temporary.path.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", durable.WAYS, ids=lambda way: way.__name__)
def test_each_way_gives_a_name_once(tmp_path: Path, way: durable.Way) -> None:
    target = tmp_path / "name"
    with written(tmp_path, "first") as first:
        durable.link_new(first.path, target, (way,))
    with written(tmp_path, "second") as second, pytest.raises(FileExistsError):
        durable.link_new(second.path, target, (way,))
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EINVAL])
def test_where_a_way_is_missing_the_next_is_taken(tmp_path: Path, number: int) -> None:
    ways = (refusing(number), refusing(number), durable.exclusive_rename)
    with written(tmp_path, "x") as temporary:
        durable.link_new(temporary.path, tmp_path / "name", ways)
    assert (tmp_path / "name").read_text() == "x"


def test_a_real_failure_tries_no_other_way(tmp_path: Path) -> None:
    with written(tmp_path, "x") as temporary, pytest.raises(StorageError, match="Input/output error"):
        durable.link_new(temporary.path, tmp_path / "name", (refusing(errno.EIO), durable.hard_link))
    assert list(tmp_path.iterdir()) == []


def test_the_last_resort_leaves_no_empty_name_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.exclusive_rename(tmp_path / "gone", tmp_path / "name")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from lxcast import durable\n"
        "t = durable.Temporary(pathlib.Path(sys.argv[1])); t.write(b'x'); print('ready', flush=True); time.sleep(600)"
    )
    mine = durable.Temporary(tmp_path)
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        template = tmp_path / "a-v1.tar.zst"
        template.write_bytes(b"")
        assert durable.sweep(tmp_path) == []
        other.send_signal(signal.SIGKILL)
        other.wait()
    left = [path for path in tmp_path.iterdir() if path not in (mine.path, template)]
    assert len(left) == 1
    assert durable.sweep(tmp_path) == left
    assert sorted(tmp_path.iterdir()) == sorted([mine.path, template])
    mine.close()


def test_a_name_is_created_once(tmp_path: Path) -> None:
    os.close(durable.create_exclusive(tmp_path / "claim"))
    with pytest.raises(FileExistsError):
        durable.create_exclusive(tmp_path / "claim")


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        durable.Temporary(tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied for user"):
        durable.Temporary(tmp_path)
