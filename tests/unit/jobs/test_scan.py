import io
import tarfile
from pathlib import Path

import pytest

from lxcast.errors import CheckError
from lxcast.jobs.build import build
from lxcast.jobs.check import check
from lxcast.progress import Progress
from lxcast.rootfs.checks import CHECKS
from lxcast.settings import CheckOptions, make_build_options

KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEow" * 20 + b"\n-----END RSA PRIVATE KEY-----\n"
BURIED = b"# setting\n" * 5000 + KEY
"""The key stands behind the first 48 KiB."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "rootfs.tar"
    with tarfile.open(path, "w") as tar:
        for name, body in (("opt/app/settings", BURIED), ("usr/share/doc/key.pem", KEY), ("srv/plain", b"x" * 200_000)):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def test_check_scans_the_files_of_an_archive(archive: Path) -> None:
    found = check(archive, CheckOptions(policy="golden", allow={}, arch=""), Progress()).findings
    assert [finding.path for finding in found if finding.check == "private-keys"] == [b"opt/app/settings"]


def test_build_scans_the_files_that_it_writes(archive: Path, tmp_path: Path) -> None:
    allow = {row.id: "the tree of a test" for row in CHECKS if row.id != "private-keys"}
    options = make_build_options(name="small", output=tmp_path / "out", policy="golden", allow=allow)
    with pytest.raises(CheckError) as caught:
        build(str(archive), options, Progress())
    assert "private-keys: /opt/app/settings: line 5001: a private key" in caught.value.message


def test_build_does_not_judge_what_it_drops(archive: Path, tmp_path: Path) -> None:
    allow = {row.id: "the tree of a test" for row in CHECKS if row.id != "private-keys"}
    options = make_build_options(
        name="small", output=tmp_path / "out", policy="golden", allow=allow, remove=("opt/app",)
    )
    path = build(str(archive), options, Progress()).path
    assert path
    assert path.is_file()
