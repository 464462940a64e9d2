"""One root filesystem by every way into lxcast: one sha256."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.tools import REPOSITORY, Program


def build(source: str, folder: Path, *options: str, feed: Path | None = None, umask: int = 0o22, **env: str) -> str:
    """Build by the command itself from another folder; return the sha256 of the template."""
    work = folder / "work"
    work.mkdir(parents=True)
    command = [sys.executable, "-m", "lxcast", "--quiet", "build", source, "--name", "same", "--output", str(folder)]
    with (feed or Path(os.devnull)).open("rb") as stdin:
        done = subprocess.run(
            [*command, *options],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(work), **env},
            stdin=stdin,
            umask=umask,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    with Path(done.stdout.strip()).open("rb") as template:
        digest = hashlib.file_digest(template, "sha256").hexdigest()
    shutil.rmtree(folder)
    return digest


def test_a_container_its_image_and_its_export_give_one_sha256(
    engine: Program, service_image: str, service_container: str, service_export: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "export.tar.gz"
    with service_export.open("rb") as plain, gzip.open(packed, "wb", compresslevel=1) as file:
        shutil.copyfileobj(plain, file, 1 << 20)
    digests = {
        "container": build(f"docker-container:{service_container}", tmp_path / "container"),
        "image": build(f"docker-daemon:{service_image}", tmp_path / "image", TZ="Asia/Tokyo"),
        "export": build(str(service_export), tmp_path / "export", "--threads", "1", LC_ALL="C"),
        "gzip": build(str(packed), tmp_path / "gzip", "--threads", "5", umask=0o77),
        "standard input": build("-", tmp_path / "stdin", feed=service_export, LC_ALL="C.UTF-8", TZ="America/Lima"),
    }
    assert len(set(digests.values())) == 1, digests
