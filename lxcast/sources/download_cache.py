"""Downloads that are read more than once, in the user's cache directory, each named by its digest.

The directory is $XDG_CACHE_HOME/lxcast/downloads; the XDG base directory specification's default is ~/.cache.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lxcast import durable
from lxcast.compression import Readable
from lxcast.errors import ArchiveError, StorageError

_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A stored download; `size` in bytes, `used` in seconds since 1970."""

    path: Path
    sha256: str
    size: int
    used: float


def cache_directory() -> Path:
    """Return the directory of the downloads, which may not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.cache"
    return Path(cache, "lxcast", "downloads")


def list_downloads() -> list[CachedFile]:
    """Return the downloads, the most recently used first."""
    found = []
    for path in cache_directory().glob("*"):
        if re.fullmatch("[0-9a-f]{64}", path.name):
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append(CachedFile(path, path.name, state.st_size, state.st_mtime))
    return sorted(found, key=lambda each: -each.used)


def prune(days: int) -> list[CachedFile]:
    """Remove downloads that were not used for some days, and the remains of interrupted ones; return the former."""
    removed = [each for each in list_downloads() if each.used <= time.time() - days * 86400]
    for each in removed:
        with durable.explained(each.path):
            each.path.unlink(missing_ok=True)
    durable.sweep(cache_directory())
    return removed


def find(sha256: str) -> Path | None:
    """Return the download with that digest; None if it does not exist or was changed."""
    path = cache_directory() / sha256
    try:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        os.utime(path)
    except OSError:
        return None
    return path if whole else None


def store(stream: Readable, name: str, expected: str, digest: Callable[[], str]) -> Path:
    """Write a stream into the cache and return its path; `name` is for messages.

    `digest` returns the SHA-256 of the bytes read so far; `expected` is the required one, "" to accept any. Raises
    ArchiveError if they differ, StorageError if the directory cannot be written.
    """
    directory = cache_directory()
    try:
        with durable.explained(directory):
            # Closed to others: a file behind a password must not be readable here without it.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.sweep(directory)
        with durable.Temporary(directory) as file:
            buffer = memoryview(bytearray(_READ))
            while got := stream.readinto(buffer):
                file.write(buffer[:got])
            require_digest(name, expected, digest())
            file.sync()
            durable.replace(file.path, directory / digest())
    except StorageError as error:
        error.hint = f"{name} is read twice, so it is kept there; set XDG_CACHE_HOME to use another directory"
        raise
    return directory / digest()


def require_digest(name: str, expected: str, found: str) -> None:
    """Raise ArchiveError if a download does not have the expected digest ("" accepts any)."""
    if expected and found != expected:
        raise ArchiveError(
            f"{name}: has sha256 {found}, expected {expected}",
            hint="the file on the server changed or was damaged on the way; else correct --sha256",
        )
