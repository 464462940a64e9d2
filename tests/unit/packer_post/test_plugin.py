"""The plugin as Packer meets it: the installed file is started, dialled and called."""

import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from packer_post.protocol import ProtocolError
from packer_post.protocol.msgpack import pack
from packer_post.protocol.rpc import CallError
from tests.unit.packer_post.packer_core import NEW, PATIENCE, Core, dial, packer_core, started


@pytest.fixture
def core(plugin: Path, folder: Path) -> Iterator[Core]:
    with packer_core(plugin, cwd=folder) as core:
        yield core


def export(*files: str, **state: Any) -> dict[str, Any]:
    return {"BuilderId": "packer.docker", "Id": "Container", "Files": list(files), "String": "", "State": state}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_describe_is_answered_without_an_interpreter(plugin: Path) -> None:
    talkative = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([plugin, "describe"], env=talkative, check=True, capture_output=True)
    assert done.stderr == b""
    told = json.loads(done.stdout)
    assert told["post_processors"] == ["-packer-default-plugin-name-"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"])
    assert (told["api_version"], told["protocol_version"]) == ("x5.0", "v2")


@pytest.mark.parametrize(("arguments", "form"), [(NEW, r"5\|0\|unix\|/.+"), ((), r"5\|unix\|/.+")])
def test_the_line_has_the_parts_that_each_packer_expects(plugin: Path, arguments: tuple[str, ...], form: str) -> None:
    with started(plugin, arguments) as (process, line):
        assert re.fullmatch(form, line)
        dial(line).close()
        assert process.wait(PATIENCE) == 0
        assert not Path(line.rpartition("|")[2]).exists()


def test_without_packer_it_says_what_it_is(plugin: Path) -> None:
    done = subprocess.run([plugin], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lxcast packer install" in done.stderr


@pytest.mark.parametrize(("arguments", "sign"), [(NEW, b"cty.String"), (NEW[:2] + NEW[3:], b"*hcldec.AttrSpec")])
def test_arguments_are_described_as_asked_for(plugin: Path, arguments: tuple[str, ...], sign: bytes) -> None:
    with packer_core(plugin, arguments) as core:
        spec = core.plugin.call("PostProcessor.ConfigSpec")["ConfigSpec"]
    for part in (sign, b"template_name", b"if_changed", b"release_metadata"):
        assert part in spec


def test_an_export_becomes_a_template_whose_id_is_the_artifacts(core: Core, folder: Path) -> None:
    core.configure(template_name="debian-12", storage="pve-nfs=./nfs", record_file="out/record.json", disable=None)
    answer = core.post_process(export("rootfs.tar", generated_data={"ID": "of the container"}))
    assert answer["Err"] is None
    assert (answer["Keep"], answer["ForceOverride"]) == (False, False)
    artifact = core.artifact(answer["StreamId"])
    file = folder / "nfs/template/cache/debian-12-v1.tar.zst"
    record = json.loads(file.with_name("debian-12-v1.json").read_text())
    assert artifact.call("Artifact.BuilderId") == "packer.post-processor.lxcast"
    assert artifact.call("Artifact.Id") == "pve-nfs:vztmpl/debian-12-v1.tar.zst"
    assert artifact.call("Artifact.Files") == [str(file)]
    assert artifact.call("Artifact.State", "generated_data") == {
        "ID": "of the container",
        "TemplateId": "pve-nfs:vztmpl/debian-12-v1.tar.zst",
        "TemplateFile": str(file),
        "TemplateVersion": "v1",
        "TemplateSha256": record["sha256"],
        "RecordFile": str(folder / "out/record.json"),
    }
    assert artifact.call("Artifact.State", "other") is None
    assert json.loads((folder / "out/record.json").read_text()) == record | {"path": str(file)}
    artifact.call("Artifact.Destroy")
    assert file.exists(), "a published name stays"
    assert "rootfs-kept1.tar" not in names(folder)
    assert (
        "Machine",
        {"Category": "lxcast-template", "Args": [record["template_id"], str(file), "v1", record["sha256"]]},
    ) in core.said
    assert any(method == "Say" and "reading" in said for method, said in core.said)


def test_all_that_is_wrong_with_the_arguments_is_told_by_their_names(core: Core, folder: Path) -> None:
    with pytest.raises(CallError) as raised:
        core.configure(template_name="debian 12", storage="./a", output="./b", format="zip", version="four")
    for part in ("storage ./a and output ./b", 'format = "zip"', "zst, gz", "version four"):
        assert part in str(raised.value)
    with pytest.raises(CallError, match="may hold letters"):
        core.configure(template_name="debian 12")
    with pytest.raises(CallError, match="no-such-row"):
        core.configure(template_name="debian-12", disable=["no-such-row"])
    wrong = {"arch": "x86_64", "platform": "linux/", "release_metadata": {"a b": "x"}, "output": "rootfs.tar"}
    with pytest.raises(CallError) as raised:
        core.configure(template_name="debian-12", **wrong)
    for part in (
        'arch = "x86_64": expected one of amd64',
        "platform linux/",
        "release file",
        "tar: not a directory",
    ):
        assert part in str(raised.value)
    assert names(folder) == ["rootfs.tar"], "nothing is written to find out"


def test_what_packer_does_not_know_yet_is_no_error_before_the_work(core: Core, folder: Path) -> None:
    core.configure(template_name="debian-<unknown>", release_metadata={"COMMIT": "<unknown>"})
    answer = core.post_process(export("rootfs.tar"))
    assert "template_name, release_metadata: <unknown> is not a value" in answer["Err"]["Message"]
    assert names(folder) == ["rootfs-kept1.tar", "rootfs.tar"]


def test_a_template_in_json_is_refused(core: Core) -> None:
    with pytest.raises(CallError, match="hcl2_upgrade"):
        core.plugin.call("PostProcessor.Configure", {"Configs": [{"template_name": "{{user `name`}}"}]})


def test_a_configuration_of_a_megabyte_is_read(core: Core) -> None:
    core.configure(template_name="debian-12", allow={"init": "x" * (1 << 20)})


def test_a_failed_check_keeps_the_export_and_says_how_to_go_on(core: Core, folder: Path) -> None:
    (folder / "rootfs.tar").write_bytes(b"no archive" * 1000)
    core.configure(template_name="debian-12", policy="golden")
    message = core.post_process(export("rootfs.tar"))["Err"]["Message"]
    kept = folder / "rootfs-kept1.tar"
    assert f"\n  lxcast build {kept} --name debian-12 --policy golden" in message
    assert "Traceback" not in message
    assert kept.samefile(folder / "rootfs.tar")


@pytest.mark.parametrize(
    ("artifact", "said"),
    [
        ({"BuilderId": "packer.docker", "Files": ["a", "b"]}, "2 files, where one is wanted: a, b"),
        ({"BuilderId": "packer.docker", "Files": None}, "export_path or commit"),
        ({"BuilderId": "mitchellh.amazonebs", "Files": []}, "mitchellh.amazonebs"),
    ],
)
def test_an_artifact_that_is_no_root_filesystem_is_refused(core: Core, artifact: dict[str, Any], said: str) -> None:
    core.configure(template_name="debian-12")
    assert said in core.post_process(artifact)["Err"]["Message"]


def half_an_archive(folder: Path) -> Any:
    """A pipe in place of the export; opening it waits until the plugin reads."""
    content = (folder / "rootfs.tar").read_bytes()
    (folder / "rootfs.tar").unlink()
    os.mkfifo(folder / "rootfs.tar")
    pipe = (folder / "rootfs.tar").open("wb", buffering=0)
    pipe.write(content[: len(content) // 2])
    return pipe


def working(core: Core, folder: Path) -> "Future[dict[str, Any]]":
    """Start a build in a thread of its own, which will wait for the second half of its source."""
    core.configure(template_name="debian-12")
    answer: Future[dict[str, Any]] = Future()

    def call() -> None:
        try:
            answer.set_result(core.post_process(export("rootfs.tar")))
        except ProtocolError as error:
            answer.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return answer


def wait_for_work(folder: Path) -> None:
    """Wait until the build has begun to write."""
    until = time.monotonic() + PATIENCE
    while not any(name.startswith("storage") for name in names(folder)):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("stray", [(), (signal.SIGINT, signal.SIGTERM)])
def test_cancel_leaves_nothing_partial(core: Core, folder: Path, stray: tuple[signal.Signals, ...]) -> None:
    answer = working(core, folder)
    with half_an_archive(folder):
        wait_for_work(folder)
        for number in stray:
            # Ctrl-C reaches the plugin, too, and a signal to all of Packer's processes: Packer says what is to end.
            core.process.send_signal(number)
        time.sleep(0.2 if stray else 0)
        assert not answer.done()
        core.cancel()
        assert "cancelled" in answer.result(PATIENCE)["Err"]["Message"]
    assert names(folder) == []


def test_the_end_of_packer_ends_the_work(core: Core, folder: Path) -> None:
    answer = working(core, folder)
    with half_an_archive(folder):
        wait_for_work(folder)
        core.broker.session.close(0)
        assert isinstance(answer.exception(PATIENCE), ProtocolError)
        assert core.process.wait(PATIENCE) == 0
    assert names(folder) == []


def frame(kind: int, flags: int, content: bytes) -> bytes:
    """A frame of yamux on the first stream that Packer opens."""
    return struct.pack(">BBHII", 0, kind, flags, 1, len(content)) + content


NOISE = random.Random(3).randbytes(4096)
OPENED = frame(0, 1, struct.pack("<I", 0))
"""The plugin's main stream, with its number of the broker."""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        NOISE,
        OPENED[:7],
        OPENED + NOISE,
        OPENED + frame(0, 0, NOISE),
        OPENED + frame(0, 0, pack({"ServiceMethod": "PostProcessor.PostProcess", "Seq": 1}) + pack("no number")),
        OPENED + frame(0, 0, pack({"ServiceMethod": "PostProcessor.PostProcess", "Seq": 1}) + pack(7)),
        OPENED + frame(0, 0, pack({"ServiceMethod": "PostProcessor.Configure", "Seq": 1}) + b"\xdf\xff\xff\xff\xff"),
    ],
    ids=["nothing", "noise", "half a frame", "noise after a stream", "noise in it", "text", "no stream", "endless map"],
)
def test_rubbish_in_place_of_packer_ends_the_plugin(plugin: Path, content: bytes) -> None:
    with started(plugin) as (process, line), dial(line) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_a_vanished_installation_is_an_error_of_configure(folder: Path) -> None:
    site = folder / "site"
    for package in ("lxcast", "packer_post"):
        shutil.copytree(
            Path(__file__).parents[3] / package,
            site / package,
            ignore=shutil.ignore_patterns("__pycache__"),  # where other programs write meanwhile
        )
    # An interpreter of its own: in the tests' one lxcast may be installed a second time.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    code = (
        "import pathlib, sys; from packer_post.install import install; print(install(folder=pathlib.Path(sys.argv[1])))"
    )
    command = [str(folder / "venv/bin/python"), "-c", code, str(folder)]
    done = subprocess.run(command, cwd=site, check=True, capture_output=True, text=True)
    file = Path(done.stdout.strip())
    shutil.rmtree(site)
    with packer_core(file, cwd=folder) as core:
        assert b"template_name" in core.plugin.call("PostProcessor.ConfigSpec")["ConfigSpec"]
        with pytest.raises(CallError, match="`lxcast packer install`"):
            core.configure(template_name="debian-12")
