"""Plays Packer core: starts the plugin's file, dials its address, calls it, and answers Ui and Artifact."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packer_post.protocol.broker import Broker
from packer_post.protocol.msgpack import pack
from packer_post.protocol.rpc import Client, serve
from packer_post.protocol.server import COOKIE
from packer_post.protocol.yamux import Stream

PATIENCE = 240.0
CANCEL = 1 << 20
NEW = ("start", "post-processor", "--protobuf", "-packer-default-plugin-name-")


@dataclass
class Core:
    """A Packer with one plugin started."""

    process: subprocess.Popen[str]
    broker: Broker
    plugin: Client
    stream: Stream
    said: list[tuple[str, Any]] = field(default_factory=list)
    """What the plugin had shown: method and argument."""

    def configure(self, **arguments: Any) -> None:
        """Configure as for a template in HCL; CallError with the plugin's text."""
        types = dict.fromkeys(arguments, "dynamic")
        value = json.dumps({"value": arguments, "type": ["object", types]}).encode()
        own = {"packer_build_name": "rootfs", "packer_builder_type": "docker", "packer_debug": "false"}
        self.plugin.call("PostProcessor.Configure", {"Configs": [own, value]})

    def post_process(self, artifact: Mapping[str, Any]) -> dict[str, Any]:
        """Hand over an artifact (method -> result) and return the answer."""
        trackers: list[str] = []

        def tracker(argument: Any) -> str:
            trackers.append(f"{argument['Src']}x{len(trackers)}")
            for method in ("Add", "Close"):
                methods[f"Ui{trackers[-1]}.{method}"] = lambda given, method=method: self._note(method, given)
            self._note("NewTrackProgress", argument)
            return trackers[-1]

        methods: dict[str, Any] = {
            f"Artifact.{name}": lambda _, result=result: result for name, result in artifact.items()
        }
        methods["Artifact.State"] = lambda name: artifact.get("State", {}).get(name)
        for name in ("Say", "Message", "Error", "Machine"):
            methods[f"Ui.{name}"] = lambda argument, name=name: self._note(name, argument)
        methods["Ui.NewTrackProgress"] = tracker
        number = self.broker.offer(lambda stream: serve(stream, methods))
        answer = self.plugin.call("PostProcessor.PostProcess", number)
        assert isinstance(answer, dict)
        return answer

    def artifact(self, number: int) -> Client:
        """Dial the artifact that was answered."""
        return Client(self.broker.dial(number))

    def _note(self, method: str, argument: Any) -> None:
        self.said.append((method, argument))

    def cancel(self) -> None:
        """Say Cancel while PostProcess runs, on the same stream as Packer does; its reply has a number of its own."""
        self.stream.send(pack({"ServiceMethod": "PostProcessor.Cancel", "Seq": CANCEL}) + pack(None))


class _Caller(Client):
    """The client of a plugin, which skips the reply to Cancel."""

    def _reply(self) -> tuple[dict[str, Any], Any]:
        header, result = super()._reply()
        return super()._reply() if header["Seq"] == CANCEL else (header, result)


@contextmanager
def started(
    file: Path, arguments: Sequence[str] = NEW, cwd: Path | None = None, **environ: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the plugin and yield it and its first line; it must end by itself, and say nothing on standard error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LXCAST_", "PYTHONPATH"))}
    process = subprocess.Popen(
        [str(file), *arguments],
        cwd=cwd,
        env=own | {COOKIE[0]: COOKIE[1]} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            assert process.stdout
            yield process, process.stdout.readline().rstrip("\n")
        finally:
            watch.cancel()
            if process.poll() is None:
                process.kill()


@contextmanager
def packer_core(file: Path, arguments: Sequence[str] = NEW, cwd: Path | None = None, **environ: str) -> Iterator[Core]:
    """Play Packer for one plugin; at the end the connection ends, and the plugin with it."""
    with started(file, arguments, cwd, **environ) as (process, line):
        connection = dial(line)
        broker = Broker(connection, {}, client=True)
        stream = broker.dial(0)
        core = Core(process, broker, _Caller(stream), stream)
        yield core
        broker.session.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def dial(line: str) -> socket.socket:
    """Connect to the address in the plugin's line."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(line.rpartition("|")[2])
    connection.settimeout(None)
    return connection
