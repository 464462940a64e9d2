"""Names as they are in an archive, of up to a megabyte: how messages show them, and which of them Linux accepts."""

from lxcast.tar.member import printable

NAME_MAX, PATH_MAX = 255, 4095
"""Bytes of a name, and of a path or a link's target, that Linux accepts (limits.h, path_resolution(7))."""

_SHOWN = 200  # bytes of a name in a message


def describe_name(name: bytes) -> str:
    """Return a member's name as a message shows it."""
    return "/" + clipped(name.removeprefix(b"./").lstrip(b"/"))


def clipped(name: bytes) -> str:
    """Return the start of a name as it is in the archive."""
    return printable(name[:_SHOWN])[1:] + ("..." if len(name) > _SHOWN else "")


def find_excess(path: bytes) -> str:
    """Return what is too long for Linux in a member's path, which tar unpacks as ./path; "" if nothing is."""
    longest = max(map(len, path.split(b"/")))
    if len(path) + 2 > PATH_MAX:
        return f"a path of {len(path) + 2} bytes, the limit is {PATH_MAX}"
    return f"a name of {longest} bytes, the limit is {NAME_MAX}" if longest > NAME_MAX else ""
