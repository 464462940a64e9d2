"""scripts/make-images --check passes for the repository, and names each file that differs from its origin."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def make_images(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, tree / "scripts/make-images", *options], capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "hcl", tmp_path / "hcl")
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts/make-images", tmp_path / "scripts")
    return tmp_path


def test_the_golden_images_are_what_their_origin_generates() -> None:
    assert make_images(REPOSITORY, "--check").returncode == 0


@pytest.mark.parametrize("name", ["alpine/packer.pkr.hcl", "rocky-9/provision.sh", "debian-12/README.md"])
def test_an_edited_file_is_named_and_generated_again(tree: Path, name: str) -> None:
    file = tree / "hcl/packer" / name
    before = file.read_text()
    file.write_text(before + "\n")
    done = make_images(tree, "--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"hcl/packer/{name}; edit hcl/shared" in done.stderr
    assert make_images(tree).returncode == 0
    assert file.read_text() == before


def test_a_shared_edit_reaches_every_image(tree: Path) -> None:
    shared = tree / "hcl/shared/plugins.pkr.hcl"
    shared.write_text(shared.read_text().replace(">= 1.0.0", ">= 1.0.9"))
    assert make_images(tree, "--check").stderr.count("plugins.pkr.hcl") == 5
    make_images(tree)
    assert [">= 1.0.9" in file.read_text() for file in (tree / "hcl/packer").glob("*/plugins.pkr.hcl")] == [True] * 5
