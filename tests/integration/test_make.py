"""The image.* targets, from a Makefile of a user's own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.integration.tools import REPOSITORY, Program, on_path
from tests.published import publish
from tests.unit.cli.proxmox import access, held

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a Makefile that includes lxcast.mk, and one image that needs no packages."""
    ignore = shutil.ignore_patterns("output", "storage", "terraform")
    shutil.copytree(EXAMPLES / "debian-12", tmp_path / "images" / "web", ignore=ignore)
    (tmp_path / "images/web/provision.sh").write_text("#!/bin/sh\n")
    (tmp_path / "Makefile").write_text(f"IMAGE := web\nSTORAGE := pve=./store\n\ninclude {EXAMPLES}/make/lxcast.mk\n")
    return tmp_path


def test_each_target_prints_the_id_last(packer: Program, small_image: str, commands: Path, folder: Path) -> None:
    path = on_path("make")
    assert path
    env = {**packer.env, "PATH": f"{commands}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": "1760000000"}
    flags = f"-color=false -var base={small_image} -var pull=false -var network=host"

    def make(target: str, *variables: str, check: bool = True) -> str:
        words = (target, f"PACKER={packer.path}", f"PACKER_FLAGS={flags}", *variables)
        done = Program(path, env).run(*words, cwd=folder, check=check)
        assert check or done.returncode != 0
        return (done.stdout.splitlines() or [""])[-1]

    assert make("image.build") == "pve:vztmpl/web-v1.tar.zst"
    assert make("image.build") == "pve:vztmpl/web-v1.tar.zst"
    assert make("image.build-next") == "pve:vztmpl/web-v2.tar.zst"
    assert make("image.build-next", "VERSION=v7") == "pve:vztmpl/web-v7.tar.zst"
    assert make("image.check") == "pve:vztmpl/web-v7.tar.zst"
    assert make("image.list").endswith("pve:vztmpl/web-v7.tar.zst")
    template = folder / "store/template/cache/web-v7.tar.zst"
    template.write_bytes(b"\0" * template.stat().st_size)
    make("image.check", check=False)
    make("image.check", "IMAGE=none", check=False)


def test_a_pin_is_promoted(commands: Path, folder: Path) -> None:
    path = on_path("make")
    assert path
    for number in (3, 4):
        publish(folder / "store", "web", number)
    (folder / "main.tf").write_text('locals {\n  web = "v3"\n}\n')
    program = Program(path, {"PATH": f"{commands}:{os.environ['PATH']}"})
    moved = program.run("image.promote", "PIN=main.tf:local.web", "VERSION=v4", cwd=folder).stdout.splitlines()
    assert moved[-1] == "pve:vztmpl/web-v4.tar.zst"
    assert (folder / "main.tf").read_text() == 'locals {\n  web = "v4"\n}\n'
    assert program.run("image.promote", cwd=folder).stdout.splitlines()[-1] == "pve:vztmpl/web-v4.tar.zst"
    pins = json.loads((folder / "templates.auto.tfvars.json").read_text())["lxc_templates"]
    assert pins["web"]["template_id"] == "pve:vztmpl/web-v4.tar.zst"
    assert program.run("image.promote", "VERSION=v9", cwd=folder, check=False).returncode != 0


def test_the_repository_itself_builds_its_golden_images(
    packer: Program, small_image: str, commands: Path, server: Cluster, tmp_path: Path
) -> None:
    """`make image.build-next IMAGE=debian-12` in a copy, whose environment has been set up; no package is installed."""
    for name in ("Makefile", "examples", "hcl", "requirements-dev.txt", "pyproject.toml", "scripts"):
        subprocess.run(["cp", "-a", REPOSITORY / name, tmp_path / name], check=True)
    shutil.copytree(commands, tmp_path / ".venv/bin")
    (tmp_path / ".venv/.complete").touch()
    (tmp_path / "hcl/packer/debian-12/provision.sh").write_text("#!/bin/sh\n")
    plugins = tmp_path / "plugins"
    if given := packer.env.get("PACKER_PLUGIN_PATH"):
        shutil.copytree(given, plugins)
    path = on_path("make")
    assert path
    flags = f"-color=false -var base={small_image} -var pull=false"
    access_env = access(server, tmp_path)
    make = Program(
        path, {**packer.env, **access_env, "PACKER_PLUGIN_PATH": str(plugins), "SOURCE_DATE_EPOCH": "1760000000"}
    )
    words = ("IMAGE=debian-12", f"PACKER={packer.path}", f"PACKER_FLAGS={flags}")
    for target, version in (("image.build-next", "v1"), ("image.build", "v1"), ("image.build-next", "v2")):
        done = make.run(target, *words, cwd=tmp_path)
        assert done.stdout.splitlines()[-1] == f"local:vztmpl/debian-12-{version}.tar.zst"
    assert make.run("image.list", *words, cwd=tmp_path).stdout.count("local:vztmpl/debian-12-v") == 2
    for target in ("image.check", "image.build-upload", "image.upload", "image.promote"):
        assert make.run(target, *words, cwd=tmp_path).stdout.splitlines()[-1] == "local:vztmpl/debian-12-v2.tar.zst"
    assert (
        held(server, "debian-12-v2.tar.zst") == (tmp_path / "storage/template/cache/debian-12-v2.tar.zst").read_bytes()
    )
