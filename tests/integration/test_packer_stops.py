"""Ctrl-C and SIGTERM while Packer builds, wherever they come: nothing half-made, no process, no container is left."""

import io
import os
import random
import re
import signal
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from lxcast.testing import Cluster, TaskFault
from tests.integration.packer_templates import DOCKER, FILES, Templates, chain, containers, stop
from tests.integration.tools import Program
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
SLOW = 'template_name = "debian-12"\nformat = "xz"\nsmall = true\nthreads = 1'
"""Noise that is compressed so takes a second for two megabytes."""

UPLOAD = 'template_name = "debian-12"\nstorage = "proxmox:pve/local"\nrecords = "records"\n'


@pytest.fixture
def large_rootfs(templates: Templates) -> None:
    """A root filesystem whose template has some 24 megabytes."""
    noise = regular(b"srv", random.Random(6).randbytes(24 << 20))
    (templates.folder / "rootfs.tar").write_bytes(archive([*minimal_debian(), noise]))


@pytest.fixture
def large_image(small_image: str, engine: Program, tmp_path: Path) -> Iterator[str]:
    """An image that holds as much."""
    name = f"{small_image}-large"
    (tmp_path / "context").mkdir()
    with tarfile.open(tmp_path / "context/large.tar", "w") as target:
        noise = tarfile.TarInfo("noise")
        noise.size = 24 << 20
        target.addfile(noise, io.BytesIO(os.urandom(noise.size)))
    (tmp_path / "context/Dockerfile").write_text(f"FROM {small_image}\nADD large.tar /opt/\n")
    engine.run("build", "--tag", name, tmp_path / "context")
    yield name
    engine.run("rmi", name)


def is_clean(templates: Templates, printed: str) -> None:
    """See that nothing was made, that nothing half-made is left, and that nobody was shown a traceback."""
    assert "Proxmox container template" not in printed
    assert "Traceback" not in printed
    assert templates.stored() == []
    assert not list(templates.folder.glob("*kept*"))


@SIGNALS
def test_while_docker_provisions(
    templates: Templates, small_image: str, engine: Program, number: signal.Signals
) -> None:
    shell = 'provisioner "shell" {\n inline = ["echo begun", "sleep 3000"]\n}'
    docker = DOCKER % (small_image, 'export_path = "rootfs.tar"')
    templates.write(docker, chain('template_name = "debian-12"', provisioner=shell))
    is_clean(templates, stop(templates, number, lambda printed: "rootfs: begun" in printed))
    assert containers(engine, small_image) == []


@SIGNALS
@pytest.mark.usefixtures("rootfs")
def test_while_the_source_is_read(templates: Templates, number: signal.Signals) -> None:
    slow = 'post-processor "artifice" {\n files = ["slow.tar"]\n}'
    templates.write(FILES, chain('template_name = "debian-12"', source="file.rootfs", before=slow))
    os.mkfifo(templates.folder / "slow.tar")
    pipe = os.open(templates.folder / "slow.tar", os.O_RDWR)
    try:
        os.write(pipe, archive(minimal_debian())[: 10 << 10])
        # A temporary file for the template is there before the first byte is read; the next ones never come.
        is_clean(templates, stop(templates, number, lambda _: templates.stored() != []))
    finally:
        os.close(pipe)


@SIGNALS
@pytest.mark.usefixtures("large_rootfs")
def test_while_the_template_is_compressed(templates: Templates, number: signal.Signals) -> None:
    templates.write(FILES, chain(SLOW, source="file.rootfs"))
    is_clean(templates, stop(templates, number, lambda _: templates.is_written()))


@SIGNALS
def test_while_the_template_of_an_image_is_compressed(
    templates: Templates, small_image: str, large_image: str, engine: Program, number: signal.Signals
) -> None:
    templates.write(DOCKER % (large_image, "commit = true"), chain(SLOW))
    is_clean(templates, stop(templates, number, lambda _: templates.is_written()))
    assert containers(engine, small_image) == []


@pytest.fixture
def uploading(templates: Templates, large_rootfs: None, server: Cluster, tmp_path: Path) -> Callable[..., str]:
    """Builds and uploads, and is stopped."""
    templates.write(FILES, chain(UPLOAD, source="file.rootfs"))
    env = access(server, tmp_path)
    return lambda number, at_work: stop(templates, number, at_work, env)


@SIGNALS
def test_while_the_template_is_uploaded(
    templates: Templates, server: Cluster, uploading: Callable[..., str], number: signal.Signals, tmp_path: Path
) -> None:
    """What was built is kept, since building is what takes long; the printed command goes on from there."""
    server.faults.read_rate = 1 << 20
    node = server.temporary("pve")

    def sends(_: str) -> bool:
        return any(path.stat().st_size for path in node.glob("*"))

    printed = uploading(number, sends)
    assert server.token.secret not in printed
    is_clean(templates, printed)
    until = time.monotonic() + 120
    while list(node.iterdir()):
        assert time.monotonic() < until, "the node removes what it had, when the connection breaks"
        time.sleep(0.05)
    assert held(server, "debian-12-v1.tar.zst") is None
    assert server.tasks.all == []
    server.faults.read_rate = None
    goes_on(templates, printed, access(server, tmp_path))
    assert held(server, "debian-12-v1.tar.zst")


@SIGNALS
def test_while_the_node_takes_what_was_uploaded(
    templates: Templates, server: Cluster, uploading: Callable[..., str], number: signal.Signals, tmp_path: Path
) -> None:
    """The node works on, and has the template whole; the printed command finds that it is the same."""
    server.faults.tasks["imgcopy"] = TaskFault(seconds=15)
    printed = uploading(number, lambda _: server.tasks.all != [])
    is_clean(templates, printed)
    server.tasks.wait(120)
    server.faults.tasks.clear()
    content = held(server, "debian-12-v1.tar.zst")
    goes_on(templates, printed, access(server, tmp_path))
    assert held(server, "debian-12-v1.tar.zst") == content
    assert [task.type for task in server.tasks.all].count("imgcopy") == 1


def goes_on(templates: Templates, printed: str, env: Mapping[str, str]) -> None:
    """See that the template was kept whole, and that the command which was told publishes it."""
    kept = [path.name for path in (templates.folder / "records").iterdir() if "tar" in path.name]
    assert sorted(kept) == ["debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]
    (line,) = set(re.findall(r"lxcast publish \S+ --storage \S+", printed))
    told = templates.lxcast(line, env)
    assert told.stdout == "local:vztmpl/debian-12-v1.tar.zst\n", told.stderr
