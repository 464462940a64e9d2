"""The targets of lxcast.mk, with a small program in Packer's place."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.documents import REPOSITORY
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import archive, environment
from tests.unit.rootfs.filesystems import minimal_debian

PACKER = """#!/bin/sh
test "$1" = version && { echo "Packer v1.14.0"; exit; }
mkdir -p images/web/output
lxcast build rootfs.tar --name web --storage pve=./store --if-changed --json > images/web/output/receipt.json
"""


def test_what_make_built_is_uploaded(server: Cluster, tmp_path: Path, commands: Path) -> None:
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    (tmp_path / "images/web").mkdir(parents=True)
    (tmp_path / "Makefile").write_text(
        f"IMAGE := web\nSTORAGE := pve=./store\ninclude {REPOSITORY}/examples/make/lxcast.mk\n"
    )
    packer = tmp_path / "packer"
    packer.write_text(PACKER)
    packer.chmod(0o755)
    env = environment(access(server, tmp_path))
    env["PATH"] = f"{commands}:{os.environ['PATH']}"

    def make(target: str, *more: str) -> str:
        words = ["make", "-s", target, f"PACKER={packer}", *more]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    assert make("image.build-upload") == "local:vztmpl/web-v1.tar.zst"
    assert held(server, "web-v1.tar.zst") == (tmp_path / "store/template/cache/web-v1.tar.zst").read_bytes()
    assert make("image.upload") == "local:vztmpl/web-v1.tar.zst"
    assert make("image.upload", "VERSION=v1", "UPLOAD=proxmox:pve/local") == "local:vztmpl/web-v1.tar.zst"


def test_make_alone_does_what_the_including_makefile_says_first_and_never_builds(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    for rest, told in (("all:\n\t@echo mine\n", "mine\n"), ("", "")):
        makefile.write_text(f"PACKER = touch built && echo\ninclude {REPOSITORY}/examples/make/lxcast.mk\n{rest}")
        done = subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == told
        assert (done.returncode == 0) == bool(told)
        assert not (tmp_path / "built").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="git is missing")
def test_the_last_commit_dates_what_is_built_unless_a_time_is_said(tmp_path: Path) -> None:
    (tmp_path / "images/web/output").mkdir(parents=True)
    (tmp_path / "images/web/packer.pkr.hcl").touch()
    (tmp_path / "images/web/output/receipt.json").write_text("{}")
    (tmp_path / "Makefile").write_text(f"IMAGE := web\ninclude {REPOSITORY}/examples/make/lxcast.mk\n")
    packer = tmp_path / "packer"
    packer.write_text('#!/bin/sh\ntest "$1" = version || echo "$SOURCE_DATE_EPOCH" > epoch\n')
    packer.chmod(0o755)

    def epoch(**environ: str) -> str:
        env = environment({"GIT_CEILING_DIRECTORIES": str(tmp_path.parent), **environ})
        subprocess.run(["make", "-s", "image.build", f"PACKER={packer}"], cwd=tmp_path, env=env, check=True)
        return (tmp_path / "epoch").read_text().strip()

    assert epoch() == ""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    dated = {**os.environ, "GIT_COMMITTER_DATE": "1760000000 +0000"}
    for words in (["init", "-q"], ["add", "images/web/packer.pkr.hcl"], ["commit", "-q", "-m", "An image"]):
        subprocess.run([*git, *words], cwd=tmp_path, env=dated, check=True)
    assert epoch() == "1760000000"
    assert epoch(SOURCE_DATE_EPOCH="5") == "5"
