"""The README's commands and HCL are those that the examples, the targets and the tests have."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.integration.tools import REPOSITORY, Program
from tests.unit.cli.running import archive, environment
from tests.unit.rootfs.filesystems import minimal_debian

README = REPOSITORY / "README.md"
INDENTED = re.findall(r"^ {4}(\S.*?)(?:\s+#.*)?$", re.sub(r"```.*?```", "", README.read_text(), flags=re.DOTALL), re.M)
MAKE = [line for line in INDENTED if line.startswith("make ")]
OTHERS = [line for line in INDENTED if line not in MAKE]


def test_the_first_screen_has_the_two_commands() -> None:
    assert [line.strip().partition("  ")[0] for line in README.read_text().splitlines()[:24] if "    make" in line] == [
        "make demo",
        "make test",
    ]


@pytest.mark.parametrize("line", MAKE)
def test_a_target_sets_up_first_and_clears_the_credentials_of_proxmox(line: str) -> None:
    """What the targets run is run elsewhere: the demo below, the tests by being here."""
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
    assert main.endswith({"make demo": "scripts/demo", "make test": ".venv/bin/python -m pytest "}[line])


def test_the_other_commands_run(commands: Path, tmp_path: Path) -> None:
    assert OTHERS[:2] == ["pip install .", "lxcast build my-image --name debian-12 --storage pve-nfs=/mnt/pve/pve-nfs"]
    (tmp_path / "my-image.tar").write_bytes(archive(minimal_debian()))
    line = OTHERS[1].replace("my-image", "./my-image.tar").replace("/mnt/pve/", f"{tmp_path}/")
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env={**environment({}), "PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pve-nfs:vztmpl/debian-12-v1.tar.zst\n"


def test_pip_install_gives_the_three_commands(tmp_path: Path) -> None:
    """Without the dependencies, which come from a registry."""
    clone, place = tmp_path / "clone", tmp_path / "place"
    shutil.copytree(REPOSITORY, clone, ignore=shutil.ignore_patterns(".*", "storage", "tests"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", place, "."], cwd=clone, check=True)
    assert {path.name for path in (place / "bin").iterdir()} == {"lxcast", "lxcast-data", "lxcast-packer"}


def test_packer_builds_with_the_block_that_is_shown(
    packer_new: Program, small_image: str, commands: Path, tmp_path: Path
) -> None:
    """The commands in their order, with an image that stands for what provision.sh would install."""
    assert OTHERS[2:] == [
        "lxcast packer install",
        "lxcast init packer images --image debian-12",
        "packer build images/debian-12",
    ]
    env = {
        **environment(packer_new.env),
        "PATH": f"{commands}:{packer_new.path.parent}:{os.environ['PATH']}",
        "PACKER_PLUGIN_PATH": str(shutil.copytree(packer_new.env["PACKER_PLUGIN_PATH"], tmp_path / "plugins")),
        "PKR_VAR_base": small_image,
        "PKR_VAR_pull": "false",
    }
    block = next(block.text for block in blocks(README) if block.language == "hcl")
    for line in OTHERS[2:]:
        if line.startswith("packer build"):
            image = tmp_path / "images/debian-12"
            assert block in (image / "packer.pkr.hcl").read_text()
            (image / "provision.sh").write_text("#!/bin/sh\n")
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "local:vztmpl/debian-12-v1.tar.zst" in done.stdout
    (build,) = json.loads((image / "output/manifest.json").read_text())["builds"]
    assert build["artifact_id"] == "local:vztmpl/debian-12-v1.tar.zst"


def test_the_hcl_of_terraform_is_that_of_the_example() -> None:
    _, terraform = (block.text for block in blocks(README) if block.language == "hcl")
    assert terraform in (REPOSITORY / "examples/debian-12/terraform/main.tf").read_text()


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
