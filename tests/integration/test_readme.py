"""A reader who follows the README in an empty directory sees what it shows."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.integration.tools import REPOSITORY, UNIQUE, Program, cached, need_provider, on_path
from tests.session import follow
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import environment

README = REPOSITORY / "README.md"
EITHER = next((name for name in ("terraform", "tofu") if on_path(name) or cached(name)), "terraform")
HOST_NETWORK = 'run_command = ["-d", "-i", "-t", "--network", "host", "--entrypoint", "/bin/sh", "--", "{{ .Image }}"]'
MAKE = re.findall(r"^ {4}(make \w+)", README.read_text(), re.MULTILINE)


def test_the_first_screen_has_the_two_commands() -> None:
    assert re.findall(r"^ {4}(make \w+)", "\n".join(README.read_text().splitlines()[:24]), re.MULTILINE) == MAKE
    assert MAKE == ["make demo", "make test"]


@pytest.mark.parametrize("line", MAKE)
def test_a_target_sets_up_first_and_clears_the_credentials_of_proxmox(line: str) -> None:
    """What the targets run is run elsewhere: the demo below, the tests by this very run."""
    planned = subprocess.run(
        [*shlex.split(line), "--dry-run", "--always-make"],
        cwd=REPOSITORY,
        env={**os.environ, "PM_PASS": "x", "PROXMOX_VE_API_TOKEN": "x"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    setup, main = planned.splitlines()[0], planned.splitlines()[-1]
    assert setup.endswith("scripts/setup-venv .venv")
    assert {"PM_PASS", "PROXMOX_VE_API_TOKEN"} <= set(re.findall(r"-u (\w+)", main))
    assert {"make demo": "scripts/demo", "make test": ".venv/bin/python -m pytest -n 2"}[line] in main


@pytest.mark.parametrize("terraform_like", [EITHER], indirect=True)
def test_every_block_works_in_an_empty_directory(
    engine: Program,
    base_image: str,
    packer_new: Program,
    terraform_like: Program,
    commands: Path,
    tmp_path: Path,
) -> None:
    """The blocks in their order, as they are printed; replaced is what needs a registry, an index or a bridge."""
    need_provider("bpg/proxmox")
    image = f"lxcast-test/readme-{UNIQUE}"
    reader, programs = tmp_path / "reader", tmp_path / "bin"
    reader.mkdir()
    programs.mkdir()
    (programs / "terraform").symlink_to(terraform_like.path)
    (programs / "packer").symlink_to(packer_new.path)
    (programs / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    other_words = {
        "docker build ": "docker build --network host ",
        "FROM debian:12": f"FROM {base_image}",
        'image       = "debian:12"': f'image = "{base_image}"\n  pull = false\n  {HOST_NETWORK}',
        "packer init ": "packer validate ",
        "my-image": image,
        "uv tool install": f"uv pip install --no-deps --no-index --no-build-isolation --python {sys.executable} "
        f"--target {tmp_path / 'tools'}",
    }
    with Cluster(("pve1",)) as server:
        env = {
            **environment({**engine.env, **terraform_like.env, **packer_new.env, **access(server, tmp_path)}),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),  # Packer creates a directory there
            "PATH": f"{programs}:{commands}:{os.environ['PATH']}",
            "PACKER_PLUGIN_PATH": str(shutil.copytree(packer_new.env["PACKER_PLUGIN_PATH"], tmp_path / "plugins")),
            "PROXMOX_VE_API_TOKEN": "root@pam!readme=00000000-0000-0000-0000-000000000000",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{REPOSITORY}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://git.example.org/lxcast.git",
        }
        try:
            follow(README, reader, env, other_words)
        finally:
            engine.run("image", "rm", "--no-prune", image, check=False)
        assert held(server, "debian-12-v1.tar.zst")
    assert {path.name for path in (tmp_path / "tools/bin").iterdir()} == {"lxcast", "lxcast-data", "lxcast-packer"}
    assert (reader / "storage/template/cache/debian-12-v2.tar.zst").exists(), "Packer's build"


def test_the_demo_ends_with_the_id(base_image: str, tmp_path: Path) -> None:
    """scripts/demo, run in a copy of the tree, so that this one gets no storage."""
    assert base_image
    for name in ("examples", "scripts"):
        subprocess.run(["cp", "-a", REPOSITORY / name, tmp_path / name], check=True)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    lxcast = tmp_path / ".venv" / "bin" / "lxcast"
    lxcast.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m lxcast "$@"\n')
    lxcast.chmod(0o755)
    done = Program(tmp_path / "scripts" / "demo").run()
    assert done.stdout == "local:vztmpl/debian-12-v1.tar.zst\n"
    assert "no errors, no warnings" in done.stderr
    assert (tmp_path / "storage/template/cache/debian-12-v1.tar.zst").is_file()
