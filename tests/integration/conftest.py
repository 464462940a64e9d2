"""Fixtures of the real programs. A missing one skips the test by name; under LXCAST_REQUIRE_INTEGRATION=1 it fails it.

- engine: the docker command, with an engine that answers
- base_image, base_image_13: names of images of Debian 12 and 13, minimal
- service_image: name of an image of Debian 12 with systemd, sshd, python3 and apt's leftovers
- service_container, service_export: a container of the latter that never ran, and its `docker export` as a file
- packer_old, packer_new: Packer 1.6.6, and 1.15.0 with the docker plugin; packer: the test runs with both in turn
- templates: a folder for a template of each Packer in turn, with `post-processor "lxcast"` installed
- rootfs: in that folder the tar of a small root filesystem; small_image: name of an image of one, with a shell
- terraform_like: the test runs with terraform and tofu in turn, hashicorp/external in a mirror
- lxc: the folder of the LXC commands, where root may use them
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.tar.member import directory, regular, symlink
from lxcast.testing import Cluster
from tests.integration.packer_templates import Templates
from tests.integration.tools import CACHE, REPOSITORY, UNIQUE, Program, cached, missing, on_path, with_post_processor
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian, without

TERRAFORMS = ("terraform", "tofu")


@pytest.fixture(scope="session")
def engine() -> Program:
    """The docker command; builds and runs by `--network host` where they need the network."""
    path = on_path("docker")
    if path is None:
        missing("no docker command")
    docker = Program(path, {"DOCKER_BUILDKIT": "0"})  # BuildKit needs the buildx plugin, which Debian's docker.io lacks
    version = docker.run("version", "--format", "{{.Server.Version}}", check=False)
    if version.returncode:
        missing(f"no Docker engine answers: {version.stderr.strip()}")
    return docker


def _present(engine: Program, image: str) -> str:
    if engine.run("image", "inspect", image, check=False).returncode:
        missing(f"no image {image}")
    return image


@pytest.fixture(scope="session")
def base_image(engine: Program) -> str:
    """Debian 12 by debootstrap: no init, no sshd."""
    return _present(engine, "lxcast-test/debian-12-base")


@pytest.fixture(scope="session")
def base_image_13(engine: Program) -> str:
    """Debian 13 by debootstrap: no init, no sshd."""
    return _present(engine, "lxcast-test/debian-13-base")


@pytest.fixture(scope="session")
def service_image(base_image: str) -> str:
    """Debian 12 with systemd and sshd (keys only), apt-daily.timer disabled, apt lists and packages left in."""
    assert base_image
    return Program(REPOSITORY / "scripts" / "service-image").run().stdout.strip()


@pytest.fixture(scope="session")
def service_container(engine: Program, service_image: str) -> Iterator[str]:
    """The name of a created container of service_image, which never ran."""
    name = f"lxcast-test-{UNIQUE}"
    engine.run("create", "--name", name, service_image)
    yield name
    engine.run("rm", "--volumes", name)


@pytest.fixture(scope="session")
def service_export(engine: Program, service_container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`docker export` of service_container: 0.47 GB, 10,000 members. Read only."""
    file = tmp_path_factory.mktemp("export") / "rootfs.tar"
    engine.run("export", "--output", file, service_container)
    yield file
    file.unlink()


@pytest.fixture(scope="session")
def packer_old() -> Program:
    """Debian's Packer 1.6.6: no required_plugins, the docker builder inside."""
    path = Path("/usr/bin/packer")
    if not path.exists():
        missing("no Packer 1.6 from Debian's packages (/usr/bin/packer)")
    packer = Program(path, {"CHECKPOINT_DISABLE": "1"})
    if not packer.run("version").stdout.startswith("Packer v1.6."):
        missing("/usr/bin/packer is not the 1.6 of Debian's packages")
    return packer


@pytest.fixture(scope="session")
def packer_new() -> Program:
    """Packer 1.15.0; PACKER_PLUGIN_PATH holds the docker plugin. A test that installs more copies that folder."""
    path, plugins = cached("packer"), CACHE / "packer-plugins"
    if path is None or not plugins.exists():
        missing("no Packer with required_plugins and its docker plugin in the cache")
    return Program(path, {"CHECKPOINT_DISABLE": "1", "PACKER_PLUGIN_PATH": str(plugins)})


@pytest.fixture(params=["packer_old", "packer_new"])
def packer(request: pytest.FixtureRequest) -> Program:
    """Each generation of Packer in turn."""
    program = request.getfixturevalue(request.param)
    assert isinstance(program, Program)
    return program


@pytest.fixture
def templates(packer: Program, commands: Path, tmp_path: Path) -> Templates:
    """A folder for a template of that Packer, which has the post-processor."""
    plugged = with_post_processor(packer, commands, tmp_path / "plugins")
    folder = tmp_path / "work"
    folder.mkdir()
    return Templates(plugged, folder, commands)


@pytest.fixture
def rootfs(templates: Templates) -> Path:
    """The tar of a root filesystem, small enough for a build in no time."""
    file = templates.folder / "rootfs.tar"
    file.write_bytes(archive(minimal_debian()))
    return file


@pytest.fixture(scope="session")
def small_image(engine: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of that root filesystem, with what the docker builder calls: a shell, and programs for provisioning."""
    programs = {f"/bin/{name}" for name in ("dash", "chmod", "rm", "sleep")}
    linked = subprocess.run(["ldd", *sorted(programs)], check=True, capture_output=True, text=True).stdout
    programs |= set(re.findall(r"(/\S+) \(0x", linked))
    members = [*without(minimal_debian(), b"usr/bin/dash"), directory(b"usr/lib64"), symlink(b"lib64", b"usr/lib64")]
    members += [regular(f"usr{path}".encode(), Path(path).read_bytes(), 0o755) for path in sorted(programs)]
    file = tmp_path_factory.mktemp("image") / "rootfs.tar"
    file.write_bytes(archive(members))
    name = f"lxcast-test/small-{UNIQUE}"
    engine.run("import", file, name)
    yield name
    engine.run("rmi", name)


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A stand-in Proxmox server."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session", params=TERRAFORMS)
def terraform_like(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Terraform and OpenTofu in turn: where one is there, the other may be missing even in CI."""
    found = {name: on_path(name) or cached(name) for name in TERRAFORMS}
    path = found[request.param]
    providers = CACHE / "providers"
    if not any(found.values()) or not providers.exists():
        missing("no terraform or tofu with the hashicorp/external provider")
    if path is None:
        pytest.skip(f"no {request.param}; the other of {', '.join(TERRAFORMS)} runs this test")
    config = tmp_path_factory.mktemp(request.param) / "cli.tfrc"
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{providers}"\n  }}\n}}\n')
    return Program(path, {"TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"})


@pytest.fixture(scope="session")
def lxc() -> Path:
    """The folder that holds lxc-start, lxc-attach, lxc-info, lxc-stop and lxc-usernsexec; the test runs as root."""
    if os.geteuid() != 0:
        missing("LXC containers are started as root only")
    names = ("lxc-start", "lxc-attach", "lxc-info", "lxc-stop", "lxc-usernsexec")
    if absent := [name for name in names if not shutil.which(name)]:
        missing(f"no {', '.join(absent)}")
    return Path(shutil.which("lxc-start") or "").parent
