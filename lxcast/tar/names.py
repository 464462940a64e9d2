"""Names as they stand in an archive, of up to a megabyte: how they are told, and which of them Linux takes."""

from lxcast.tar.member import printable

NAME_MAX, PATH_MAX = 255, 4095
"""Bytes of a name, and of a path or a link's target, that Linux takes (limits.h, path_resolution(7))."""

_TOLD = 200  # bytes of a name that a message holds


def told(name: bytes) -> str:
    """Return a member's name as a person reads it."""
    return "/" + clipped(name.removeprefix(b"./").lstrip(b"/"))


def clipped(name: bytes) -> str:
    """Return the start of a name as it stands in the archive."""
    return printable(name[:_TOLD])[1:] + ("..." if len(name) > _TOLD else "")


def too_long(path: bytes) -> str:
    """Say what is too long for Linux in a member's path, which tar unpacks as ./path; "" where nothing is."""
    longest = max(map(len, path.split(b"/")))
    if len(path) + 2 > PATH_MAX:
        return f"a path of {len(path) + 2} bytes, and Linux takes {PATH_MAX}"
    return f"a name of {longest} bytes, and Linux takes {NAME_MAX}" if longest > NAME_MAX else ""
