"""Old archives become templates: run as a user runs it, since what counts is what lies in the folder afterwards."""

import io
import json
import lzma
import tarfile
from pathlib import Path

from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian


def nested(path: Path) -> Path:
    """Write what an old hakim published: the pair of distrobuilder in one archive."""
    pair = {"rootfs.tar.xz": lzma.compress(archive(minimal_debian())), "meta.tar.xz": lzma.compress(archive([]))}
    with tarfile.open(path, "w:xz") as tar:
        for name, content in pair.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_nested_archive_is_refused_by_check_and_passes_when_repacked(tmp_path: Path) -> None:
    old = nested(tmp_path / "hakim-debian-bookworm-amd64.tar.xz")
    before = old.read_bytes()
    told = lxcast("check", old)
    assert told.returncode == 5
    assert "nested-archive" in told.stdout
    assert "lxcast repack" in told.stdout
    done = lxcast("repack", old)
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    new = tmp_path / "hakim-debian-bookworm-amd64-v1.tar.zst"
    assert done.stdout == f"{new}\n"
    assert lxcast("check", new).returncode == 0
    assert old.read_bytes() == before


def test_many_at_once_each_beside_its_original_and_one_that_fails_stops_none(tmp_path: Path) -> None:
    cache = tmp_path / "storage/template/cache"
    cache.mkdir(parents=True)
    plain = cache / "debian-12-v3.tar"
    plain.write_bytes(archive(minimal_debian()))
    broken = cache / "broken.tar.xz"
    broken.write_bytes(lzma.compress(archive(minimal_debian()))[:-100])
    other = nested(tmp_path / "other.tar.xz")
    done = lxcast("repack", broken, plain, other)
    assert done.stdout.splitlines() == ["local:vztmpl/debian-12-v4.tar.zst", str(tmp_path / "other-v1.tar.zst")]
    assert done.returncode == 4
    assert f"{broken}: " in done.stderr
    assert "2 of 3 repacked" in done.stderr
    assert {path.name for path in cache.iterdir() if "broken" in path.name} == {"broken.tar.xz"}
    answer = json.loads(lxcast("repack", "--json", broken, other).stdout)
    assert [each["record"]["version"] for each in answer["repacked"]] == ["v2"]
    assert [each["from"] for each in answer["failed"]] == [str(broken)]
