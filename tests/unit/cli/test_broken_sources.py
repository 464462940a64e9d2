"""What is wrong with a source is told with the exit code of its kind, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image_files import Layout, config, docker_archive, layer, layout
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

USAGE, SOURCE, ARCHIVE, CHECK = 2, 3, 4, 5

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def image(folder: Path, media_type: str = "") -> Layout:
    made = Layout(folder)
    made.add(made.manifest([archive(minimal_debian()), layer([])], "gzip", media_type))
    return made


def blobs(made: Layout) -> list[Path]:
    """Return manifest, config and the two layers."""
    manifest = json.loads(made.path(made.manifests[0]["digest"]).read_bytes())
    named = (made.manifests[0], manifest["config"], *manifest["layers"])
    return [made.path(each["digest"]) for each in named]


def flipped(folder: Path) -> None:
    path = blobs(image(folder))[2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def with_other_size(folder: Path) -> None:
    path = blobs(image(folder))[2]
    path.write_bytes(path.read_bytes() + b"\0")


def without_layer(folder: Path) -> None:
    blobs(image(folder))[3].unlink()


def without_config(folder: Path) -> None:
    blobs(image(folder))[1].unlink()


def of_other_content(folder: Path) -> None:
    made = Layout(folder)
    made.add(made.manifest([archive(minimal_debian())], "gzip", config_data=config([layer([])])))


def for_other_platforms(folder: Path) -> None:
    made = Layout(folder)
    several = []
    for architecture in ("s390x", "ppc64le"):
        one = made.manifest([layer([("x", "file", architecture.encode())])], architecture=architecture)
        several.append({**one, "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "manifests": several}
    made.add(made.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json"))


def encrypted(folder: Path) -> None:
    image(folder, f"{GZIP}+encrypted")


def foreign(folder: Path) -> None:
    image(folder, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")


def of_no_known_layers(folder: Path) -> None:
    image(folder, "application/vnd.oci.image.layer.v1.erofs")


def with_several(folder: Path) -> None:
    made = layout(folder, [[]], name="one")
    made.add(made.manifest([layer([("x", "file", b"")])]), "two")


def empty_image(folder: Path) -> None:
    layout(folder, [[]])


def bundle(folder: Path, text: str | None) -> None:
    (folder / "rootfs").mkdir(parents=True)
    if text is not None:
        (folder / "config.json").write_text(text)


def config_of(**more: object) -> str:
    return json.dumps({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, **more})


BROKEN: dict[str, tuple[str, Callable[[Path], object], int, str]] = {
    "a corrupted blob": ("oci:x", flipped, ARCHIVE, "is damaged: its digest is sha256:"),
    "a blob of another size": ("x", with_other_size, ARCHIVE, "bytes, expected"),
    "a missing layer": ("oci:x", without_layer, ARCHIVE, "layer 2 is missing"),
    "a missing config": ("oci:x", without_config, ARCHIVE, "is missing"),
    "another diff id": ("x", of_other_content, ARCHIVE, "layer 1, uncompressed, is damaged"),
    "no platform": ("oci:x", for_other_platforms, SOURCE, "only for linux/ppc64le, linux/s390x"),
    "an encrypted layer": ("oci:x", encrypted, SOURCE, "is encrypted"),
    "a foreign layer": ("x", foreign, SOURCE, "is foreign"),
    "an unknown layer": ("x", of_no_known_layers, SOURCE, "has the unsupported media type"),
    "several images": ("oci:x", with_several, SOURCE, "contains several images"),
    "no image of that name": ("oci:x:v2", lambda folder: layout(folder, [[]], name="v1"), SOURCE, "no image 'v2'"),
    "no layout": ("oci:x", Path.mkdir, SOURCE, "not an OCI image layout"),
    "nothing": ("oci:x", lambda folder: None, SOURCE, "no such file or directory"),
    "a prefix without a name": ("rootfs:", lambda folder: None, USAGE, "write rootfs:NAME"),
    "a registry": ("docker://debian:12", lambda folder: None, USAGE, "skopeo copy docker://debian:12 oci:"),
    "no such bundle": ("bundle:x", lambda folder: None, SOURCE, "no such file or directory"),
    "no config.json": ("bundle:x", lambda folder: bundle(folder, None), SOURCE, "config.json is missing"),
    "config.json is no JSON": ("bundle:x", lambda folder: bundle(folder, "{"), SOURCE, "invalid JSON"),
    "config.json against the specification": (
        "x",
        lambda folder: bundle(folder, config_of(hostname=3, process={"cwd": "x"})),
        SOURCE,
        "hostname: expected a string, got 3; process.cwd: expected",
    ),
    "no root filesystem in the bundle": (
        "x",
        lambda folder: bundle(folder, config_of(root={"path": "gone"})),
        SOURCE,
        "gone: does not exist",
    ),
    "an empty bundle": ("x", lambda folder: bundle(folder, config_of()), SOURCE, "is empty"),
    "an empty folder": ("rootfs:x", Path.mkdir, CHECK, ""),
    "an empty image": ("oci:x", empty_image, CHECK, ""),
    "an empty archive": ("x", lambda folder: folder.write_bytes(archive([])), CHECK, ""),
    "an empty file": ("x", lambda folder: folder.write_bytes(b""), ARCHIVE, "is empty"),
    "a cut docker archive": (
        "docker-archive:x",
        lambda folder: folder.write_bytes(docker_archive(folder, [archive(minimal_debian())]).read_bytes()[:-9000]),
        ARCHIVE,
        "",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_source_has_its_exit_code_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    source, make, code, said = BROKEN[case]
    make(tmp_path / "x")
    before = sorted(tmp_path.rglob("*"))
    done = lxcast("build", source, "--name", "web", cwd=tmp_path, environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "lxcast: error:" in done.stderr
    assert "hint:" in done.stderr or code == CHECK
    assert done.stdout == ""
    made = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {path for path in before if path.is_file()}
