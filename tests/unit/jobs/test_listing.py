from pathlib import Path

import pytest

from lxcast.errors import StorageError, UsageError
from lxcast.jobs.listing import look_into
from lxcast.settings import storage_options


def test_templates_without_records_are_listed_too(tmp_path: Path) -> None:
    folder = tmp_path / "template/cache"
    folder.mkdir(parents=True)
    (folder / "alpine-3.20_amd64.tar.zst").write_bytes(b"12345")
    (folder / "notes.txt").write_text("no template")
    (entry,) = look_into(storage_options(f"nfs={tmp_path}")).entries
    assert (entry.template_id, entry.size) == ("nfs:vztmpl/alpine-3.20_amd64.tar.zst", 5)


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such storage folder"):
        look_into(storage_options(str(tmp_path / "none")))
    with pytest.raises(UsageError, match="PM_API_TOKEN_SECRET"):
        look_into(storage_options("proxmox:node1/local"))
