"""Templates by volid, name, version, variant or path."""

from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.errors import StorageError, UsageError
from lxcast.jobs.resolve import find_file, find_template, resolve_source
from lxcast.settings import StorageOptions, storage_options
from lxcast.storages.open import open_storage
from tests.published import publish


@pytest.fixture
def options(tmp_path: Path) -> StorageOptions:
    for number in (1, 2, 10):
        publish(tmp_path / "storage", "web", number)
    for variant in ("full", "slim"):
        record = publish(tmp_path / "storage", f"db-{variant}", 1)
        file = tmp_path / "storage/template/cache" / f"db-{variant}-v1.json"
        file.write_text(replace(record, name="db", variant=variant).to_json())
    return storage_options(f"local={tmp_path / 'storage'}")


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("web", "web-v10.tar.zst"),
        ("web:v2", "web-v2.tar.zst"),
        ("local:vztmpl/web-v1.tar.zst", "web-v1.tar.zst"),
        ("web-v1.tar.zst", "web-v1.tar.zst"),
        ("db/slim", "db-slim-v1.tar.zst"),
        ("db/full:v1", "db-full-v1.tar.zst"),
    ],
)
def test_a_template_is_found_by_volid_file_name_version_or_variant(
    options: StorageOptions, tmp_path: Path, what: str, file: str
) -> None:
    assert find_template(what, open_storage(options)).file == file
    assert find_file(what, options) == tmp_path / "storage/template/cache" / file
    assert resolve_source(what, options) == str(tmp_path / "storage/template/cache" / file)


@pytest.mark.parametrize(
    ("what", "message", "hint"),
    [
        ("db", "has several variants: full, slim", "--variant full"),
        ("db:v1", "has several variants: full, slim", "--variant full"),
        ("web:v3", "web has no version v3", "available: v1, v2, v10"),
        ("mail", "template 'mail' not found", "available: db, web"),
        ("nfs:vztmpl/web-v1.tar.zst", "is on the storage 'nfs'", "--storage nfs=PATH"),
        ("local:vztmpl/web-v9.tar.zst", "web-v9.tar.zst not found", "web-v10.tar.zst"),
    ],
)
def test_a_name_without_one_template_lists_the_choices(
    options: StorageOptions, what: str, message: str, hint: str
) -> None:
    with pytest.raises(StorageError) as caught:
        find_template(what, open_storage(options))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_invalid_name_is_an_error(options: StorageOptions) -> None:
    for what in ("", "a b", "web:4x", "/web"):
        with pytest.raises(UsageError, match="invalid template"):
            find_template(what, open_storage(options))


def test_a_path_comes_before_a_name(options: StorageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").write_bytes(b"")
    assert find_file("web", options) == Path("web")
    assert resolve_source("web", options) == "web"
    assert find_file("./none", options) == Path("none")


@pytest.mark.parametrize("source", ["-", "oci:web", "docker-daemon:web", "https://host/web", "mail", "mail:v1", "a b"])
def test_other_sources_stay_as_they_are(options: StorageOptions, source: str) -> None:
    assert resolve_source(source, options) == source


def test_a_source_needs_no_storage(tmp_path: Path) -> None:
    assert resolve_source("web", storage_options(str(tmp_path / "none"))) == "web"
