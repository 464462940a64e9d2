"""The bytes around the layer of an OCI archive, read by Python's tarfile."""

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import SourceError
from lxcast.model import ImageConfig
from lxcast.oci.archive import FRONT, Blob, front, image_config, rest

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
CONFIGS = st.builds(
    ImageConfig,
    cmd=st.lists(TEXTS, max_size=3).map(tuple),
    entrypoint=st.lists(TEXTS, max_size=3).map(tuple),
    env=st.lists(TEXTS, max_size=3).map(tuple),
    user=TEXTS | st.just(""),
    working_dir=TEXTS | st.just(""),
    stop_signal=TEXTS | st.just(""),
    volumes=st.lists(TEXTS, max_size=3, unique=True).map(lambda names: tuple(sorted(names))),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


def opened(layer: bytes, config: bytes) -> dict[str, bytes]:
    blob = Blob(hashlib.sha256(layer).hexdigest(), len(layer))
    assert len(front(blob)) == FRONT
    with tarfile.open(fileobj=io.BytesIO(front(blob) + layer + rest(blob, config)), mode="r:") as tar:
        return {each.name: (tar.extractfile(each) or io.BytesIO()).read() for each in tar if each.isreg()}


@given(st.binary(max_size=3000), CONFIGS)
def test_each_file_is_where_the_one_before_says_and_the_config_is_what_was_said(
    layer: bytes, said: ImageConfig
) -> None:
    files = opened(layer, image_config(said, "amd64", "sha256:" + "0" * 64, init=False))

    def blob(descriptor: dict[str, Any]) -> bytes:
        content = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert len(content) == descriptor["size"]
        return content

    (descriptor,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(descriptor))
    assert [blob(each) for each in manifest["layers"]] == [layer]
    config = json.loads(blob(manifest["config"]))
    assert ImageConfig.parse(config["config"]) == said
    assert config["rootfs"]["diff_ids"] == ["sha256:" + "0" * 64]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("amd64", {"architecture": "amd64"}),
        ("arm64", {"architecture": "arm64", "variant": "v8"}),
        ("armhf", {"architecture": "arm", "variant": "v7"}),
        ("i386", {"architecture": "386"}),
        ("riscv64", {"architecture": "riscv64"}),
        ("", {"architecture": "amd64"}),
    ],
)
def test_architectures_have_the_names_of_go(ours: str, theirs: dict[str, str]) -> None:
    config = json.loads(image_config(ImageConfig(), ours, "", init=True))
    assert {key: config[key] for key in config if key in ("architecture", "variant")} == theirs


def test_a_layer_above_8_gib_has_its_size_in_one_header() -> None:
    large = Blob("a" * 64, 9 << 30)
    header = tarfile.TarInfo.frombuf(front(large)[-512:], "utf-8", "strict")
    assert (header.name, header.size) == (f"blobs/sha256/{'a' * 64}", 9 << 30)


@pytest.mark.parametrize("text", ["a\nb", "\t", "\x7f", "a\x00"])
def test_control_characters_are_refused_wherever_proxmox_would_write_them(text: str) -> None:
    for said in (
        *(ImageConfig(cmd=(text,)), ImageConfig(entrypoint=(text,)), ImageConfig(env=(f"A={text}",))),
        *(ImageConfig(user=text), ImageConfig(working_dir=text), ImageConfig(stop_signal=text)),
        ImageConfig(volumes=(text,)),
    ):
        with pytest.raises(SourceError, match="control characters"):
            image_config(said, "amd64", "", init=False)
    image_config(ImageConfig(labels={"note": text}), "amd64", "", init=False)
