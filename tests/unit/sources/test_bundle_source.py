"""A runtime bundle: what its config.json says, and everything that is wrong with it at once."""

import bz2
import gzip
import json
import lzma
import os
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lxcast.errors import SourceError
from lxcast.model import Mount, Resources
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


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2", "zst"])
def test_an_archive_may_stand_in_its_place(tmp_path: Path, compression: str) -> None:
    tar = layer([("srv", "dir", 0o755)])
    packed = {"": tar, "gz": gzip.compress(tar), "xz": lzma.compress(tar), "bz2": bz2.compress(tar)}
    packed["zst"] = zstandard.compress(tar)
    bundle(tmp_path, {**CONFIG, "root": {"path": "rootfs.of-any-name"}}, "elsewhere")
    (tmp_path / "rootfs.of-any-name").write_bytes(packed[compression])
    assert paths(f"bundle:{tmp_path}") == [b"srv"]


def test_what_the_process_is_given_is_kept(tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["mounts"] += [
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["size=64m"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
        {"destination": "/etc/resolv.conf", "type": "bind", "source": "/etc/resolv.conf", "options": ["rbind"]},
        {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs"},
    ]
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}]
    config["linux"]["namespaces"].append({"type": "network"})
    config["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    config["linux"]["resources"]["memory"] = {"limit": 536870912, "swap": 805306368}
    config["linux"]["resources"]["cpu"] |= {"quota": 150000}
    said = open_source(f"bundle:{bundle(tmp_path, config)}").config
    assert said
    assert (said.hostname, said.groups) == ("app", (5,))
    assert said.mounts == (Mount("/data", "bind", "/srv/data", ("rbind", "ro")), Mount("/tmp", "tmpfs"))
    assert said.resources == Resources(
        memory=536870912,
        swap=268435456,
        cpus="0-3,7",
        cpu_time=1.5,
        cpu_shares=512,
        pids=10,
        rlimits={"RLIMIT_NOFILE": (1024, 4096)},
        namespaces=("pid", "network"),
        devices=("/dev/fuse",),
    )


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1, "shares": 0}, "pids": {"limit": -1}},
        {"memory": {}, "cpu": {"period": 100000, "cpus": ""}, "pids": {}},
        {"memory": None, "cpu": None, "pids": None},
    ],
)
def test_no_limit_is_none(tmp_path: Path, resources: dict[str, Any]) -> None:
    config = {**CONFIG, "linux": {"resources": resources}}
    said = open_source(f"bundle:{bundle(tmp_path, config)}").config
    assert said
    assert said.resources == Resources()


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    del config["ociVersion"]
    config["root"]["path"] = 3
    config["process"] |= {"args": [], "cwd": "srv", "env": ["NAME"], "user": {"uid": -1, "gid": True}}
    config["linux"]["resources"] |= {"memory": {"limit": -2}, "cpu": {"period": 0, "cpus": "all"}, "pids": 7}
    config["mounts"].append({"destination": "proc"})
    config["process"] |= {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]}
    config["process"]["user"]["additionalGids"] = ["audio"]
    config["linux"] |= {"namespaces": [{"type": "net"}], "devices": [{"path": "dev/fuse"}]}
    with pytest.raises(SourceError) as caught:
        open_source(f"bundle:{bundle(tmp_path, config)}")
    problems = caught.value.message.partition("config.json: ")[2].split("; ")
    assert [re.split(": | is missing", problem)[0] for problem in problems] == [
        "ociVersion", "root.path", "process.cwd", "process.args", "process.env", "process.user.uid", "process.user.gid",
        "process.user.additionalGids", "process.rlimits", "mounts", "linux.namespaces", "linux.devices",
        "linux.resources.memory.limit", "linux.resources.cpu.period", "linux.resources.cpu.cpus",
        "linux.resources.pids",
    ]  # fmt: skip
    assert problems[1] == "root.path: expected a path, got 3"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("domainname", 3),
        ("annotations", {"a": 3}),
        ("process.user.uid", 2**32 - 1),
        ("process.user.additionalGids", [2**32]),
        ("process.capabilities", {"bounding": ["KILL"]}),
        ("process.capabilities", ["CAP_KILL"]),
        ("process.noNewPrivileges", 1),
        ("process.oomScoreAdj", "0"),
        ("linux.uidMappings", [{"containerID": 0}]),
        ("linux.devices", [{"path": "/dev/fuse", "type": "char"}]),
        ("linux.sysctl", {"net.ipv4.ip_forward": 1}),
        ("linux.maskedPaths", "/proc/kcore"),
        ("linux.resources.devices", [{"access": "rwm"}]),
        ("linux.resources.cpu.quota", 10**400),
        ("linux.resources.memory.limit", 2**64),
    ],
)
def test_what_the_specification_does_not_allow_is_told(tmp_path: Path, key: str, value: object) -> None:
    config = json.loads(json.dumps(CONFIG))
    *above, last = key.split(".")
    place = config
    for part in above:
        place = place.setdefault(part, {})
    place[last] = value
    with pytest.raises(SourceError, match=re.escape(f"config.json: {key}: expected ")):
        open_source(f"bundle:{bundle(tmp_path, config)}")


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000, "a\nb"])
def test_a_path_that_no_system_takes_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceError, match=r"root\.path: ") as caught:
        open_source(f"bundle:{bundle(tmp_path, {**CONFIG, 'root': {'path': path}}, 'other')}")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "invalid JSON"), ("[]", "expected an object"), ("{}", "ociVersion is missing; root is missing")],
)
def test_what_is_no_config_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SourceError, match=said):
        open_source(f"bundle:{tmp_path}")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "umoci.json")
    assert open_source(f"bundle:{bundle(tmp_path)}").origin.digest
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(SourceError, match=r"config\.json: invalid JSON"):
        open_source(f"bundle:{tmp_path}")


def test_paths_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or directory"):
        open_source(f"bundle:{tmp_path}/gone")
    with pytest.raises(SourceError, match=r"config\.json is missing"):
        open_source(f"bundle:{tmp_path}")
    with pytest.raises(SourceError, match=r"root\.path: .*/rootfs: does not exist"):
        open_source(f"bundle:{bundle(tmp_path, root='other')}")
    (tmp_path / "rootfs").mkdir()
    with pytest.raises(SourceError, match=r"rootfs is empty"):
        open_source(f"bundle:{tmp_path}")


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800"])
def test_a_text_that_no_program_can_be_given_is_told(tmp_path: Path, text: str) -> None:
    (bundle(tmp_path) / "config.json").write_text(json.dumps(CONFIG).replace("two words", text))
    with pytest.raises(SourceError, match=r"process\.args: expected a list of strings"):
        open_source(f"bundle:{tmp_path}")
