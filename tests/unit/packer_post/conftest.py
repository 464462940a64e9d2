"""The plugin's file, and a folder with a root filesystem that Packer runs in."""

from pathlib import Path

import pytest

from packer_post.install import install
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(folder=tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    return tmp_path
