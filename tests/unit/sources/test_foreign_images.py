"""Images as writers other than Docker write them, and what Docker itself writes unusually: all are read."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lxcast.errors import ArchiveError, SourceError
from lxcast.sources import open_source
from tests.image_files import Layout, config, digest, docker_archive, layer, layout, tarred
from tests.unit.sources.test_image_source import listing, read

BASE = layer([("etc", "dir", 0o755), ("etc/a", "file", b"1")])
TOP = layer([("opt", "dir", 0o755), ("opt/x", "file", b"x")])
BOTH = {"etc": "dir 755", "etc/a": "1", "opt": "dir 755", "opt/x": "x"}


def hex_of(data: bytes) -> str:
    return digest(data).removeprefix("sha256:")


def saved(path: Path, files: Mapping[str, bytes], config_name: str, layers: list[str], **more: Any) -> Path:
    manifest = [{"Config": config_name, "RepoTags": ["example.com/image:1"], "Layers": layers, **more}]
    with tarfile.open(path, "w") as tar:
        for name, data in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def written_by(writer: str, path: Path) -> Path:
    """Write the same image as a tool does; names as in go-containerregistry's tarball.Write, Jib's ImageTarball, and
    Bazel's rules_docker (join_layers) and rules_oci (oci_load)."""
    made, zipped = config([BASE, TOP]), [gzip.compress(each, 1, mtime=0) for each in (BASE, TOP)]
    names = [f"{hex_of(each)}.tar.gz" for each in zipped]
    match writer:
        case "crane":
            files = {f"sha256:{hex_of(made)}": made, **dict(zip(names, zipped, strict=True))}
            return saved(path, files, f"sha256:{hex_of(made)}", names)
        case "jib":
            return saved(path, {**dict(zip(names, zipped, strict=True)), "config.json": made}, "config.json", names)
        case "rules_docker":
            names = [f"{'ab' * 32}/layer.tar", f"{'cd' * 32}/layer.tar"]
            files = {f"./{hex_of(made)}.json": made, f"./{names[0]}": BASE, f"./{names[1]}": TOP}
            return saved(path, files, f"{hex_of(made)}.json", names)
        case "rules_oci":
            names = [f"blobs/sha256/{each}" for each in names]
            config_name = f"blobs/sha256/{hex_of(made)}"
            return saved(path, {config_name: made, **dict(zip(names, zipped, strict=True))}, config_name, names)
        case "buildah":
            names = [f"{hex_of(each)}.tar" for each in (BASE, TOP)]
            files = {names[0]: BASE, names[1]: TOP, f"{hex_of(made)}.json": made}
            return saved(path, files, f"{hex_of(made)}.json", names)
    raise AssertionError(writer)


