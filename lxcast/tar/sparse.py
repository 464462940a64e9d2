"""Sparse files: which pieces of a file an archive stores, in the four formats that GNU tar has written.

A map is ((offset, length), ...) in ascending order, lengths above 0; the rest of the file reads as zeros. The formats
are described in the GNU tar manual, "Sparse Formats".
"""

from collections.abc import Callable

from lxcast.tar.header import BLOCK, number

Map = tuple[tuple[int, int], ...]

MAX_PIECES = 1_000_000
"""A longer map is an attack on memory: 1 M pieces of 512 bytes are 1 GiB of data already."""


def from_old_gnu(header: bytes) -> tuple[list[int], bool, int]:
    """Read a GNU header of type S: the numbers of its map, whether an extension block follows, the real size."""
    return _numbers(header[386:482], 4), bool(header[482]), number(header[483:495])


def from_extension(block: bytes) -> tuple[list[int], bool]:
    """Read an extension block after a header of type S."""
    return _numbers(block[:504], 21), bool(block[504])


def _numbers(field: bytes, pieces: int) -> list[int]:
    numbers = []
    for at in range(0, pieces * 24, 24):
        if not field[at]:
            break
        numbers += [number(field[at : at + 12]), number(field[at + 12 : at + 24])]
    return numbers


def from_pax(value: bytes) -> list[int]:
    """Read the map of formats 0.0 and 0.1: numbers separated by commas. Raises ValueError."""
    return [_decimal(part) for part in value.split(b",")]


def from_body(take: Callable[[int], bytes], stored: int) -> tuple[list[int], int]:
    """Read the map of format 1.0, which precedes the data; return (numbers, bytes it takes).

    `take` returns the next bytes of the `stored` ones in the archive. Raises ValueError.
    """
    start, count, lines = bytearray(), -1, 0
    while count < 0 or lines < 2 * count + 1:
        if len(start) >= stored:
            raise ValueError("the sparse map does not end")
        block = take(BLOCK)
        start += block
        lines += block.count(b"\n")
        if count < 0:
            count = _decimal(bytes(start.partition(b"\n")[0]))
            if count > MAX_PIECES:
                raise ValueError(f"the sparse map has {count} pieces, the limit is {MAX_PIECES}")
        elif len(start) > BLOCK + 2 * 21 * count:
            raise ValueError(f"the sparse map of {count} pieces does not end after {len(start)} bytes")
    return [_decimal(line) for line in bytes(start).split(b"\n", 2 * count + 1)[1 : 2 * count + 1]], len(start)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError(f"the sparse map contains {digits[:20]!r}, which is not a number")
    return int(digits)


def pieces(numbers: list[int], size: int) -> Map:
    """Pair the numbers of a map, and check them against the file's size in bytes. Raises ValueError."""
    found = tuple((at, length) for at, length in zip(numbers[::2], numbers[1::2], strict=False) if length)
    end = 0
    for at, length in found:
        if at < end or length < 0:
            raise ValueError(f"the sparse map has the piece ({at}, {length}) before the end of the last one, {end}")
        end = at + length
    if len(numbers) % 2:
        raise ValueError(f"the sparse map has {len(numbers)} numbers, expected two for each piece")
    if end > size:
        raise ValueError(f"the sparse map ends at {end}, after the file's size {size}")
    return found


def to_body(map: Map, size: int) -> bytes:
    """Write the map of a file of `size` bytes in format 1.0, padded to a whole block."""
    if not map or sum(map[-1]) < size:
        map = (*map, (size, 0))  # else GNU tar cuts off a hole at the end (sparse_extract_region)
    lines = b"%d\n" % len(map) + b"".join(b"%d\n%d\n" % piece for piece in map)
    return lines + b"\0" * (-len(lines) % BLOCK)
