"""A stream whose start is inspected before it is read."""

from typing import Generic, TypeVar

from lxcast.compression import Readable

R = TypeVar("R", bound=Readable)


class Replay(Generic[R]):
    """A stream whose start is kept until `rewind`, and then read again."""

    def __init__(self, raw: R) -> None:
        self.raw = raw
        self.start = bytearray()
        """The bytes read before `rewind`, without those read again since."""
        self._rewound = False

    def rewind(self) -> None:
        """Go back to the start, once."""
        self._rewound = True

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`; return the number of bytes, 0 at the end."""
        if self._rewound and self.start:
            count = min(len(buffer), len(self.start))
            buffer[:count] = self.start[:count]
            del self.start[:count]
            return count
        got = self.raw.readinto(buffer) or 0
        if not self._rewound:
            self.start += buffer[:got]
        return got
