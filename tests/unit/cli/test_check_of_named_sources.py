"""`check` and `diff` of what a prefix names: one of several images, a file on a server, a pipe."""

import hashlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from tests.https_server import FileServer, file_server
from tests.image_files import Layout, docker_archive, tarred
from tests.unit.cli.running import COMMAND, archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian, without

ROOTFS = archive(minimal_debian())
OTHER = archive([*minimal_debian(), regular(b"srv/x", b"y")])


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """An OCI archive with a whole image, and one without a shell, whose name a shell would part."""
    made = Layout(tmp_path / "several")
    made.add(made.manifest([ROOTFS]), "docker.io/library/debian:12")
    made.add(made.manifest([archive(without(minimal_debian(), b"usr/bin/dash"))]), "no shell")
    return tarred(made.folder, tmp_path / "several.tar")


def test_what_the_error_says_to_type_is_taken(several: Path) -> None:
    done = lxcast("check", several)
    assert (done.returncode, done.stdout) == (3, "")
    assert "contains several images" in done.stderr
    (line,) = (each for each in done.stderr.splitlines() if each.startswith("hint: choose one: "))
    whole, lacking = (shlex.split(each)[0] for each in line.removeprefix("hint: choose one: ").split(", "))
    assert "bin/sh" not in lxcast("check", whole).stdout
    assert "bin/sh" in lxcast("check", lacking).stdout
    told = json.loads(lxcast("check", lacking, "--json").stdout)
    assert told["file"] == f"oci-archive:{several}:no shell"
    messages = [each["message"] for each in told["findings"]]
    assert "holds 2 images, and Proxmox takes the first one" in messages, "the archive is judged, too"
    assert lxcast("diff", whole, lacking).stdout == "- /usr/bin/dash\n"


def test_what_proxmox_would_take_must_be_whole(several: Path, tmp_path: Path) -> None:
    made = tmp_path / "several"
    index = json.loads((made / "index.json").read_text())
    for first in ({"digest": 3}, {"digest": "sha256:" + "0" * 64}):
        broken = {**index, "manifests": [{**index["manifests"][0], "annotations": {}, **first}, *index["manifests"]]}
        (made / "index.json").write_text(json.dumps(broken))
        done = lxcast("check", f"oci-archive:{tarred(made, several)}:no shell")
        assert done.returncode == 4, done.stdout
        assert "bug in lxcast" not in done.stderr


def test_an_archive_of_docker_save_is_refused_under_any_name(tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "x.tar", [ROOTFS], ["a:1", "a:2"])
    done = lxcast("check", f"docker-archive:{saved}:a:2")
    assert done.returncode == 5
    assert "is an image archive of `docker save`" in done.stdout


def test_a_pipe_is_judged_as_it_stands(several: Path) -> None:
    line = [*COMMAND, "check", "-"]
    done = subprocess.run(line, input=ROOTFS, capture_output=True, env=environment({}))
    assert (done.returncode, done.stdout.split()[:3]) == (0, [b"-:", b"debian", b"amd64,"])
    done = subprocess.run(line, input=several.read_bytes(), capture_output=True, env=environment({}))
    assert done.returncode == 3
    assert b"save it to a file" in done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with file_server(tmp_path / "server") as running:
        yield running


def asked(server: FileServer, tmp_path: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environ = {"SSL_CERT_FILE": str(server.ca), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return lxcast(*words, environ=environ, cwd=tmp_path)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_on_a_server_is_judged_as_the_same_file_here(server: FileServer, several: Path, tmp_path: Path) -> None:
    one = tarred(Path(tmp_path / "several"), tmp_path / "one.tar.gz", "w:gz")
    for data in (ROOTFS, ROOTFS[: len(ROOTFS) // 2], one.read_bytes(), OTHER):
        (tmp_path / "Template.tar").write_bytes(data)
        server.files["/a/Template.tar"] = data
        here = lxcast("check", "Template.tar", cwd=tmp_path)
        url = f"{server.url}/a/Template.tar?sig=hunter2"
        there = asked(server, tmp_path, "check", url, "--sha256", f"sha256:{sha256(data)}")
        assert there.returncode == here.returncode, there.stderr
        assert there.stdout.partition(": ")[2].split("\n")[1:] == here.stdout.partition(": ")[2].split("\n")[1:]
        assert "hunter2" not in there.stdout + there.stderr


def test_an_image_on_a_server_is_judged_inside(server: FileServer, several: Path, tmp_path: Path) -> None:
    made = Layout(tmp_path / "one")
    made.add(made.manifest([archive(without(minimal_debian(), b"usr/bin/dash"))]))
    server.files["/one.tar"] = tarred(made.folder, tmp_path / "one.tar").read_bytes()
    done = asked(server, tmp_path, "check", f"{server.url}/one.tar", "--insecure-no-checksum")
    assert "Proxmox VE 9.1 and later unpack it" in done.stdout
    assert "bin/sh" in done.stdout
    server.files["/several.tar"] = several.read_bytes()
    done = asked(server, tmp_path, "check", f"{server.url}/several.tar", "--sha256", sha256(several.read_bytes()))
    assert done.returncode == 3
    name = shlex.split(done.stderr.partition("choose one: ")[2])[0].rstrip(",")
    assert lxcast("check", name).returncode == 5, "it is kept, and the message names where"


def test_two_files_on_a_server_are_compared_each_by_its_checksum(server: FileServer, tmp_path: Path) -> None:
    server.files |= {"/a": ROOTFS, "/b": OTHER}
    a, b = f"{server.url}/a?sig=hunter2", f"{server.url}/b"
    sums = ("--sha256", sha256(ROOTFS), "--sha256", sha256(OTHER).upper())
    done = asked(server, tmp_path, "diff", a, b, *sums, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert {each["path"] for each in told["differences"]} >= {"/srv/x"}
    assert "hunter2" not in done.stdout + done.stderr
    assert asked(server, tmp_path, "diff", b, a, *sums).returncode == 4, "in their order"
    (tmp_path / "b.tar").write_bytes(OTHER)
    assert asked(server, tmp_path, "diff", "b.tar", b, "--sha256", sha256(OTHER)).returncode == 0
    assert asked(server, tmp_path, "diff", b, "b.tar", "--insecure-no-checksum").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "URL/a"), "a checksum is required"),
        (("check", "x.tar", "--sha256", "ab" * 32), "given 1 times for 0 https sources"),
        (("check", "URL/a", "--sha256", "ab"), "expected 64 hexadecimal digits"),
        (("check", "URL/a", "--sha256", "ab" * 32, "--insecure-no-checksum"), "exclude each other"),
        (("check", "x.tar", "--insecure-no-checksum"), "no source is an https URL"),
        (("diff", "URL/a", "URL/a", "--sha256", "ab" * 32), "given 1 times for 2 https sources"),
        (("diff", "URL/a", "x.tar"), "a checksum is required"),
    ],
)
def test_checksums_that_fit_no_source_are_told(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = lxcast(*(each.replace("URL", "https://localhost:9") for each in words), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