WRITERS = ["crane", "jib", "rules_docker", "rules_oci", "buildah"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_saved_image_of_any_writer_is_detected_and_read(writer: str, tmp_path: Path) -> None:
    path = written_by(writer, tmp_path / "x.tar")
    for source in (str(path), f"docker-archive:{path}", f"docker-archive:{path}:example.com/image:1"):
        assert open_source(source).origin.digest == digest(config([BASE, TOP]))
        assert listing(read(source)) == BOTH
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert listing(read(tmp_path / "x.tar.gz")) == BOTH


def test_a_config_that_is_not_what_its_name_promises_is_damaged(tmp_path: Path) -> None:
    made = config([BASE])
    path = saved(tmp_path / "x.tar", {f"sha256:{'0' * 64}": made, "a.tar": BASE}, f"sha256:{'0' * 64}", ["a.tar"])
    with pytest.raises(ArchiveError, match="is damaged"):
        read(path)


def test_a_null_index_gives_way_to_manifest_json(tmp_path: Path) -> None:
    made = layout(tmp_path / "image", [[("etc", "dir", 0o755)]])
    manifest = json.loads(made.path(made.manifests[0]["digest"]).read_bytes())
    names = [f"blobs/{each['digest'].replace(':', '/')}" for each in (manifest["config"], *manifest["layers"])]
    for index in ('{"schemaVersion": 2, "manifests": null}', '{"schemaVersion": 2}', '{"manifests": []}'):
        (made.folder / "index.json").write_text(index)
        (made.folder / "manifest.json").write_text(json.dumps([{"Config": names[0], "Layers": names[1:]}]))
        assert listing(read(made.folder)) == {"etc": "dir 755"}
        assert listing(read(tarred(made.folder, tmp_path / "x.tar"))) == {"etc": "dir 755"}
        (made.folder / "manifest.json").unlink()
        with pytest.raises(SourceError, match="contains no image"):
            read(made.folder)


@pytest.mark.parametrize("tail", [b"", bytes(512), bytes(1024)])
@pytest.mark.parametrize("cut", [0, 511])
def test_layers_without_an_end_are_read(tail: bytes, cut: int, tmp_path: Path) -> None:
    open_end = TOP[: len(TOP.rstrip(b"\0")) + 511 & -512]
    data = open_end[: len(open_end) - cut] if not tail else open_end + tail
    assert listing(read(docker_archive(tmp_path / "x.tar", [BASE, data]))) == BOTH
    made = Layout(tmp_path / "image")
    made.add(made.manifest([BASE, data], "gzip"))
    assert listing(read(made.folder)) == BOTH


@pytest.mark.parametrize("kind", ["", "gzip", "zstd"])
def test_layers_of_no_bytes_are_read(kind: str, tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([BASE, b"", TOP, bytes(1024)], kind))
    assert listing(read(made.folder)) == BOTH
    assert listing(read(docker_archive(tmp_path / "x.tar", [BASE, b"", TOP]))) == BOTH


def test_an_empty_layer_that_should_have_content_is_damaged(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([BASE, b""], config_data=config([BASE, TOP])))
    with pytest.raises(ArchiveError, match="layer 2, uncompressed, is damaged"):
        read(made.folder)


def test_a_layer_that_ends_within_a_file_is_an_error(tmp_path: Path) -> None:
    data = layer([("opt/x", "file", b"x" * 2000)])[:1500]
    with pytest.raises(ArchiveError, match=r"layer 2.*is truncated"):
        read(docker_archive(tmp_path / "x.tar", [BASE, data]))


def test_absolute_names_and_a_root_entry_in_layers_are_relative_to_the_root(tmp_path: Path) -> None:
    top = layer([("/", "dir", 0o700), ("/opt", "dir", 0o755), ("/opt/x", "file", b"x"), ("/opt/y", "link", "/opt/x")])
    with open_source(str(docker_archive(tmp_path / "x.tar", [BASE, top]))).members() as members:
        found = [member.held() for member in members]
    assert [(member.type, member.mode) for member in found if not member.path] == [(b"5", 0o700)]
    assert listing(member for member in found if member.path) == {**BOTH, "opt/y": "x"}


def test_hard_links_of_aufs_get_the_data_and_its_directory_is_dropped(tmp_path: Path) -> None:
    top = layer(
        [
            (".wh..wh.plnk", "dir", 0o700),
            (".wh..wh.plnk/12.34", "file", b"data"),
            (".wh..wh.plnk/12.35", "file", b"unused"),
            ("opt/one", "link", ".wh..wh.plnk/12.34"),
            ("opt/two", "link", ".wh..wh.plnk/12.34"),
            ("opt/real", "file", b"real"),
            (".wh..wh.plnk/12.36", "link", "opt/real"),
            ("opt/three", "link", ".wh..wh.plnk/12.36"),
            (".wh..wh.aufs", "file", b""),
        ]
    )
    expected = {"opt": "dir 755", "opt/one": "data", "opt/two": "data", "opt/real": "real", "opt/three": "real"}
    found = listing(read(docker_archive(tmp_path / "x.tar", [BASE, top])))
    assert found == {"etc": "dir 755", "etc/a": "1", **expected}


def attested(made: Layout, *, annotated: bool = False) -> dict[str, Any]:
    statement = made.blob(b'{"_type":"https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json")
    rootfs = {"type": "layers", "diff_ids": [statement["digest"]]}
    data = json.dumps({"architecture": "unknown", "os": "unknown", "rootfs": rootfs}).encode()
    manifest = {"config": made.blob(data, "application/vnd.oci.image.config.v1+json"), "layers": [statement]}
    described = made.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    described["platform"] = {"architecture": "unknown", "os": "unknown"}
    reference = {"vnd.docker.reference.type": "attestation-manifest"}
    return {**described, "annotations": reference} if annotated else described


def signed(made: Layout) -> dict[str, Any]:
    signature = made.blob(b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")
    described = made.blob(config([b"{}"], architecture=""), "application/vnd.oci.image.config.v1+json")
    manifest = {"config": described, "layers": [signature]}
    return made.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")


@pytest.mark.parametrize("annotated", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_attestations_and_signatures_are_not_platforms(annotated: bool, nested: bool, tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    image = {**made.manifest([BASE], architecture="s390x"), "platform": {"os": "linux", "architecture": "s390x"}}
    others = [attested(made, annotated=annotated), signed(made)]
    if nested:
        index = {"schemaVersion": 2, "manifests": [others[0], image]}
        made.add(made.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json"), "one")
        made.add(others[1], "sha256-00.sig")
    else:
        for each, name in ((others[0], ""), (image, "one"), (others[1], "sha256-00.sig")):
            made.add(each, name)
    assert listing(read(made.folder)) == {"etc": "dir 755", "etc/a": "1"}
    with pytest.raises(SourceError, match=r"not a container image|media type"):
        read(f"oci:{made.folder}:sha256-00.sig")


def partial(tmp_path: Path, *held: str) -> Layout:
    """Write an index of three platforms, with the files of some only."""
    made = Layout(tmp_path / "image")
    several = []
    for architecture in ("amd64", "arm64", "s390x"):
        one = made.manifest([layer([(architecture, "file", b"")])], architecture=architecture)
        several.append({**one, "platform": {"os": "linux", "architecture": architecture}})
        if architecture not in held:
            manifest = json.loads(made.path(one["digest"]).read_bytes())
            for each in (one, manifest["config"], *manifest["layers"]):
                made.path(each["digest"]).unlink(missing_ok=True)
    made.add(made.blob(json.dumps({"manifests": several}).encode(), "application/vnd.oci.image.index.v1+json"))
    return made


def test_a_partial_archive_gives_the_platform_that_it_contains(tmp_path: Path) -> None:
    made = partial(tmp_path, "s390x")
    source = open_source(str(made.folder))
    assert source.warnings == [f"{made.folder}: contains only s390x; its index also lists linux/amd64, linux/arm64"]
    assert listing(read(made.folder)) == {"s390x": ""}
    assert listing(read(made.folder, "linux/s390x")) == {"s390x": ""}
    with pytest.raises(SourceError, match="contains no image for linux/arm64, only for linux/s390x"):
        read(made.folder, "linux/arm64")


def test_a_partial_archive_of_several_platforms_asks_which(tmp_path: Path) -> None:
    made = partial(tmp_path, "s390x", "arm64" if not Path("/lib/ld-linux-aarch64.so.1").exists() else "amd64")
    with pytest.raises(SourceError, match=r"contains no image for .*, only for .*, linux/s390x") as caught:
        read(made.folder)
    assert "--platform" in caught.value.hint


def test_two_images_behind_one_descriptor_are_an_error_that_lists_them(tmp_path: Path) -> None:
    made = layout(tmp_path / "image", [[("etc", "dir", 0o755)]])
    manifest = json.loads(made.path(made.manifests[0]["digest"]).read_bytes())
    other = made.blob(config([TOP]), "")
    top = made.blob(TOP, "")
    images = []
    for described, layers in ((manifest["config"], manifest["layers"]), (other, [top])):
        names = [f"blobs/{each['digest'].replace(':', '/')}" for each in (described, *layers)]
        images.append({"Config": names[0], "RepoTags": None, "Layers": names[1:]})
    (made.folder / "manifest.json").write_text(json.dumps(images))
    path = tarred(made.folder, tmp_path / "x.tar")
    with pytest.raises(SourceError, match="contains several images") as caught:
        read(path)
    ids = [manifest["config"]["digest"], other["digest"]]
    assert caught.value.hint == f"choose one: {', '.join(f'docker-archive:{path}:{each}' for each in ids)}"
    assert listing(read(f"docker-archive:{path}:{ids[1]}")) == {"opt": "dir 755", "opt/x": "x"}


def test_a_backup_of_an_instance_is_named_for_what_it_is(tmp_path: Path) -> None:
    index = [("backup/index.yaml", "file", b"name: c1\n"), ("backup/container/rootfs/etc", "dir", 0o755)]
    for number, lines in enumerate((index, [("backup", "dir", 0o755), *index])):
        for pack in (bytes, gzip.compress):
            path = tmp_path / f"{number}.tar"
            path.write_bytes(pack(layer(lines)))
            with pytest.raises(SourceError, match="is a backup of an Incus or LXD instance, not an image") as caught:
                read(path)
            assert "incus publish" in caught.value.hint
    path.write_bytes(layer([("backup", "dir", 0o755), ("bin", "dir", 0o755)]))
    assert listing(read(path)) == {"backup": "dir 755", "bin": "dir 755"}
