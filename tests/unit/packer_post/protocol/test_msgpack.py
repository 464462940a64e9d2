"""MessagePack: the bytes of its specification, and nothing but ProtocolError for anything else."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packer_post.protocol import ProtocolError
from packer_post.protocol.msgpack import pack, unpack

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=300)
    | st.binary(max_size=300)
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
)


def reading(data: bytes) -> Callable[[int], bytes]:
    """A stream that holds just these bytes."""
    rest = bytearray(data)

    def read(size: int) -> bytes:
        if size > len(rest):
            raise ProtocolError("the stream ended")
        taken = bytes(rest[:size])
        del rest[:size]
        return taken

    return read


@given(VALUE)
def test_what_is_written_is_read(value: object) -> None:
    assert unpack(reading(pack(value))) == value


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_every_width_of_a_length_is_read(size: int) -> None:
    for value in ("x" * size, b"x" * size, [1] * size, {str(n): n for n in range(size)}):
        assert unpack(reading(pack(value))) == value


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"ServiceMethod": "A.B", "Seq": 0}, b"\x82\xadServiceMethod\xa3A.B\xa3Seq\x00"),
        (b"\x00", b"\xc4\x01\x00"),
        ("é", b"\xa2\xc3\xa9"),
        (-33, b"\xd0\xdf"),
        (200, b"\xcc\xc8"),
        (None, b"\xc0"),
    ],
)
def test_the_bytes_are_those_of_the_specification(value: object, data: bytes) -> None:
    assert pack(value) == data
    assert unpack(reading(data)) == value


def test_an_extension_is_read_as_its_bytes() -> None:
    assert unpack(reading(b"\x92\xd6\xff\x00\x00\x00\x01\x05")) == [b"\x00\x00\x00\x01", 5]


@given(st.binary(max_size=200))
def test_rubbish_is_a_protocol_error_or_a_value(data: bytes) -> None:
    with suppress(ProtocolError):
        unpack(reading(data))


@pytest.mark.parametrize("data", [b"\xc6\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x91" * 10_000, b"\xc1"])
def test_what_would_not_fit_into_memory_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(reading(data))
