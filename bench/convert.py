"""A tar read, written in its canonical form and compressed, with one digest or both, and no more.

Run as `python -m bench.convert ARCHIVE OUT FORMAT one|both none|cleanup`: one digest is the file's, as the baseline has
it; `cleanup` leaves out what the cleanup table does by default.
"""

import hashlib
import sys
from pathlib import Path

from lxcast import compression
from lxcast.rootfs.cleanup import Cleanup
from lxcast.rootfs.operations import OPERATIONS
from lxcast.tar.reader import Reader
from lxcast.tar.writer import Writer


class Out:
    """A file with a digest."""

    def __init__(self, path: str) -> None:
        self.digest = hashlib.sha256()
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115 - it is open as long as the program runs

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""


def clean(reader: Reader, writer: Writer) -> None:
    """Write what the cleanup table leaves."""
    cleanup = Cleanup(row for row in OPERATIONS if row.default)
    for member in reader:
        hit = cleanup.action(member.path, member.type)
        if hit is None:
            writer.add(member)
        elif hit.verb == "truncate":
            writer.add(member.changed(size=0, body=b"", sparse=None))


def main(source: str, target: str, format: str, digests: str, rows: str) -> None:
    """Convert one archive."""
    content = hashlib.sha256()
    compressor = compression.compress(Out(target), format)  # type: ignore[arg-type] # it writes and flushes, no more

    def take(data: memoryview | bytes) -> None:
        if digests == "both":
            content.update(data)
        compressor.write(data)

    with Path(source).open("rb", buffering=0) as raw:
        reader, writer = Reader(raw, source), Writer(take)
        reader.before_refill = writer.flush
        if rows == "none":
            for member in reader:
                writer.add(member)
        else:
            clean(reader, writer)
        writer.finish()
    compressor.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
