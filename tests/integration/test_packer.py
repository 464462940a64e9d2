"""Real `packer build` runs of the example, and what Terraform then makes of them."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.tools import REPOSITORY, Program

EXAMPLE = REPOSITORY / "examples" / "debian-12"
EPOCH = "1760000000"


@dataclass(frozen=True)
class Image:
    """A copy of the example, and the Packer that builds it."""

    packer: Program
    folder: Path
    commands: Path
    base: str

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def is_old(self) -> bool:
        """Whether this Packer is of the generation that knows no required_plugins."""
        return self.packer.path == Path("/usr/bin/packer")

    def command(self, *variables: str) -> list[str]:
        """The arguments of `packer build`; Packer 1.6 is given the one file."""
        target = "packer.pkr.hcl" if self.is_old else "."
        given = (f"base={self.base}", "pull=false", "network=host", *variables)
        return ["build", "-color=false", *(word for each in given for word in ("-var", each)), target]

    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.commands}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": EPOCH}

    def build(self, *variables: str, check: bool = True) -> str:
        """Run `packer build` and return all that it printed; with check=False it must fail."""
        done = self.packer.run(*self.command(*variables), cwd=self.folder, env=self.env(), check=check)
        assert check or done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def receipt(self) -> dict[str, str]:
        receipt = json.loads((self.output / "receipt.json").read_text())
        assert isinstance(receipt, dict)
        return receipt

    def edit(self, old: str, new: str) -> None:
        """Change packer.pkr.hcl."""
        file = self.folder / "packer.pkr.hcl"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def provision(self, script: str) -> None:
        """Provision by another script."""
        (self.folder / "provision.sh").write_text(f"#!/bin/sh\nset -eu\n{script}\n")

    def keep_no_original(self) -> None:
        """Take out the second chain, which has Packer itself keep the root filesystem."""
        file = self.folder / "packer.pkr.hcl"
        chain = re.compile(r'\n(?:  #[^\n]*\n)+  post-processor "manifest" \{.*?\n  \}\n', re.DOTALL)
        text, count = chain.subn("", file.read_text())
        assert count == 1
        file.write_text(text)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line that was printed, as a user would."""
        return subprocess.run(
            shlex.split(line), cwd=self.folder, env={**os.environ, **self.env()}, capture_output=True, text=True
        )


def copy(packer: Program, base: str, commands: Path, folder: Path) -> Image:
    ignore = shutil.ignore_patterns("output", "storage", ".terraform*", "terraform.tfstate*")
    shutil.copytree(EXAMPLE, folder, ignore=ignore)
    return Image(packer, folder, commands, base)


@pytest.fixture(scope="module", params=["packer_old", "packer_new"])
def built(
    request: pytest.FixtureRequest, base_image: str, commands: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Image, str]:
    """The example built by each generation of Packer, and what Packer printed."""
    packer = request.getfixturevalue(request.param)
    assert isinstance(packer, Program)
    image = copy(packer, base_image, commands, tmp_path_factory.mktemp(request.param) / "debian-12")
    return image, image.build()


@pytest.fixture
def image(packer: Program, service_image: str, commands: Path, tmp_path: Path) -> Image:
    """A copy of the example that starts from an image with systemd and sshd, so that it needs no packages."""
    return copy(packer, service_image, commands, tmp_path / "debian-12")


