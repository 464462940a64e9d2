"""The tutorial, done by a reader with a real engine and a real Terraform."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.tools import REPOSITORY, Program, cached, need_provider, on_path
from tests.session import follow


@pytest.fixture
def image(engine: Program) -> Iterator[str]:
    """A name for what the reader builds. Its layers stay as long as the base image: another run takes them again."""
    name = "lxcast-test/tutorial"
    yield name
    engine.run("image", "rm", "--no-prune", name, check=False)


EITHER = next((name for name in ("terraform", "tofu") if on_path(name) or cached(name)), "terraform")


@pytest.mark.parametrize("terraform_like", [EITHER], indirect=True)
def test_the_tutorial_leads_to_the_hcl_of_a_container(
    engine: Program, base_image: str, image: str, terraform_like: Program, commands: Path, tmp_path: Path
) -> None:
    need_provider("bpg/proxmox")
    # Replaced is what needs a registry or a bridge, which a test has not.
    other_words = {
        "docker pull debian:12": f"docker image inspect {base_image}",
        "docker build ": "docker build --network host ",
        "debian:12": base_image,
        "my-image": image,
    }
    folder, programs = tmp_path / "reader", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "terraform").symlink_to(terraform_like.path)
    path = f"{commands}:{programs}:{os.environ['PATH']}"
    env = {**os.environ, **engine.env, **terraform_like.env, "PATH": path}
    follow(REPOSITORY / "docs" / "tutorial" / "first-template.md", folder, env, other_words)
