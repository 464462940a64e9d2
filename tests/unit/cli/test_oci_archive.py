"""A template as an OCI archive: what Proxmox VE 9.1 recognises, and what lxcast's other commands make of it."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lxcast.tar.member import Member, regular
from lxcast.testing import Cluster
from tests.image_files import Layout, tarred
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian, program, replaced, without

APP = {
    "Entrypoint": ["/usr/bin/dash", "-c"],
    "Cmd": ["echo a  b"],
    "Env": ["PATH=/usr/bin", "GREETING=gr\u00fc\u00df dich"],
    "User": "33:33",
    "WorkingDir": "/srv",
    "StopSignal": "SIGQUIT",
    "Volumes": {"/data": {}},
    "Labels": {"b": "1", "a": "2"},
}


def image(folder: Path, members: list[Member], config: dict[str, Any]) -> Path:
    made = Layout(folder)
    made.add(made.manifest([archive(members)], "gzip", config=config))
    return folder


def build(source: Path, output: Path, *more: str, name: str = "app") -> Path:
    done = lxcast("build", source, "--name", name, "--output", output, "--format", "oci-archive", *more)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An image of a program, without an init."""
    return image(tmp_path / "app-image", without(minimal_debian(), b"usr/sbin/init"), APP)


def inside(template: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return manifest, config and the compressed layer, each as its digest says."""
    with tarfile.open(template, "r:") as tar:

        def blob(descriptor: dict[str, Any]) -> bytes:
            algorithm, _, digest = descriptor["digest"].partition(":")
            content = read(tar, f"blobs/{algorithm}/{digest}")
            assert (len(content), hashlib.sha256(content).hexdigest()) == (descriptor["size"], digest)
            return content

        assert json.loads(read(tar, "oci-layout")) == {"imageLayoutVersion": "1.0.0"}
        (only,) = json.loads(read(tar, "index.json"))["manifests"]
        assert only["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        manifest = json.loads(blob(only))
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
        return manifest, json.loads(blob(manifest["config"])), blob(layer)


def read(tar: tarfile.TarFile, name: str) -> bytes:
    found = tar.extractfile(name)
    assert found is not None
    return found.read()


def test_gnu_tar_lists_just_the_names_that_proxmox_looks_for(app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    assert template.name == "app-v1.tar"
    names = subprocess.run(["tar", "-tf", template], capture_output=True, text=True, check=True).stdout.splitlines()
    assert names[:2] == ["blobs/", "blobs/sha256/"]
    assert names[-2:] == ["index.json", "oci-layout"]
    assert all(name.startswith("blobs/sha256/") for name in names[2:-2])
    assert len(names) == 7


def test_the_config_is_the_source_s_and_the_layer_is_the_root_filesystem(app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    record = json.loads((tmp_path / "out/app-v1.json").read_text())
    _, config, layer = inside(template)
    assert config["config"] == APP
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [record["diff_id"]]}
    assert (record["format"], record["size"]) == ("oci-archive", template.stat().st_size)
    assert record["sha256"] == hashlib.sha256(template.read_bytes()).hexdigest()
    plain = subprocess.run(["zstd", "-dcq"], input=layer, capture_output=True, check=True).stdout
    assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == record["diff_id"]


def test_it_holds_the_same_members_as_a_plain_template_and_is_a_source_again(app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    lxcast("build", app, "--name", "app", "--output", tmp_path / "plain", "--init", "app")
    done = lxcast("diff", template, tmp_path / "plain/app-v1.tar.zst")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    again = build(template, tmp_path / "again")
    assert again.read_bytes() == template.read_bytes()


def test_the_same_source_gives_the_same_bytes_and_another_config_other_ones(app: Path, tmp_path: Path) -> None:
    first, second = build(app, tmp_path / "a"), build(app, tmp_path / "b", "--threads", "1", name="other")
    assert first.read_bytes() == second.read_bytes()
    other = image(tmp_path / "other-image", without(minimal_debian(), b"usr/sbin/init"), {**APP, "Cmd": ["true"]})
    said = ("--format", "oci-archive", "--name", "app", "--if-changed", "--no-reuse", "--storage", tmp_path / "storage")
    for source, volid in ((app, "v1"), (app, "v1"), (other, "v2"), (other, "v2")):
        assert lxcast("build", source, *said).stdout == f"local:vztmpl/app-{volid}.tar\n"


@pytest.mark.parametrize(
    ("config", "more", "started", "signal"),
    [
        ({}, (), {"Entrypoint": ["/sbin/init"]}, "SIGRTMIN+3"),
        ({"Cmd": ["/sbin/init"], "StopSignal": "SIGPWR"}, (), {"Entrypoint": ["/sbin/init"]}, "SIGPWR"),
        ({"Cmd": ["bash"], "User": "www"}, ("--init", "none"), {"Entrypoint": ["/sbin/init"]}, "SIGRTMIN+3"),
        ({"Cmd": ["bash"], "User": "www"}, (), {"Cmd": ["bash"], "User": "www"}, None),
    ],
)
def test_an_init_is_started_where_no_other_process_is_named(
    config: dict[str, Any], more: tuple[str, ...], started: dict[str, Any], signal: str | None, tmp_path: Path
) -> None:
    passwd = regular(b"etc/passwd", b"root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv:/bin/sh\n")
    template = build(image(tmp_path / "image", replaced(minimal_debian(), passwd), config), tmp_path / "out", *more)
    _, written, _ = inside(template)
    assert written["config"] == started | ({"StopSignal": signal} if signal else {})


def test_that_the_image_s_process_takes_the_place_of_its_init_is_said(tmp_path: Path) -> None:
    source = image(tmp_path / "image", minimal_debian(), {"Cmd": ["bash"]})
    said = ("build", source, "--name", "x", "--output", tmp_path, "--format", "oci-archive")
    assert "Proxmox will start the image's command bash" in lxcast(*said).stderr


def test_a_written_init_is_what_proxmox_starts(tmp_path: Path) -> None:
    members = [*without(minimal_debian(), b"usr/sbin/init"), program(b"usr/bin/env")]
    source = image(tmp_path / "image", members, {key: APP[key] for key in APP if key not in ("User", "WorkingDir")})
    _, config, _ = inside(build(source, tmp_path / "out", "--init", "auto"))
    assert config["config"] == {"Entrypoint": ["/sbin/init"], "Volumes": {"/data": {}}, "Labels": {"a": "2", "b": "1"}}


def test_a_config_at_which_the_create_would_fail_is_refused(tmp_path: Path) -> None:
    source = image(tmp_path / "image", minimal_debian(), {"Cmd": ["a\nb"], "Env": ["TEXT=secret\nline"]})
    done = lxcast("build", source, "--name", "x", "--output", tmp_path / "out", "--format", "oci-archive")
    assert done.returncode == 3
    assert "Env 'TEXT', Entrypoint or Cmd 'a\\nb'" in done.stderr
    assert "secret" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_check_reads_the_image_and_says_what_it_needs(app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    done = lxcast("check", template)
    assert done.returncode == 0, done.stdout
    assert "debian amd64" in done.stdout
    assert "Proxmox VE 9.1 and later unpack it" in done.stdout
    foreign = tarred(
        image(tmp_path / "foreign", without(minimal_debian(), b"usr/bin/dash", b"etc/shadow"), {}), tmp_path / "x.tar"
    )
    done = lxcast("check", foreign)
    assert "image-archive" in done.stdout
    assert "bin/sh" in done.stdout


def test_check_tells_what_proxmox_does_not_read_of_an_image(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    made.add(made.manifest([archive(minimal_debian())], "gzip", docker, config={"Cmd": ["true"]}))
    done = lxcast("check", tarred(made.folder, tmp_path / "x.tar"))
    assert done.returncode == 5
    assert f"layer 1 is of the kind '{docker}', which Proxmox does not read" in done.stdout


def test_a_compressed_one_is_no_image_to_proxmox(app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    subprocess.run(["zstd", "-q", template], check=True)
    done = lxcast("check", f"{template}.zst")
    assert done.returncode == 5
    assert "is an OCI image layout: Proxmox would unpack its blobs" in done.stdout


def test_a_listing_tells_the_format(app: Path, tmp_path: Path) -> None:
    said = ("--name", "app", "--storage", tmp_path / "storage")
    lxcast("build", app, *said, "--format", "oci-archive")
    header, row = lxcast("list", "--storage", tmp_path / "storage").stdout.splitlines()
    assert (header.split()[2], row.split()[2]) == ("FORMAT", "oci-archive")


def test_it_is_published_to_a_new_proxmox_and_refused_by_an_older_one(
    server: Cluster, app: Path, tmp_path: Path
) -> None:
    said = ("build", app, "--name", "app", "--storage", "proxmox:pve/local", "--format", "oci-archive")
    server.release = "9.0.11"
    done = lxcast(*said, cwd=tmp_path, environ=access(server, tmp_path))
    assert done.returncode == 9
    assert "runs Proxmox VE 9.0.11; an OCI archive, or any plain .tar, needs 9.1 or newer" in done.stderr
    assert held(server, "app-v1.tar") is None
    server.release = "9.1.2"
    done = lxcast(*said, cwd=tmp_path, environ=access(server, tmp_path))
    assert done.stdout == "local:vztmpl/app-v1.tar\n", done.stderr
    assert held(server, "app-v1.tar")


def test_one_without_a_record_is_published_as_the_image_that_it_is(server: Cluster, app: Path, tmp_path: Path) -> None:
    template = build(app, tmp_path / "out")
    (tmp_path / "out/app-v1.json").unlink()
    said = ("publish", template, "--storage", "proxmox:pve/local", "--records", tmp_path / "records")
    done = lxcast(*said, environ=access(server, tmp_path))
    assert done.stdout == "local:vztmpl/app-v1.tar\n", done.stderr
    record = json.loads((tmp_path / "records/app-v1.json").read_text())
    assert (record["format"], record["ostype"]) == ("oci-archive", "debian")
    assert record["members"] > 40


def test_a_second_reading_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    source = tmp_path / "twice.tar"
    source.write_bytes(archive([*minimal_debian(), regular(b"srv/x", b"old"), regular(b"srv/x", b"new" * 9999)]))
    inside(build(source, tmp_path / "out"))
