from pathlib import Path

import pytest

from lxcast.errors import StorageError, UsageError
from lxcast.settings import storage_options
from lxcast.storages.open import open_storage


def test_templates_without_records_are_listed_too(tmp_path: Path) -> None:
    directory = tmp_path / "template/cache"
    directory.mkdir(parents=True)
    (directory / "alpine-3.20_amd64.tar.zst").write_bytes(b"12345")
    (directory / "notes.txt").write_text("not a template")
    (template,) = open_storage(storage_options(f"nfs={tmp_path}")).templates().templates
    assert (template.template_id, template.size) == ("nfs:vztmpl/alpine-3.20_amd64.tar.zst", 5)


def test_a_storage_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such storage directory"):
        open_storage(storage_options(str(tmp_path / "none"))).templates()
    with pytest.raises(UsageError, match="PM_API_TOKEN_SECRET"):
        open_storage(storage_options("proxmox:node1/local"))
