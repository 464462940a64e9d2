import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.testing import Cluster
from tests.unit.cli.proxmox import make_template


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("built"))


@pytest.fixture
def template(tmp_path: Path, built: Path) -> Path:
    """debian-12-v1.tar.zst with its record, in a folder of its own."""
    return shutil.copytree(built.parent, tmp_path / "out") / built.name
