"""Go's net/rpc (net/rpc/server.go) with headers and bodies in MessagePack, as ugorji's "GoRpc" codec writes them.

A request is a header {ServiceMethod, Seq} and the argument, a reply {ServiceMethod, Seq, Error} and the result;
nothing stands between them. Requests of one stream may be answered in any order.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from packer_post.protocol import ProtocolError
from packer_post.protocol.msgpack import pack, unpack
from packer_post.protocol.yamux import Stream

Methods = Mapping[str, Callable[[Any], Any]]
"""ServiceMethod -> what answers it; what it raises is told to the caller as the error's text."""


class CallError(Exception):
    """The other side answered a call with an error."""


def serve(stream: Stream, methods: Methods) -> None:
    """Answer requests until the stream ends, each in a thread of its own: Cancel must be heard during PostProcess."""
    sending = threading.Lock()

    def answer(name: str, number: int, argument: Any) -> None:
        result, error = None, ""
        try:
            if name not in methods:
                raise CallError(f"rpc: can't find method {name}")
            result = methods[name](argument)
        except Exception as failed:  # whatever it is, Packer shows it: a plugin's own output is hidden from the user
            error = str(failed) or type(failed).__name__
        reply = pack({"ServiceMethod": name, "Seq": number, "Error": error}) + pack(result)
        try:
            with sending:
                stream.send(reply)
        except ProtocolError:
            stream.reset()

    try:
        while stream.more():
            header = _header(unpack(stream.read), "ServiceMethod", "Seq")
            argument = unpack(stream.read)
            request = (str(header["ServiceMethod"]), header["Seq"], argument)
            threading.Thread(target=answer, args=request, daemon=True).start()
        stream.close()
    except ProtocolError as error:
        if not stream.broken:
            sys.stderr.write(f"lxcast: {error}\n")  # seen with PACKER_LOG=1
        stream.reset()


class Client:
    """The side that calls. A call is made by one thread at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._calls = 0

    def call(self, method: str, argument: Any = None) -> Any:
        """Return the result. Raises CallError with the other side's text, ProtocolError where it is gone."""
        with self._lock:
            self._calls += 1
            self._stream.send(pack({"ServiceMethod": method, "Seq": self._calls}) + pack(argument))
            header, result = self._reply()
        if header["Seq"] != self._calls:
            raise ProtocolError(f"{method}: the reply is to call {header['Seq']}, not to {self._calls}")
        if header["Error"]:
            raise CallError(f"{method}: {header['Error']}")
        return result

    def _reply(self) -> tuple[dict[str, Any], Any]:
        return _header(unpack(self._stream.read), "Seq", "Error"), unpack(self._stream.read)

    def close(self) -> None:
        """Make no more calls."""
        self._stream.close()


def _header(value: Any, *keys: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise ProtocolError("no header of net/rpc where one should be")
    return value
