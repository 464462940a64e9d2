"""The golden images: all are valid for both generations of Packer, and Debian's are built, booted and logged in to.

A reader's steps: `lxcast init` writes an image and the make targets, `lxcast packer install` the post-processor, then
`make image.build-next` builds.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lxcast.jobs.starter import images
from tests.integration import proxmox_node
from tests.integration.lxc import Container, boot
from tests.integration.tools import REPOSITORY, Program, on_path, with_post_processor

PASSWORD = "correct horse battery staple"
BUILDS = {"debian-12": ("packer_new", "base_image", "gz"), "debian-13": ("packer_old", "base_image_13", "zst")}
"""Each image is built once, to bound the time, and each generation of Packer builds one."""

EXAMPLES = sorted((REPOSITORY / "examples").rglob("packer.pkr.hcl"))

WRONG = {
    "name": "Debian 12",
    "base": "debian:12@sha256:0",
    "digest": "sha256:0",
    "network": "a b",
    "version": "latest",
    "format": "zip",
    "pattern": "{name}",
    "source_date_epoch": "today",
}
"""A wrong value of each variable that judges its value."""


@dataclass(frozen=True)
class Built:
    """A golden image that was built."""

    image: str
    folder: Path
    template: Path
    printed: str


@pytest.fixture(scope="module")
def packers(
    packer_old: Program, packer_new: Program, commands: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Program]:
    """Each generation of Packer with the post-processor."""
    folder = tmp_path_factory.mktemp("plugins")
    both = {"packer_old": packer_old, "packer_new": packer_new}
    return {name: with_post_processor(packer, commands, folder / name) for name, packer in both.items()}


def target(name: str, folder: Path) -> Path:
    """What `packer` is given: Packer 1.6 does not know what plugins.pkr.hcl says."""
    return folder / "packer.pkr.hcl" if name == "packer_old" else folder


@pytest.fixture(scope="module", params=BUILDS)
def built(
    request: pytest.FixtureRequest,
    packers: dict[str, Program],
    commands: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """Debian 12 and 13, built from a local image into a storage of their own."""
    image = str(request.param)
    packer, base, format = BUILDS[image]
    place = tmp_path_factory.mktemp(image)
    lxcast = Program(commands / "lxcast")
    lxcast.run("init", "packer", "images", "--image", image, cwd=place)
    lxcast.run("init", "make", ".", cwd=place)
    (place / "Makefile").write_text("include lxcast.mk\n")
    said = {
        "base": request.getfixturevalue(base),
        "pull": "false",
        "network": "host",
        "format": format,
        "pattern": "{name}-lxc-rootfs-{version}",
    }
    flags = " ".join(["-color=false", *(f"-var {name}={value}" for name, value in said.items())])
    path = on_path("make")
    assert path
    env = {**packers[packer].env, "SOURCE_DATE_EPOCH": "1760000000", "PATH": f"{commands}:{os.environ['PATH']}"}
    done = Program(path, env).run(
        *("image.build-next", f"IMAGE={image}", "STORAGE=nas=./nas"),
        *(f"PACKER={packers[packer].path}", f"PACKER_FLAGS={flags}"),
        cwd=place,
    )
    template = place / f"nas/template/cache/{image}-lxc-rootfs-v1.tar.{format}"
    assert template.exists(), done.stdout
    return Built(image, place / "images" / image, template, done.stdout)


@pytest.mark.parametrize("generation", ["packer_old", "packer_new"])
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_is_valid(file: Path, generation: str, packers: dict[str, Program]) -> None:
    packers[generation].run("validate", target(generation, file.parent))


@pytest.mark.parametrize("generation", ["packer_old", "packer_new"])
@pytest.mark.parametrize("image", images())
def test_an_image_is_valid(image: str, generation: str, packers: dict[str, Program]) -> None:
    folder = REPOSITORY / "hcl" / "packer" / image
    packers[generation].run("validate", target(generation, folder))
    packers[generation].run("validate", "-var", f"digest=sha256:{'0' * 64}", target(generation, folder))


@pytest.mark.parametrize("generation", ["packer_old", "packer_new"])
@pytest.mark.parametrize("image", images())
def test_every_wrong_variable_is_told_at_once(image: str, generation: str, packers: dict[str, Program]) -> None:
    folder = REPOSITORY / "hcl" / "packer" / image
    variables = [word for name, value in WRONG.items() for word in ("-var", f"{name}={value}")]
    done = packers[generation].run("validate", *variables, target(generation, folder), check=False)
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("checked by the validation rule") == len(WRONG)


def test_all_packer_code_is_formatted(packer_new: Program) -> None:
    for folder in ("hcl/packer", "examples"):
        done = packer_new.run("fmt", "-check", "-diff", "-recursive", REPOSITORY / folder, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_the_template_has_the_name_and_the_record_that_were_asked_for(built: Built) -> None:
    volid = f"nas:vztmpl/{built.template.name}"
    assert built.printed.splitlines()[-1] == volid
    record = json.loads((built.folder / "output/receipt.json").read_text())
    assert (record["template_id"], record["version"]) == (volid, "v1")
    (build,) = json.loads((built.folder / "output/manifest.json").read_text())["builds"]
    assert (build["artifact_id"], build["custom_data"]["sha256"]) == (volid, record["sha256"])
    assert not (built.folder / "output/rootfs.tar").exists()


def test_the_template_passes_the_golden_policy_without_a_warning(built: Built, commands: Path) -> None:
    done = Program(commands / "lxcast").run("check", built.template, "--policy", "golden", "--json")
    assert json.loads(done.stdout)["findings"] == []


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one lies beside it."""
    file = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


@pytest.fixture(scope="module")
def container(built: Built, lxc: Path, key: Path) -> Iterator[Container]:
    """A container as Proxmox makes it, with an address, a password and a key."""
    with proxmox_node.storage() as node:
        root = node / built.image
        proxmox_node.unpack(built.template, root)
        public = key.with_suffix(".pub").read_text()
        proxmox_node.create(root, "golden", ssh_public_keys=public, password=PASSWORD, address="10.0.5.2/24")
        with boot(root, "golden", address="10.0.5.2/24") as container:
            container.wait_running()
            yield container


def test_root_logs_in_by_key_alone(container: Container, key: Path) -> None:
    done = container.ssh(key, "id --user && umask && ulimit -H -c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0027", "0"]
    assert container.ssh_password_refused(PASSWORD)


def test_nobody_else_is_there(container: Container) -> None:
    passwd = [line.split(":") for line in container.run(["cat", "/etc/passwd"]).stdout.splitlines()]
    assert [user[0] for user in passwd if 1000 <= int(user[2]) < 65534] == []


def test_no_timer_upgrades_the_container(container: Container) -> None:
    timers = container.run(["systemctl", "list-timers", "--all", "--no-legend", "--plain"]).stdout
    assert "tmpfiles-clean" in timers
    assert "apt-daily" not in timers
    assert "fstrim" not in timers
