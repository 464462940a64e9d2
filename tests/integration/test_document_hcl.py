"""Each HCL block of each document is valid as it is printed, alone in an empty directory, by the real programs."""

import shutil
from pathlib import Path

import pytest

from tests.documents import REPOSITORY, Block, blocks, documents
from tests.integration.tools import Program, cached, need_provider, on_path, with_post_processor

EITHER = next((name for name in ("terraform", "tofu") if on_path(name) or cached(name)), "terraform")
HCL = [(page, block) for page in documents() for block in blocks(page) if block.language == "hcl"]
NAMES = {id(block): f"{page.relative_to(REPOSITORY)}-{number}" for number, (page, block) in enumerate(HCL)}


def is_packers(block: Block) -> bool:
    return any(f"\n{word} " in f"\n{block.text}" for word in ("packer", "source", "build"))


def is_values(block: Block) -> bool:
    """Whether the block is a file of values for Packer's variables."""
    return block.file.endswith(".pkrvars.hcl")


PACKER = [(page, block) for page, block in HCL if is_packers(block)]
VALUES = [(page, block) for page, block in HCL if is_values(block)]
TERRAFORM = [(page, block) for page, block in HCL if not is_packers(block) and not is_values(block)]


def named(pairs: list[tuple[Path, Block]]) -> list[str]:
    return [NAMES[id(block)] for _, block in pairs]


@pytest.fixture(scope="module")
def packer(packer_new: Program, commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return with_post_processor(packer_new, commands, tmp_path_factory.mktemp("packer") / "plugins")


@pytest.mark.parametrize(("page", "block"), PACKER, ids=named(PACKER))
def test_packer_accepts_a_block(page: Path, block: Block, packer: Program, tmp_path: Path) -> None:
    (tmp_path / (block.file or "template.pkr.hcl")).write_text(block.text)
    done = packer.run("validate", ".", cwd=tmp_path)
    assert "Warning" not in done.stdout + done.stderr, page


@pytest.mark.parametrize(("page", "block"), VALUES, ids=named(VALUES))
def test_packer_accepts_a_file_of_values(page: Path, block: Block, packer: Program, tmp_path: Path) -> None:
    """It stands in the directory of a golden image."""
    image = page.parent if (page.parent / "packer.pkr.hcl").exists() else REPOSITORY / "hcl/packer/debian-12"
    shutil.copytree(image, tmp_path / "image")
    (tmp_path / "image" / block.file).write_text(block.text)
    packer.run("validate", ".", cwd=tmp_path / "image")


@pytest.mark.parametrize("terraform_like", [EITHER], indirect=True)
@pytest.mark.parametrize(("page", "block"), TERRAFORM, ids=named(TERRAFORM))
def test_terraform_accepts_a_block(page: Path, block: Block, terraform_like: Program, tmp_path: Path) -> None:
    """A module comes from the clone of the repository that the page tells the reader to make."""
    if "bpg/proxmox" in block.text or "module " in block.text:
        need_provider("bpg/proxmox")
    if "./lxcast/" in block.text:
        assert "git clone https://git.example.org/lxcast.git" in page.read_text()
        (tmp_path / "lxcast").mkdir()
        shutil.copytree(REPOSITORY / "hcl", tmp_path / "lxcast/hcl")
    (tmp_path / (block.file or "main.tf")).write_text(block.text)
    terraform_like.run("init", cwd=tmp_path)
    done = terraform_like.run("validate", "-no-color", cwd=tmp_path)
    assert "Warning" not in done.stdout, done.stdout
    terraform_like.run("fmt", "-check", cwd=tmp_path)
