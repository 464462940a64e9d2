"""Images whose documents hold anything: each is read, or refused in words."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import ArchiveError, LxcastError, SourceError
from lxcast.sources import open_source
from tests.image_files import Layout, config, digest, docker_archive, layer

LAYER = layer([("a", "file", b"1")])
INDEX = "application/vnd.oci.image.index.v1+json"

Place = tuple[str | int, ...]


def documents() -> dict[str, Any]:
    """Return config, manifest and index of an image, with every key that is read."""
    said: dict[str, Any] = {"Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": ["y"], "User": "1:2", "WorkingDir": "/"}
    said |= {"Labels": {"a": "b"}, "Volumes": {"/v": {}}, "StopSignal": "SIGTERM"}
    history = [{"created_by": "x", "empty_layer": False}]
    described = {"mediaType": "", "digest": digest(LAYER), "size": len(LAYER)}
    platform = {"os": "linux", "architecture": "amd64", "variant": "v1"}
    named = {"org.opencontainers.image.ref.name": "v1"}
    manifest = {"mediaType": "", "digest": "", "size": 0, "platform": platform, "annotations": named}
    other = {**manifest, "digest": f"sha256:{0:064}", "platform": {**platform, "architecture": "s390x"}}
    return {
        "config": json.loads(config([LAYER], config=said, history=history, created="2026")),
        "manifest": {"schemaVersion": 2, "config": {"digest": "", "size": 0}, "layers": [described]},
        "index": {"schemaVersion": 2, "manifests": [manifest, other]},
        "docker": [{"Config": "", "RepoTags": ["a:1"], "Layers": [""]}],
    }


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the keys that lead to each value in a document."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*at, key))


def changed(document: Any, at: Place, new: Any) -> Any:
    if not at:
        return new
    document = copy.deepcopy(document)
    place = document
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = new
    return document


WRONG = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=3)
WRONG |= st.sampled_from(["x" * 100_000, "\ud800", "../../x", "/etc/passwd", "a\0b", [], {}, [3], {"a": 3}, ["a", {}]])
CHANGES = st.sampled_from([(name, at) for name, document in documents().items() for at in places(document)])


def written(folder: Path, name: str, at: Place, new: Any) -> None:
    """Write a layout, or with "docker" the folder of an archive of docker save, with one value changed."""
    made = documents()
    layout = Layout(folder)
    layout.blob(LAYER, "")

    def put(document: str, **said: Any) -> dict[str, Any]:
        made[document] |= said
        content = changed(made[document], at, new) if name == document else made[document]
        return {
            key: value for key, value in layout.blob(json.dumps(content).encode(), "").items() if key != "mediaType"
        }

    described = put("config")
    if name == "docker":
        path = f"blobs/sha256/{described['digest'][7:]}"
        images = [{"Config": path, "RepoTags": ["a:1"], "Layers": [f"blobs/sha256/{digest(LAYER)[7:]}"]}]
        (folder / "manifest.json").write_text(json.dumps(changed(images, at, new)))
        (folder / "oci-layout").unlink()
        return
    first = put("manifest", config=described)
    index = made["index"]
    index["manifests"][0] |= first
    (folder / "index.json").write_text(json.dumps(changed(index, at, new) if name == "index" else index))


def paths(source: str | Path, platform: str = "") -> list[bytes]:
    with open_source(str(source), platform).members() as members:
        return [member.path for member in members if member.path]


@given(CHANGES, WRONG, st.sampled_from(["", "v1", "a:1"]), st.sampled_from(["", "linux/amd64"]))
def test_whatever_a_document_holds_it_is_read_or_refused_in_words(
    change: tuple[str, Place], new: Any, ref: str, platform: str
) -> None:
    name, at = change
    with TemporaryDirectory() as folder:
        written(Path(folder, "x"), name, at, new)
        prefix = "docker-archive" if name == "docker" else "oci"
        said: list[str] = []
        try:
            paths(f"{prefix}:{folder}/x{ref and ':' + ref}", platform)
        except LxcastError as error:
            said = [error.message, error.hint]
    assert all(len(each) < 1000 for each in said)


def test_the_documents_are_right_where_nothing_is_changed(tmp_path: Path) -> None:
    for name in ("index", "docker"):
        written(tmp_path / name, name, ("none",) if name == "index" else (0, "none"), 1)
        assert paths(tmp_path / name) == [b"a"]


def test_indexes_that_name_one_another_many_times_are_opened_once_each(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    inner = made.manifest([LAYER])
    for _ in range(12):
        inner = made.blob(json.dumps({"schemaVersion": 2, "manifests": [inner] * 100}).encode(), INDEX)
    made.add(inner)
    assert paths(made.folder) == [b"a"]


def test_two_images_of_one_name_and_platform_are_told_apart_by_their_digests(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    for name in ("one", "two"):
        made.add(made.manifest([layer([(name, "file", b"")])]))
    with pytest.raises(SourceError, match="several images of one name and platform") as caught:
        open_source(str(made.folder))
    choices = caught.value.hint.removeprefix("choose one: ").split(", ")
    assert [paths(each) for each in choices] == [[b"one"], [b"two"]]


def test_a_layer_of_a_layout_is_the_blob_of_its_digest(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    described = {**made.blob(LAYER, "application/vnd.oci.image.layer.v1.tar"), "path": "other"}
    (made.folder / "other").write_bytes(layer([("b", "file", b"1")]))
    manifest = {"config": made.blob(config([LAYER]), ""), "layers": [described]}
    made.add(made.blob(json.dumps(manifest).encode(), ""))
    assert paths(made.folder) == [b"a"]
    del described["digest"]
    made.add(made.blob(json.dumps(manifest).encode(), ""), "v2")
    with pytest.raises(ArchiveError, match="None is not a valid"):
        open_source(f"oci:{made.folder}:v2")


def test_names_that_nobody_can_type_are_replaced_by_digests(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    for name in ("x" * 300, "a\x1b[2Jb"):
        made.add(made.manifest([layer([("a", "file", name.encode())])]), name)
    with pytest.raises(SourceError, match="several images") as caught:
        open_source(str(made.folder))
    assert caught.value.hint.count(":sha256:") == 2
    saved = docker_archive(tmp_path / "saved.tar", [LAYER], ["a\nb"])
    with pytest.raises(SourceError, match="no image") as caught:
        open_source(f"docker-archive:{saved}:c")
    assert "\n" not in caught.value.hint
    assert ":sha256:" in caught.value.hint


@pytest.mark.parametrize(("said", "asked"), [("v1", ""), ("", "v1")])
def test_the_first_variant_of_amd64_is_amd64(tmp_path: Path, said: str, asked: str) -> None:
    made = Layout(tmp_path / "image")
    for architecture in ("amd64", "s390x"):
        platform = {"os": "linux", "architecture": architecture, "variant": said}
        one = made.manifest([layer([(architecture, "file", b"")])], architecture=architecture)
        made.manifests.append({**one, "platform": platform})
    made.add(made.manifests.pop())
    assert paths(made.folder, f"linux/amd64{asked and '/' + asked}") == [b"amd64"]
