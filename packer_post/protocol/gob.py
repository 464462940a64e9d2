"""Go's gob (encoding/gob, doc.go): the writing of what describes a post-processor's arguments, and no more.

A stream is messages: a length, a type's number, a value. A negative number defines a type; numbers from 64 on are
free. A struct's fields are written as distances from the one before, and left out where they are zero.
"""

BOOL, INT, UINT, STRING, INTERFACE = 1, 2, 3, 6, 8
"""The numbers of predefined types."""

_STRUCT, _MAP, _GOB_ENCODER = 2, 3, 4  # which field of gob's wireType says what a type is


def unsigned(value: int) -> bytes:
    """Return a number below 128 as itself, else the negated count of its bytes and these, the highest first."""
    if value < 128:
        return bytes([value])
    size = (value.bit_length() + 7) // 8
    return bytes([256 - size]) + value.to_bytes(size, "big")


def signed(value: int) -> bytes:
    """Return a number that may be negative: the sign is the lowest bit."""
    return unsigned(~value << 1 | 1 if value < 0 else value << 1)


def text(value: str | bytes) -> bytes:
    """Return a string or a byte string."""
    data = value.encode() if isinstance(value, str) else value
    return unsigned(len(data)) + data


def struct(fields: dict[int, bytes]) -> bytes:
    """Return a struct of the fields that are not zero, each by its place."""
    out, last = b"", -1
    for place, value in sorted(fields.items()):
        out += unsigned(place - last) + value
        last = place
    return out + b"\0"


def message(number: int, value: bytes) -> bytes:
    """Return a message of a type and its value."""
    content = signed(number) + value
    return unsigned(len(content)) + content


def single(value: bytes) -> bytes:
    """Return a value that is not a struct, in the form for a place where one could be."""
    return b"\0" + value


def interface(name: str, number: int, value: bytes) -> bytes:
    """Return a value whose type is found by the name that it was registered under."""
    return text(name) + signed(number) + unsigned(len(value)) + value


def define_struct(number: int, name: str, fields: list[tuple[str, int]]) -> bytes:
    """Return the message that defines a struct: each field's name and the number of its type."""
    listed = b"".join(struct({0: text(field), 1: signed(kind)}) for field, kind in fields)
    return _define(number, name, _STRUCT, {1: unsigned(len(fields)) + listed})


def define_map(number: int, name: str, key: int, element: int) -> bytes:
    """Return the message that defines a map."""
    return _define(number, name, _MAP, {1: signed(key), 2: signed(element)})


def define_encoder(number: int, name: str) -> bytes:
    """Return the message that defines a type that encodes itself, into bytes of its own."""
    return _define(number, name, _GOB_ENCODER, {})


def _define(number: int, name: str, kind: int, fields: dict[int, bytes]) -> bytes:
    common = struct({**({0: text(name)} if name else {}), 1: signed(number)})
    return message(-number, struct({kind: struct({0: common, **fields})}))
