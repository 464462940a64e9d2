"""Every member of a tar kept: read, written in its canonical form, compressed, with one digest or both.

Run as `python -m bench.keep ARCHIVE OUT FORMAT one|both`; one is the digest of the file, as the baseline has it.
"""

import hashlib
import sys
from pathlib import Path

from lxcast import compression
from lxcast.tar.reader import Reader
from lxcast.tar.writer import Writer


def main(source: str, target: str, format: str, digests: str) -> None:
    """Convert one archive."""
    content, artifact = hashlib.sha256(), hashlib.sha256()
    with Path(source).open("rb", buffering=0) as raw, Path(target).open("wb", buffering=0) as file:

        class Out:
            def write(self, data: bytes) -> int:
                artifact.update(data)
                return file.write(data)

            def flush(self) -> None:
                pass

        compressor = compression.compress(Out(), format)  # type: ignore[arg-type] # it writes and flushes, no more

        def take(data: memoryview | bytes) -> None:
            if digests == "both":
                content.update(data)
            compressor.write(data)

        reader, writer = Reader(raw, source), Writer(take)
        reader.before_refill = writer.flush
        for member in reader:
            writer.add(member)
        writer.finish()
        compressor.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
