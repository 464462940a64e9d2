"""MessagePack (github.com/msgpack/msgpack, spec.md): the part that Go's net/rpc with ugorji's codec puts on the wire.

Text is str, bytes are bin; extensions are read as their bytes, since none is expected.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from packer_post.protocol import ProtocolError

MAX_BYTES = 1 << 26
"""The longest text or byte string that is read: a configuration is a few megabytes at most."""

_MAX_DEPTH = 64

Read = Callable[[int], bytes]
"""Returns exactly so many bytes, or raises."""

_NUMBERS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte -> what follows, and how many bytes its length takes.
_SIZED = {
    **{0xC4 + n: ("bin", 1 << n) for n in range(3)},
    **{0xC7 + n: ("ext", 1 << n) for n in range(3)},
    **{0xD9 + n: ("str", 1 << n) for n in range(3)},
    **{0xDC + n: ("array", 2 << n) for n in range(2)},
    **{0xDE + n: ("map", 2 << n) for n in range(2)},
}


def pack(value: object) -> bytes:
    """Encode None, bool, int, float, str, bytes, lists, tuples and mappings of such."""
    out = bytearray()
    _pack(value, out)
    return bytes(out)


def _pack(value: object, out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        out += _integer(value)
    elif isinstance(value, float):
        out += b"\xcb" + struct.pack(">d", value)
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        out += _head(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data
    elif isinstance(value, bytes):
        out += _head(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + value
    elif isinstance(value, Mapping):
        out += _head(len(value), 0x80, 16, (None, 0xDE, 0xDF))
        for key, each in value.items():
            _pack(key, out)
            _pack(each, out)
    elif isinstance(value, list | tuple):
        out += _head(len(value), 0x90, 16, (None, 0xDC, 0xDD))
        for each in value:
            _pack(each, out)
    else:
        raise TypeError(f"{type(value).__name__} has no form in MessagePack")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    codes = (0xCC, 0xCD, 0xCE, 0xCF) if value > 0 else (0xD0, 0xD1, 0xD2, 0xD3)
    for code in codes:
        try:
            return bytes([code]) + _NUMBERS[code].pack(value)
        except struct.error:
            continue
    raise OverflowError(f"{value} does not fit into 64 bits")


def _head(size: int, fixed: int, room: int, codes: tuple[int | None, int, int]) -> bytes:
    """Return the type and length of what follows; `fixed` codes hold lengths below `room` themselves."""
    if size < room:
        return bytes([fixed | size])
    for code, width in zip(codes, (1, 2, 4), strict=True):
        if code is not None and size < 1 << (8 * width):
            return bytes([code]) + size.to_bytes(width, "big")
    raise OverflowError(f"{size} elements or bytes do not fit into MessagePack")


def unpack(read: Read) -> Any:
    """Read one value. Raises ProtocolError for invalid MessagePack, and what `read` raises."""
    return _unpack(read, 0)


def _unpack(read: Read, depth: int) -> Any:
    code = read(1)[0]
    if code < 0x80 or code >= 0xE0:
        return code if code < 0x80 else code - 0x100
    if code < 0xC0:
        kind, size = ("map", code & 15) if code < 0x90 else ("array", code & 15) if code < 0xA0 else ("str", code & 31)
    elif code in _CONSTANTS:
        return _CONSTANTS[code]
    elif code in _NUMBERS:
        form = _NUMBERS[code]
        return form.unpack(read(form.size))[0]
    elif code in _SIZED:
        kind, width = _SIZED[code]
        size = int.from_bytes(read(width), "big")
    elif 0xD4 <= code <= 0xD8:
        kind, size = "ext", 1 << (code - 0xD4)
    else:
        raise ProtocolError(f"0x{code:02x} begins no MessagePack value")
    if size > MAX_BYTES or depth > _MAX_DEPTH:
        raise ProtocolError(f"a {kind} of {size} at depth {depth} is more than is read")
    return _sized(kind, size, read, depth + 1)


def _sized(kind: str, size: int, read: Read, depth: int) -> Any:
    if kind == "str":
        return read(size).decode("utf-8", "surrogateescape")
    if kind == "bin":
        return read(size)
    if kind == "ext":
        return read(1 + size)[1:]
    if kind == "array":
        return [_unpack(read, depth) for _ in range(size)]
    found: dict[Any, Any] = {}
    for _ in range(size):
        key = _unpack(read, depth)
        if isinstance(key, dict | list):
            raise ProtocolError("a map's key is a collection")
        found[key] = _unpack(read, depth)
    return found
