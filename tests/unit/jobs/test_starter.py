"""`lxcast init`: the files that a user's repository starts from, from the source tree and from a wheel."""

import json
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lxcast.errors import ConflictError, StorageError, UsageError
from lxcast.jobs.starter import images, write_make, write_packer
from tests.unit.cli.running import lxcast

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY / "hcl" / "packer"
FILES = ["README.md", "packer.pkr.hcl", "plugins.pkr.hcl", "provision.sh"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("image", ["alpine", "debian-12", "debian-13", "rocky-9", "ubuntu-24.04"])
def test_an_image_is_written_as_it_is_in_the_repository(tmp_path: Path, image: str) -> None:
    new = write_packer(tmp_path / "images", image)
    assert new == [tmp_path / "images" / image / name for name in FILES]
    assert contents(tmp_path / "images" / image) == contents(GOLDEN / image)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in new]
    assert modes == [0o644, 0o644, 0o644, 0o755]
    assert image in images()


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    write_packer(tmp_path, "alpine")
    (tmp_path / "alpine" / "plugins.pkr.hcl").unlink()
    assert write_packer(tmp_path, "alpine") == [tmp_path / "alpine" / "plugins.pkr.hcl"]
    assert write_packer(tmp_path, "alpine") == []


def test_files_of_the_user_stay_and_all_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "alpine"
    folder.mkdir()
    (folder / "provision.sh").write_text("mine")
    (folder / "README.md").write_text("mine, too")
    with pytest.raises(ConflictError) as error:
        write_packer(tmp_path, "alpine")
    assert error.value.message.splitlines() == [
        f"{folder / 'README.md'} already exists with other content",
        f"{folder / 'provision.sh'} already exists with other content",
    ]
    assert contents(folder) == {"provision.sh": b"mine", "README.md": b"mine, too"}


def test_an_unknown_image_is_an_error_that_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        write_packer(tmp_path, "../make")
    assert error.value.hint == "there are alpine, debian-12, debian-13, rocky-9, ubuntu-24.04"
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    with pytest.raises(ConflictError, match="images already exists"):
        write_make(tmp_path / "images")
    with pytest.raises(StorageError, match="Not a directory"):
        write_packer(tmp_path / "images", "alpine")


def test_the_command_says_what_is_new(tmp_path: Path) -> None:
    done = lxcast("init", "make", ".", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["lxcast.mk"]
    assert (tmp_path / "lxcast.mk").read_bytes() == (REPOSITORY / "examples/make/lxcast.mk").read_bytes()
    done = lxcast("init", "packer", "images", "--image", "debian-13", cwd=tmp_path)
    assert done.stdout.splitlines() == [f"images/debian-13/{name}" for name in FILES]
    assert lxcast("init", "packer", "images", "--image", "debian-13", cwd=tmp_path).stdout == ""
    shown = lxcast("init", "packer", "--help").stdout
    assert all(image in shown for image in images())


def test_a_wheel_holds_the_files_and_nothing_that_a_build_left_beside_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignore = shutil.ignore_patterns("output", "storage", "__pycache__")
    for name in ("lxcast", "packer_post", "terraform_ext", "hcl", "examples"):
        shutil.copytree(REPOSITORY / name, tree / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tree)
    for leftover in ("output/rootfs.tar", "storage/template/cache/alpine-v1.tar.zst"):
        (tree / "hcl/packer/alpine" / leftover).parent.mkdir(parents=True)
        (tree / "hcl/packer/alpine" / leftover).write_text("")
    build = f"import setuptools.build_meta as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if name.startswith("lxcast/starters/")}
    expected = {f"lxcast/starters/packer/{image}/{name}" for image in images() for name in FILES}
    assert held.keys() == expected | {"lxcast/starters/make/lxcast.mk"}
    for name, content in held.items():
        assert content == (REPOSITORY / name).read_bytes()
