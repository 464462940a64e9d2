"""The values of a header: numbers, extended attributes and ACLs, read and checked."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from lxcast.tar.header import XATTR, number

_KEPT_XATTRS = (b"user.", b"security.capability")  # `--xattrs-include` of Proxmox's tar (PVE/LXC/Create.pm)
_IDS, _FAR = 1 << 32, 1 << 63
_DECIMAL = re.compile(rb"(-?)0*([0-9]{1,20})(?:\.([0-9]*))?\Z")


def size(field: bytes) -> int:
    """Read a size in bytes. Raises ValueError."""
    size = number(field)
    require(size=size)
    return size


def time(field: bytes) -> int:
    """Read a time in seconds. Raises ValueError."""
    mtime = number(field)
    require(mtime=mtime)
    return mtime


def owner(fields: bytes) -> tuple[int, int, int]:
    """Read (permission bits, uid, gid), which follow each other. Raises ValueError."""
    mode, uid, gid = (number(fields[at : at + 8]) for at in (0, 8, 16))
    require(uid=uid, gid=gid)
    return mode & 0o7777, uid, gid


def require(size: int = 0, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
    """Raise ValueError for numbers out of range: uid_t has 32 bits, off_t and time_t have 64."""
    if not (0 <= size < _FAR and 0 <= uid < _IDS and 0 <= gid < _IDS and -_FAR <= mtime < _FAR):
        raise ValueError(f"size {size}, owner {uid}:{gid}, time {mtime} s")


def count(value: bytes) -> int:
    """Read a pax number that cannot have a fraction: a size, an owner. Raises ValueError."""
    if b"." in value:
        raise ValueError(f"{value[:40]!r} is not a whole number")
    return whole(value)


def whole(value: bytes) -> int:
    """Read a pax number; a fraction of a second is rounded down."""
    seconds, point, fraction = value.partition(b".")
    if seconds.isdigit() and len(seconds) < 20 and (not point or fraction.isdigit()):
        return int(seconds)  # the usual form, tested as fast as possible
    match = _DECIMAL.match(value)
    if match is None:
        raise ValueError(f"{value[:40]!r} is not a number")
    return -int(match[2]) - bool(int(match[3] or b"0")) if match[1] else int(match[2])


def xattrs(records: dict[bytes, bytes]) -> dict[bytes, bytes] | None:
    """Return the extended attributes and ACLs that a container keeps, in the order of their names."""
    found: dict[bytes, bytes] = {}
    for key, value in records.items():
        if key.startswith(XATTR):
            # GNU tar's way to put "=" into a key (xattr_encode_keyword in its xheader.c)
            name = key[len(XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")
        elif key.startswith(b"LIBARCHIVE.xattr."):
            name = unquote_to_bytes(key[17:])
            try:
                value = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except binascii.Error as error:
                raise ValueError(f"{key!r} is not base64: {error}") from error
        elif key in (b"SCHILY.acl.access", b"SCHILY.acl.default"):
            found[key] = _acl(value)
            continue
        else:
            continue
        if b"\0" in name:
            raise ValueError(f"{key!r} contains a NUL byte")
        if name.startswith(_KEPT_XATTRS):
            found.setdefault(name, value)
    return dict(sorted(found.items())) or None


def _acl(value: bytes) -> bytes:
    """Return an ACL's text with commas between its entries, and with numbers instead of names if it has both.

    GNU tar writes lines (acl_to_text(3)); star and libarchive append the id to an entry, user:NAME:rw-:ID.
    """
    entries = []
    for entry in value.replace(b"\n", b",").split(b","):
        fields = entry.strip().split(b":")
        if len(fields) == 4 and fields[3].isdigit():
            fields = [fields[0], fields[3], fields[2]]
        entries.append(b":".join(fields))
    return b",".join(filter(None, entries))
