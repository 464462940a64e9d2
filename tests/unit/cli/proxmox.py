"""A template to publish, and the environment that reaches the server."""

import subprocess
from pathlib import Path

from lxcast.tar.member import regular
from lxcast.testing import Cluster
from tests.unit.cli.running import COMMAND, archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian


def access(server: Cluster, tmp_path: Path, **more: str) -> dict[str, str]:
    """Return the environment of a user who publishes to `local` on the first node."""
    return {
        "PM_API_URL": server.url,
        "PM_API_TOKEN_ID": server.token.id,
        "PM_API_TOKEN_SECRET": server.token.secret,
        "PM_NODE": server.nodes[0],
        "PM_STORAGE": "local",
        "SSL_CERT_FILE": str(server.ca),
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def make_template(folder: Path, name: str = "debian-12", content: bytes = b"x") -> Path:
    """Build NAME-v1.tar.zst with its record in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rootfs.tar"
    source.write_bytes(archive([*minimal_debian(), regular(b"srv", content)]))
    told = lxcast("build", source, "--name", name, "--output", folder / "out")
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())


def held(server: Cluster, name: str, node: str = "", storage: str = "local") -> bytes | None:
    """Return the bytes that a storage has under a name."""
    file = server.storages[storage].folder(node or server.nodes[0]) / name
    return file.read_bytes() if file.exists() else None


def start(server: Cluster, tmp_path: Path, *words: str | Path, **environ: str) -> subprocess.Popen[str]:
    """Start a command in that user's folder."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(access(server, tmp_path, **environ)),
    )
