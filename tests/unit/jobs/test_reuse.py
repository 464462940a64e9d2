"""A source that was converted by the same rules is not converted again: what is found, and what is not."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from lxcast.jobs.build import Built, build
from lxcast.progress import Progress
from lxcast.settings import make_build_options
from lxcast.tar.member import regular
from tests.image_files import Layout, docker_archive, packed
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian, program, without

VOLID = "local:vztmpl/web-{}.tar.zst"


def image(folder: Path, *, extra: bytes = b"x") -> str:
    made = Layout(folder)
    made.add(made.manifest([archive([*minimal_debian(), regular(b"srv/x", extra)])], "gzip"), "v1")
    return f"oci:{folder}"


def cast(tmp_path: Path, source: str, **given: Any) -> Built:
    options: dict[str, Any] = {} if "output" in given else {"storage": str(tmp_path / "storage")}
    options |= {"name": "web", **given}
    return build(source, make_build_options(**options), Progress())


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "storage/template/cache").iterdir())


def test_the_same_image_again_is_the_template_that_is_there(tmp_path: Path) -> None:
    source = image(tmp_path / "image")
    first = cast(tmp_path, source)
    (layer,) = (path for path in (tmp_path / "image/blobs/sha256").iterdir() if path.stat().st_size > 1000)
    data = layer.read_bytes()
    layer.write_bytes(data[:-1] + b"?")  # a conversion would find it damaged
    before = files(tmp_path)
    again = cast(tmp_path, source)
    assert (first.reused, again.reused, again.unchanged) == (False, True, True)
    assert again.volid == first.volid == VOLID.format("v1")
    assert (again.record, again.path) == (first.record, first.path)
    assert files(tmp_path) == before
    assert first.record.rules.startswith("sha256:")


@pytest.mark.parametrize(
    "other",
    [
        {"reuse": False},
        {"disable": ("machine-id",)},
        {"remove": ("srv/x",)},
        {"format": "gz"},
        {"policy": "golden"},
        {"allow": {"init": "why not"}},
        {"name": "other"},
        {"variant": "y", "pattern": "{name}-{variant}-{version}"},
        {"version": "v9"},
        {"release_metadata": {"A": "b"}},
    ],
    ids=str,
)
def test_other_settings_make_another_template(tmp_path: Path, other: dict[str, Any]) -> None:
    source = image(tmp_path / "image")
    first = cast(tmp_path, source)
    second = cast(tmp_path, source, **other)
    assert not second.reused
    assert second.volid != first.volid
    third = cast(tmp_path, source, **other)
    assert third.reused == (other != {"reuse": False})
    assert (third.volid == second.volid) == third.reused


@pytest.mark.parametrize(
    "same", [{"threads": 1}, {"max_members": 999}, {"if_changed": True}, {"version": "v1"}], ids=str
)
def test_settings_that_change_no_content_find_it(tmp_path: Path, same: dict[str, Any]) -> None:
    source = image(tmp_path / "image")
    cast(tmp_path, source)
    assert cast(tmp_path, source, **same).reused


def test_an_added_file_and_the_epoch_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = image(tmp_path / "image")
    motd = tmp_path / "motd"
    motd.write_text("one")
    added = (f"{motd}:/etc/motd",)
    cast(tmp_path, source, add=added)
    assert cast(tmp_path, source, add=added).reused
    motd.write_text("two")
    assert not cast(tmp_path, source, add=added).reused
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert not cast(tmp_path, source, add=added).reused


def test_another_image_of_that_place_is_converted(tmp_path: Path) -> None:
    cast(tmp_path, image(tmp_path / "one"))
    assert not cast(tmp_path, image(tmp_path / "two", extra=b"y")).reused


def test_a_source_without_a_digest_is_always_converted(tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    for version in ("v1", "v2"):
        assert cast(tmp_path, str(tmp_path / "rootfs.tar")).volid == VOLID.format(version)


def test_a_dry_run_reads_the_source(tmp_path: Path) -> None:
    source = image(tmp_path / "image")
    cast(tmp_path, source)
    trial = cast(tmp_path, source, dry_run=True)
    assert not trial.reused
    assert trial.record.members > 0


@pytest.mark.parametrize("how", ["gone", "other size", "record gone", "record damaged", "record old"])
def test_what_does_not_stand_any_more_is_not_found(tmp_path: Path, how: str) -> None:
    source = image(tmp_path / "image")
    first = cast(tmp_path, source)
    assert first.path
    record = first.path.with_name("web-v1.json")
    if how == "gone":
        first.path.unlink()
    elif how == "other size":
        first.path.write_bytes(first.path.read_bytes() + b"x")
    elif how == "record gone":
        record.unlink()
    elif how == "record damaged":
        record.write_text(record.read_text()[:-100])
    else:
        data = json.loads(record.read_text())
        del data["rules"]
        record.write_text(json.dumps(data))
    assert cast(tmp_path, source).volid == VOLID.format("v2")


def test_docker_save_is_found_by_the_image_id_and_a_plain_folder_has_records_too(tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [archive(minimal_debian())])
    place = {"output": tmp_path / "out", "pattern": "{name}"}
    assert not cast(tmp_path, str(saved), **place).reused
    again = cast(tmp_path, str(saved), **place)
    assert again.reused
    assert again.path == tmp_path / "out/web.tar.zst"


def test_two_builds_at_once_both_succeed_and_the_next_finds_one(tmp_path: Path) -> None:
    source = image(tmp_path / "image")
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=cast, args=(tmp_path, source)) for _ in range(3)]
    for each in running:
        each.start()
    for each in running:
        each.join()
        assert each.exitcode == 0
    before = files(tmp_path)
    assert cast(tmp_path, source).reused
    assert files(tmp_path) == before


def bundle(folder: Path, annotations: dict[str, str], umoci: str = "") -> str:
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs.tar.gz"},
        "process": {"args": ["/x"], "cwd": "/"},
        "annotations": annotations,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "rootfs.tar.gz").write_bytes(packed(archive(minimal_debian()), "gzip"))
    if umoci:
        walk = [{"digest": umoci}]
        (folder / "umoci.json").write_text(json.dumps({"from_descriptor_path": {"descriptor_walk": walk}}))
    return f"bundle:{folder}"


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({"org.opencontainers.image.ref.name": "ubuntu:22.04"}, "ubuntu-22.04"),
        ({"org.opencontainers.image.title": "Ubuntu 22.04 (jammy)"}, "Ubuntu-22.04-jammy"),
        ({"org.opencontainers.image.ref.name": "ghcr.io/acme/app:v1@sha256:ab"}, "ghcr.io-acme-app-v1-sha256-ab"),
    ],
)
def test_a_bundle_finds_the_template_of_its_image(tmp_path: Path, annotations: dict[str, str], name: str) -> None:
    first = cast(tmp_path, bundle(tmp_path / "one", annotations), name=name)
    again = cast(tmp_path, bundle(tmp_path / "copy", annotations), name="container-17")
    assert again.reused
    assert again.volid == first.volid == f"local:vztmpl/{name}-v1.tar.zst"
    assert not cast(tmp_path, f"bundle:{tmp_path}/copy", name="container-17", reuse=False).reused
    assert not cast(tmp_path, f"bundle:{tmp_path}/copy", name="container-17", remove=("srv",)).reused


def test_a_bundle_whose_files_changed_is_converted_though_its_config_is_the_same(tmp_path: Path) -> None:
    source = bundle(tmp_path / "one", {})
    cast(tmp_path, source)
    assert cast(tmp_path, source).reused
    (tmp_path / "one/rootfs.tar.gz").write_bytes(packed(archive([*minimal_debian(), regular(b"srv/new", b"")]), "gzip"))
    assert cast(tmp_path, source).volid == VOLID.format("v2")


@pytest.mark.parametrize(
    "other", [{"format": "oci-archive"}, {"init": "app"}, {"format": "gz", "small": True}], ids=str
)
def test_a_bundle_is_compared_by_the_settings_that_it_was_converted_by(tmp_path: Path, other: dict[str, Any]) -> None:
    source = bundle(tmp_path / "one", {})
    first = cast(tmp_path, source, **other)
    again = cast(tmp_path, source, **other)
    assert again.reused
    assert again.volid == first.volid


def test_a_bundle_of_a_plain_program_is_compared_with_the_init_that_was_written(tmp_path: Path) -> None:
    source = bundle(tmp_path / "one", {})
    tree = [*without(minimal_debian(), b"usr/sbin/init"), program(b"usr/bin/env"), program(b"x")]
    (tmp_path / "one/rootfs.tar.gz").write_bytes(packed(archive(tree), "gzip"))
    first = cast(tmp_path, source)
    assert "written-init" in first.record.fit
    assert cast(tmp_path, source).reused
    assert cast(tmp_path, source, reuse=False).record.diff_id == first.record.diff_id


def test_a_bundle_of_another_image_is_converted(tmp_path: Path) -> None:
    cast(tmp_path, bundle(tmp_path / "one", {}, "sha256:aa"))
    assert not cast(tmp_path, bundle(tmp_path / "two", {}, "sha256:bb")).reused
    assert cast(tmp_path, bundle(tmp_path / "three", {}, "sha256:bb")).reused


def test_the_version_in_the_release_file_of_a_bundle_is_that_of_the_template(tmp_path: Path) -> None:
    source = bundle(tmp_path / "one", {})
    cast(tmp_path, source)
    first = cast(tmp_path, source, release_metadata={"A": "b"})
    again = cast(tmp_path, source, release_metadata={"A": "b"})
    assert (first.volid, again.volid, again.reused) == (VOLID.format("v2"), VOLID.format("v2"), True)