def test_packer_and_terraform_give_the_same_id(built: tuple[Image, str], terraform_like: Program) -> None:
    image, printed = built
    template_id = image.receipt()["template_id"]
    assert template_id == "local:vztmpl/debian-12-v1.tar.zst"
    assert f"(shell-local): {template_id}\n" in printed

    manifest = json.loads((image.output / "manifest.json").read_text())
    (build,) = manifest["builds"]
    assert build["packer_run_uuid"] == manifest["last_run_uuid"]
    assert build["custom_data"]["template_id"] == template_id
    assert [file["name"] for file in build["files"]] == [image.receipt()["path"]]

    folder = image.folder / "terraform"
    terraform_like.run("init", "-input=false", cwd=folder)
    terraform_like.run("apply", "-auto-approve", cwd=folder, env=image.env())
    outputs = json.loads(terraform_like.run("output", "-json", cwd=folder).stdout)
    assert outputs["template_id"]["value"] == template_id
    assert outputs["template_sha256"]["value"] == image.receipt()["sha256"]
    for leftover in (".terraform", ".terraform.lock.hcl", "terraform.tfstate"):
        path = folder / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_template_is_clean_and_nothing_is_left_behind(built: tuple[Image, str]) -> None:
    image, _ = built
    checked = image.run(f"lxcast check {shlex.quote(image.receipt()['path'])} --policy golden")
    assert checked.returncode == 0, checked.stdout
    assert sorted(path.name for path in image.output.iterdir()) == [
        "manifest.json",
        "receipt.json",
        "rootfs.json",
        "rootfs.tar",
    ]
    stored = sorted(path.name for path in (image.folder / "storage/template/cache").iterdir())
    assert stored == ["debian-12-v1.json", "debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]


def test_two_builds_of_one_date_have_one_content(built: tuple[Image, str], tmp_path: Path) -> None:
    first, _ = built
    second = copy(first.packer, first.base, first.commands, tmp_path / "again")
    second.build()
    told = first.run(shlex.join(["lxcast", "diff", first.receipt()["path"], second.receipt()["path"]]))
    assert (told.returncode, told.stdout) == (0, ""), told.stdout + told.stderr
    assert second.receipt()["diff_id"] == first.receipt()["diff_id"]


def test_a_failed_check_keeps_the_export_and_the_printed_command_resumes(image: Image) -> None:
    image.keep_no_original()
    image.provision("echo 'machine example.org login me password hunter2' >/root/.netrc")
    printed = image.build(check=False)
    assert not (image.output / "rootfs.tar").exists(), "Packer keeps it itself now: is lxcast-packer's own hold needed?"
    assert not (image.output / "receipt.json").exists()
    assert "hunter2" not in printed
    line = resume(printed)
    assert "rootfs-kept1.tar" in line

    again = image.run(line)
    assert again.returncode == 5
    allowed = image.run(f"{line} --allow {refused(again.stderr)}='known to be a test'")
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stdout == "local:vztmpl/debian-12-v1.tar.zst\n"


def test_a_failed_check_keeps_the_image_and_the_printed_command_resumes(image: Image, engine: Program) -> None:
    image.keep_no_original()
    image.provision("echo 'machine example.org login me password hunter2' >/root/.netrc")
    image.edit("export_path = local.rootfs", "commit      = true")
    image.edit("LXCAST_SOURCE=${local.rootfs}", "LXCAST_SOURCE=${build.ImageSha256}")
    printed = image.build(check=False)
    line = resume(printed)
    container = shlex.split(line)[shlex.split(line).index("build") + 1].removeprefix("docker-container:")
    try:
        again = image.run(line)
        assert again.returncode == 5
        allowed = image.run(f"{line} --allow {refused(again.stderr)}='known to be a test'")
        assert allowed.returncode == 0, allowed.stderr
    finally:
        held = engine.run("inspect", "--format", "{{.Image}}", container).stdout.strip()
        engine.run("rm", "--volumes", container)
        engine.run("rmi", held, check=False)


def test_a_committed_image_is_built_and_kept(image: Image, engine: Program) -> None:
    image.provision("true")
    image.edit("export_path = local.rootfs", "commit      = true")
    image.edit("LXCAST_SOURCE=${local.rootfs}", "LXCAST_SOURCE=${build.ImageSha256}")
    image.edit("LXCAST_POLICY=golden", "LXCAST_POLICY=default")
    image.build()
    manifest = json.loads((image.output / "rootfs.json").read_text())
    (build,) = manifest["builds"]
    assert engine.run("image", "inspect", build["artifact_id"], check=False).returncode == 0
    engine.run("rmi", build["artifact_id"])
    assert image.receipt()["source"]["kind"] == "docker-daemon"  # type: ignore[index]  # an object in the JSON


def test_a_stopped_build_leaves_nothing(image: Image) -> None:
    image.keep_no_original()
    os.mkfifo(image.folder / "endless.tar")
    # Nobody writes to the pipe, so that the build is surely at work when it is stopped.
    image.edit("LXCAST_SOURCE=${local.rootfs}", "LXCAST_SOURCE=endless.tar")
    image.provision("true")
    packer = subprocess.Popen(
        [image.packer.path, *image.command()],
        cwd=image.folder,
        env={**os.environ, **image.packer.env, **image.env()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait(lambda: bool(shims(image)))
        packer.send_signal(signal.SIGTERM)
        packer.communicate(timeout=240)
        wait(lambda: not shims(image))
    finally:
        packer.kill()
        packer.wait()
    assert not [path for path in (image.folder / "storage").rglob("*") if path.is_file()]
    assert not list(image.output.glob("*kept*"))


def shims(image: Image) -> list[int]:
    """The processes of lxcast-packer that work in the image's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"packer_post" in (process / "cmdline").read_bytes() and (process / "cwd").samefile(image.folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait(condition: object, seconds: float = 240) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def resume(printed: str) -> str:
    """The command that a failed post-processor told, out of Packer's output."""
    (line,) = re.findall(r"\(shell-local\): +((?:env \S+ )?lxcast build .*)", printed)
    assert isinstance(line, str)
    return line


def refused(printed: str) -> str:
    """The check that a build failed by, as its hint names it."""
    match = re.search(r"--allow (\S+)=REASON", printed)
    assert match
    return match[1]
