"""A runtime bundle: what its config.json says, and everything that is wrong with it at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from lxcast.errors import SourceError
from lxcast.sources import open_source
from tests.image_files import layer

CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "root": {"path": "rootfs", "readonly": True},
    "process": {
        "terminal": False,
        "user": {"uid": 1000, "gid": 100, "additionalGids": [5]},
        "args": ["/bin/app", "two words", ""],
        "env": ["PATH=/bin", "EMPTY="],
        "cwd": "/srv/",
    },
    "hostname": "app",
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "annotations": {"org.opencontainers.image.ref.name": "app:1"},
    "linux": {
        "resources": {
            "memory": {"limit": -1},
            "cpu": {"shares": 512, "quota": -1, "period": 100000, "cpus": "0-3,7"},
            "pids": {"limit": 10},
        },
        "namespaces": [{"type": "pid"}],
    },
}


def bundle(folder: Path, config: object = None, root: str = "rootfs") -> Path:
    (folder / root / "etc").mkdir(parents=True)
    (folder / root / "etc/hostname").write_text("x")
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    return folder


def paths(source: str) -> list[bytes]:
    with open_source(source).members() as members:
        return [member.path for member in members if member.path]


def test_a_bundle_is_its_root_filesystem_and_its_process(tmp_path: Path) -> None:
    for source in (f"bundle:{bundle(tmp_path)}", str(tmp_path)):
        assert paths(source) == [b"etc", b"etc/hostname"]
        found = open_source(source)
        assert found.origin.kind == "bundle"
        assert found.origin.digest.startswith("sha256:")
        assert found.config
        assert found.config.cmd == ("/bin/app", "two words", "")
        assert found.config.env == ("PATH=/bin", "EMPTY=")
        assert (found.config.user, found.config.working_dir) == ("1000:100", "/srv")


def test_the_root_filesystem_is_where_root_path_says(tmp_path: Path) -> None:
    config = {"ociVersion": "1.0.2", "root": {"path": "elsewhere/deep"}}
    assert paths(str(bundle(tmp_path, config, "elsewhere/deep"))) == [b"etc", b"etc/hostname"]


def test_an_archive_may_stand_in_its_place(tmp_path: Path) -> None:
    (bundle(tmp_path, {**CONFIG, "root": {"path": "rootfs.tar"}}) / "rootfs.tar").write_bytes(
        layer([("srv", "dir", 0o755)])
    )
    assert paths(f"bundle:{tmp_path}") == [b"srv"]


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    del config["ociVersion"]
    config["root"]["path"] = 3
    config["process"] |= {"args": [], "cwd": "srv", "env": ["NAME"], "user": {"uid": -1, "gid": True}}
    config["linux"]["resources"] |= {"memory": {"limit": -2}, "cpu": {"period": 0, "cpus": "all"}, "pids": 7}
    config["mounts"].append({"destination": "proc"})
    with pytest.raises(SourceError) as caught:
        open_source(f"bundle:{bundle(tmp_path, config)}")
    problems = caught.value.message.partition("config.json: ")[2].split("; ")
    assert [problem.partition(" is ")[0] for problem in problems] == [
        "ociVersion", "root.path", "process.cwd", "process.args", "process.env", "process.user.uid", "process.user.gid",
        "mounts", "linux.resources.memory.limit", "linux.resources.cpu.period", "linux.resources.cpu.cpus",
        "linux.resources.pids",
    ]  # fmt: skip
    assert problems[1] == "root.path is 3, not a path"


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is no JSON"), ("[]", "holds no object"), ("{}", "ociVersion is missing; root is missing")],
)
def test_what_is_no_config_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SourceError, match=said):
        open_source(f"bundle:{tmp_path}")


def test_paths_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        open_source(f"bundle:{tmp_path}/gone")
    with pytest.raises(SourceError, match=r"has no config\.json"):
        open_source(f"bundle:{tmp_path}")
    with pytest.raises(SourceError, match=r"root\.path is .*/rootfs, where nothing is"):
        open_source(f"bundle:{bundle(tmp_path, root='other')}")
