"""A stream that is compared with its digest."""

import hashlib
from collections.abc import Callable

from lxcast.compression import Readable
from lxcast.oci.layout import DAMAGED, verify


class Verified:
    """A stream whose digest is compared at its end; with the digest "" nothing is compared."""

    def __init__(
        self,
        raw: Readable,
        digest: str,
        name: str,
        count: Callable[[int], None] | None = None,
        hint: str = DAMAGED,
    ) -> None:
        self._raw, self._digest, self._name, self._count, self._hint = raw, digest, name, count, hint
        self._hash = hashlib.new(digest.partition(":")[0]) if digest else None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`."""
        got = self._raw.readinto(buffer) or 0
        self.take(buffer[:got])
        return got

    def take(self, data: memoryview) -> None:
        """Take bytes that were read from the stream elsewhere."""
        if self._hash:
            self._hash.update(data)
        if self._count:
            self._count(len(data))

    def finish(self) -> None:
        """Read the rest, and compare. Raises ArchiveError."""
        if self._hash:
            buffer = memoryview(bytearray(1 << 20))
            while self.readinto(buffer):
                pass
            verify(self._name, self._digest, self._hash.hexdigest(), self._hint)
