"""The reader of the rpm database in SQLite. Berkeley DB and ndb are reported as not read."""

import sqlite3
import struct

from lxcast.model import Package
from lxcast.rootfs.inventory.package import UnreadableError

_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1014, 1022, 1044
_INT32, _STRING, _I18N = 4, 6, 9
_ENTRY = struct.Struct(">4I")  # tag, type, offset, count
_MOST_ENTRIES = 1 << 16
_JOURNAL_MODE = slice(18, 20)
"""Bytes of the SQLite header that say whether the file is in WAL mode (fileformat2.html)."""


def parse_rpm(path: bytes, content: bytes) -> list[Package]:
    """Read the headers in the table Packages of rpmdb.sqlite."""
    if path.endswith(b"-wal"):
        if content:
            raise UnreadableError("contains changes that are not yet in rpmdb.sqlite")
        return []
    if not path.endswith(b".sqlite"):
        raise UnreadableError("is an rpm database in Berkeley DB or ndb format, which lxcast does not read")
    if not content.startswith(b"SQLite format 3\0"):
        raise UnreadableError("is not an SQLite database")
    data = bytearray(content)
    data[_JOURNAL_MODE] = b"\1\1"  # a file in WAL mode cannot be opened in memory
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(bytes(data))
        blobs = [row[0] for row in connection.execute("SELECT blob FROM Packages ORDER BY hnum")]
    except sqlite3.Error as error:
        raise UnreadableError(f"cannot be read: {error}") from error
    finally:
        connection.close()
    packages = []
    for blob in blobs:
        try:
            fields = _read_header(blob)
        except (struct.error, ValueError, TypeError, IndexError) as error:
            raise UnreadableError(f"a package header is damaged: {error}") from error
        if fields[_NAME] == "gpg-pubkey":
            continue  # a key that rpm keeps as a package
        epoch = f"{fields[_EPOCH]}:" if fields.get(_EPOCH) else ""
        packages.append(
            Package(
                "rpm",
                fields[_NAME],
                f"{epoch}{fields[_VERSION]}-{fields[_RELEASE]}",
                fields.get(_SOURCE, ""),
                fields.get(_LICENSE, ""),
                fields.get(_ARCH, ""),
            )
        )
    return packages


def _read_header(blob: bytes) -> dict[int, str]:
    """Return the known tags of an rpm header: two counts, index entries, then the data (rpm, header.c)."""
    entries, size = struct.unpack_from(">2I", blob)
    if entries > _MOST_ENTRIES or 8 + 16 * entries + size > len(blob):
        raise ValueError("wrong lengths")
    start = 8 + 16 * entries
    fields = {}
    for number in range(entries):
        tag, kind, offset, _ = _ENTRY.unpack_from(blob, 8 + 16 * number)
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE):
            continue
        at = start + offset
        if kind in (_STRING, _I18N):
            fields[tag] = blob[at : blob.index(b"\0", at)].decode("utf-8", "replace")
        elif kind == _INT32:
            fields[tag] = str(struct.unpack_from(">I", blob, at)[0])
    missing = {_NAME, _VERSION, _RELEASE} - fields.keys()
    if missing:
        raise ValueError(f"the tag {min(missing)} is missing")
    if fields.get(_EPOCH) == "0":
        del fields[_EPOCH]
    return fields
