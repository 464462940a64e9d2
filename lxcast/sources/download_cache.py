"""The files that were downloaded to be read more than once, in the user's cache directory, each under its digest.

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
    """A download; `size` in bytes, `used` in seconds since 1970."""

    path: Path
    sha256: str
    size: int
    used: float


def cache_directory() -> Path:
    """Return the directory of the downloads, which may not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.cache"
    return Path(cache, "lxcast", "downloads")


def list_downloads() -> list[CachedFile]:
    """Return the downloads, the last used first."""
    found = []
    for path in cache_directory().glob("*"):
        if re.fullmatch("[0-9a-f]{64}", path.name):
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append(CachedFile(path, path.name, state.st_size, state.st_mtime))
    return sorted(found, key=lambda each: -each.used)


def prune(days: int) -> list[CachedFile]:
    """Remove the downloads that nothing used for so many days, and what interrupted ones left; return the former."""
    removed = [each for each in list_downloads() if each.used <= time.time() - days * 86400]
    for each in removed:
        with durable.explained(each.path):
            each.path.unlink(missing_ok=True)
    durable.sweep(cache_directory())
    return removed


def find(sha256: str) -> Path | None:
    """Return the download of that digest; None where there is none, or its bytes are other ones by now."""
    path = cache_directory() / sha256
    try:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        os.utime(path)
    except OSError:
        return None
    return path if whole else None


def store(stream: Readable, name: str, expected: str, digest: Callable[[], str]) -> Path:
    """Write a stream into the directory and return its path; `name` is for messages.

    `digest` tells the SHA-256 of what was read, and `expected` what it must be, "" for anything. Raises ArchiveError
    where it is not that, StorageError if the directory cannot be written.
    """
    there = cache_directory()
    try:
        with durable.explained(there):
            # Closed to others: what a server gives for a password must not be readable here without it.
            there.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.sweep(there)
        with durable.Temporary(there) as file:
            buffer = memoryview(bytearray(_READ))
            while got := stream.readinto(buffer):
                file.write(buffer[:got])
            require_digest(name, expected, digest())
            file.sync()
            durable.replace(file.path, there / digest())
    except StorageError as error:
        error.hint = f"{name} is read twice, so it is kept there; set XDG_CACHE_HOME to use another directory"
        raise
    return there / digest()


def require_digest(name: str, expected: str, found: str) -> None:
    """Raise ArchiveError where a download has another digest than it must ("" for anything)."""
    if expected and found != expected:
        raise ArchiveError(
            f"{name}: has sha256 {found}, expected was {expected}",
            hint="the file on the server is another one or was damaged on the way; or --sha256 is not its digest",
        )
