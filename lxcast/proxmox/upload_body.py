"""The body of an upload, exactly as Proxmox's hand-written parser requires it.

The parser runs once for each TLS record that arrives (pve-http-server, PVE/APIServer/AnyEvent.pm,
file_upload_multipart), so that not only the bytes matter but also where a write ends: the fields and the whole header
of the file's part go in one write, and nothing, not even the usual line end, follows the closing delimiter. With that
line end in a record of its own the server handles the upload twice, and can remove the file after reporting success.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import StorageError

_VIEW = 1 << 18
"""Bytes read and sent at a time: they are still in the core's own cache when TLS encrypts them."""

Stamp = tuple[int, int, int]


def stamp(fd: int) -> Stamp:
    """Return inode, size and mtime (ns) of an open file, which change when it is written to or replaced."""
    state = os.fstat(fd)
    return state.st_ino, state.st_size, state.st_mtime_ns


@dataclass(frozen=True, slots=True)
class File:
    """A finished file, with the digest of its bytes."""

    path: Path
    name: str
    """The file's name on the storage."""
    size: int
    sha256: str
    stamp: Stamp


class UploadBody:
    """An iterable of exactly `len` bytes, read from the file while it is sent, in views of 256 KiB.

    It has no read(): http.client would split the body into blocks of its own. `advance` gets the number of bytes handed
    over. Iterating raises StorageError, before the closing delimiter is sent, if the file changed.
    """

    def __init__(self, file: File, advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance
        boundary = f"lxcast{os.urandom(16).hex()}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        fields = {"content": "vztmpl", "checksum-algorithm": "sha256", "checksum": file.sha256}
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="filename"; filename="{file.name}"\r\n\r\n'
        self._head = head.encode("ascii")
        self._tail = f"\r\n--{boundary}--".encode("ascii")

    def __len__(self) -> int:
        return len(self._head) + self._file.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._head
        yield from _views(self._file, self._advance)
        yield self._tail


class FileBody:
    """An iterable of a file's bytes, as the body of a PUT; otherwise like UploadBody."""

    def __init__(self, file: File, advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def __len__(self) -> int:
        return self._file.size

    def __iter__(self) -> Iterator[memoryview]:
        return _views(self._file, self._advance)


def _views(file: File, advance: Callable[[int], None]) -> Iterator[memoryview]:
    """Yield the file's bytes in views of 256 KiB, the last one only if the file has not changed."""
    with file.path.open("rb", buffering=0) as source:
        view = memoryview(bytearray(_VIEW))
        left = file.size
        while left:
            got = source.readinto(view[: min(left, _VIEW)])
            left -= got
            if not got or (not left and stamp(source.fileno()) != file.stamp):
                raise StorageError(
                    f"{file.path} changed while it was sent; the upload was aborted",
                    hint="make sure that nothing writes to it, and publish it again",
                )
            yield view[:got]
            advance(got)
