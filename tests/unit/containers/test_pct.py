"""The backend of `pct`, with a small program in its place that keeps containers in files and records its arguments."""

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

PROGRAM = """\
#!/usr/bin/env python3
import json, os, sys, urllib.parse
from pathlib import Path

home = Path(os.environ["PCT_CONFIG"])
name, words = Path(sys.argv[0]).name, sys.argv[1:]
with (home / "argv").open("a") as log:
    log.write(json.dumps([name, *words]) + "\\n")
ids = sorted(int(each.stem) for each in home.glob("*.conf"))
if name == "pvesh":
    print(next(each for each in range(100, 999) if each not in ids))
elif name == "lxc-info":
    print("192.0.2.7" if "--ips" in words else os.environ["RUNNING_PID"])
elif words[0] == "list":
    print("VMID       Status     Lock         Name")
    for each in ids:
        text = (home / f"{each}.conf").read_text()
        host = next(line[10:] for line in text.splitlines() if line.startswith("hostname: "))
        print(f"{each}        running                 {host}")
else:
    file = home / f"{words[1]}.conf"
    if words[0] == "create":
        if os.environ.get("FAIL") == "create":
            sys.exit("unable to create CT: no space left")
        options = dict(zip((each[2:] for each in words[3::2]), words[4::2], strict=True))
        options["description"] = urllib.parse.quote(options["description"])
        options["rootfs"] += ",size=" + options["rootfs"].partition(":")[2] + "G"
        file.write_text("".join(f"{key}: {value}\\n" for key, value in options.items()))
    elif not file.exists():
        sys.exit(f"Configuration file 'nodes/pve/lxc/{words[1]}.conf' does not exist")
    elif words[0] == "config":
        print(file.read_text())
    elif words[0] == "status":
        print("status: running")
    elif words[0] == "start" and os.environ.get("FAIL") == "start":
        sys.exit("startup for container failed")
    elif words[0] == "destroy":
        file.unlink()
"""


class Node:
    """A directory with the programs of a node, and its configurations."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.configurations = folder, folder / "pve"
        self.configurations.mkdir()
        (folder / "bin").mkdir()
        for name in ("pct", "pvesh", "lxc-info"):
            (folder / "bin" / name).write_text(PROGRAM)
            (folder / "bin" / name).chmod(0o755)
        (folder / "rootfs.tar").write_bytes(archive(minimal_debian()))

    def run(self, *words: str, **more: str) -> CompletedProcess[str]:
        environ = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder), **more}
        environ |= {"PCT_CONFIG": str(self.configurations), "RUNNING_PID": "1"}
        return lxcast(*words, cwd=self.folder, environ=environ)

    def create(self, *words: str, **more: str) -> CompletedProcess[str]:
        given = ("create", "rootfs.tar", "--name", "web", "--backend", "pct", "--rootfs", "disks:8")
        return self.run(*given, *words, **more)

    def calls(self, verb: str) -> list[list[str]]:
        lines = (self.configurations / "argv").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call[:2] == ["pct", verb]]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    if os.geteuid() != 0:
        pytest.skip("pct needs root")
    return Node(tmp_path)


def test_arguments_reach_pct_as_one_word_each(node: Node) -> None:
    text = "it's $(touch x) `id` ; two\nlines"
    told = node.create("--notes", text, "--mount", "/srv/my data,mp=/data", "--feature", "fuse=1", "--env", "A=b c")
    assert (told.returncode, told.stdout) == (0, "100\n"), told.stderr
    (call,) = node.calls("create")
    options = dict(zip(call[4::2], call[5::2], strict=True))
    assert call[:4] == ["pct", "create", "100", "local:vztmpl/web-v1.tar.zst"]
    assert options["--description"].startswith(text)
    assert (options["--mp0"], options["--features"]) == ("/srv/my data,mp=/data", "fuse=1")
    assert "lxc.environment: A=b c\n" in (node.configurations / "100.conf").read_text()
    assert node.create().stdout == "100\n"
    assert len(node.calls("create")) == 1
    assert node.run("destroy", "web", "--apply").returncode == 0
    assert not list(node.configurations.glob("*.conf"))


@pytest.mark.parametrize(("step", "message"), [("create", "no space left"), ("start", "startup for container failed")])
def test_after_a_failure_nothing_is_left(node: Node, step: str, message: str) -> None:
    (node.configurations / "100.conf").write_text("hostname: other\n")
    told = node.create(FAIL=step)
    assert told.returncode == 12
    assert message in told.stderr
    assert [each.name for each in node.configurations.glob("*.conf")] == ["100.conf"]
    assert not list((node.folder / ".local/state/lxcast/containers").rglob("*.json"))


def test_a_container_that_lxcast_did_not_create_is_not_touched(node: Node) -> None:
    (node.configurations / "100.conf").write_text("hostname: web\n")
    told = node.create()
    assert told.returncode == 7
    assert node.calls("create") == node.calls("destroy") == []
