"""The handshake with Packer, and one post-processor offered on the connection.

Packer starts the program, reads one line of its standard output and dials the address in it (packer-plugin-sdk,
plugin/server.go): three parts without arguments, which is how Packer 1.6 starts packer-post-processor-NAME, and four
after `start post-processor [--protobuf] NAME`, which Packer 1.7 and newer say. It speaks of the arguments by gob
unless --protobuf is set, which Packer does only if every plugin of a build supports it.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from packer_post.protocol import ProtocolError
from packer_post.protocol.broker import Broker
from packer_post.protocol.hcl_spec import Attribute, as_gob, as_protobuf
from packer_post.protocol.rpc import Client, Methods, serve
from packer_post.protocol.yamux import Session

COOKIE = ("PACKER_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""What Packer sets for the programs that it starts (packer-plugin-sdk, plugin/server.go); it is not a secret."""

_PROTOCOL = 5
_MAX_ADDRESS = 100  # bytes: sun_path of unix(7) has 108
_WAIT = 60.0  # seconds; Packer waits as long for the line


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a post-processor made, as Packer and the post-processors behind it see it. It is never destroyed."""

    builder_id: str
    id: str
    files: Sequence[str]
    text: str
    state: Mapping[str, Any]
    keep_input: bool = False
    """Whether the artifact before it is kept where the template does not say keep_input_artifact."""

    def methods(self) -> Methods:
        """Return what Packer calls."""
        return {
            "Artifact.BuilderId": lambda _: self.builder_id,
            "Artifact.Id": lambda _: self.id,
            "Artifact.Files": lambda _: list(self.files),
            "Artifact.String": lambda _: self.text,
            "Artifact.State": lambda name: self.state.get(str(name)),
            "Artifact.Destroy": lambda _: None,
        }


class PostProcessor(Protocol):
    """What is offered. What configure and post_process raise is shown to the user as the error's text."""

    def configure(self, configs: Sequence[Any]) -> None:
        """Validate the template's values: Packer's own dictionaries, and arguments as the JSON of a cty value."""

    def post_process(self, host: Client) -> Artifact:
        """Do the work. `host` answers Artifact.* of the artifact before, and Ui.*."""

    def cancel(self) -> None:
        """Have post_process end soon."""


def offer(component: PostProcessor, attributes: Sequence[Attribute], arguments: Sequence[str]) -> Session | None:
    """Shake hands and return the connection, on which the component is served; None where Packer does not come."""
    connection = _connection(short=not arguments)
    if connection is None:
        return None
    encode = as_protobuf if "--protobuf" in arguments else as_gob

    def post_process(number: Any) -> dict[str, Any]:
        return _post_process(component, broker, number)

    methods: Methods = {
        "PostProcessor.ConfigSpec": lambda _: {"ConfigSpec": encode(attributes)},
        "PostProcessor.Configure": lambda given: component.configure(_configs(given)),
        "PostProcessor.PostProcess": post_process,
        "PostProcessor.Cancel": lambda _: component.cancel(),
    }
    broker = Broker(connection, {0: lambda stream: serve(stream, methods)})
    return broker.session


def _configs(given: Any) -> list[Any]:
    configs = given.get("Configs") if isinstance(given, dict) else None
    if not isinstance(configs, list):
        raise ProtocolError("Configure without Configs")
    return configs


def _post_process(component: PostProcessor, broker: Broker, number: Any) -> dict[str, Any]:
    if not isinstance(number, int) or not 0 <= number < 1 << 32:
        raise ProtocolError("PostProcess without a stream's number")
    with closing(Client(broker.dial(number))) as host:
        try:
            artifact = component.post_process(host)
        except Exception as error:
            message = {"Message": str(error) or type(error).__name__}
            return {"Err": message, "Keep": False, "ForceOverride": False, "StreamId": 0}
    answer = broker.offer(lambda stream: serve(stream, artifact.methods()))
    return {"Err": None, "Keep": artifact.keep_input, "ForceOverride": False, "StreamId": answer}


def _connection(*, short: bool) -> socket.socket | None:
    """Listen, say where, and return the one connection that Packer makes."""
    folder = Path(tempfile.mkdtemp(prefix="lxcast-"))
    if len(os.fsencode(folder)) > _MAX_ADDRESS:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="lxcast-", dir="/tmp"))
    address = folder / "s"
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(address))
            listening.listen(1)
            listening.settimeout(_WAIT)
            sys.stdout.write("|".join(map(str, (_PROTOCOL, *([] if short else [0]), "unix", address))) + "\n")
            sys.stdout.flush()
            connection, _ = listening.accept()
    except TimeoutError:
        return None
    finally:
        with suppress(OSError):
            address.unlink()
            folder.rmdir()
    connection.setblocking(True)
    return connection
