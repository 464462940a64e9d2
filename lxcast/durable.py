"""Files that exist completely or not at all, and names that are given once.

A file is written under a temporary name in its own directory, synced to disk, and then gets its name in one step that
cannot overwrite. Its writer holds a lock (flock(2)) on it: the kernel releases the lock when the process dies, however
it dies, so a file with a temporary name and no lock is left over and can be removed.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lxcast.errors import StorageError
from lxcast.interrupt import Interrupted

# Proxmox lists a directory by a glob that skips dot files, and takes only known suffixes (PVE/Storage.pm).
_PREFIX, _SUFFIX = ".lxcast-", ".tmp"

Way = Callable[[Path, Path], None]
"""Gives a temporary file its name; raises FileExistsError where the name is taken, OSError where it cannot."""


class Temporary:
    """A new file without a name of its own yet; leaving the context removes it unless it was given one."""

    def __init__(self, directory: Path) -> None:
        """Create it in a directory. Raises StorageError if the directory cannot be written."""
        self.directory = directory
        self.size = 0
        """Bytes written."""
        self._fd = -1
        with explained(directory):
            while self._fd < 0:
                self._create(directory / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}")

    def _create(self, path: Path) -> None:
        """Create and lock the file; if a sweep removes it in between, there is none."""
        self.path = path
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            if lock(fd) is not False and os.fstat(fd).st_nlink:
                self._fd = fd
            else:
                os.close(fd)
        except Interrupted:
            path.unlink(missing_ok=True)
            raise

    def __del__(self) -> None:
        # An interrupt can come before the caller has entered the context.
        self.close()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of `data` (a view must be of bytes); StorageError where the disk is full or fails."""
        view = memoryview(data)
        while view:
            with explained(self.directory, written=self.size):
                done = os.write(self._fd, view)
            self.size += done
            view = view[done:]
        return len(data)

    def fill(self, at: int, data: bytes) -> None:
        """Overwrite the bytes at an offset with `data`."""
        with explained(self.directory, written=self.size):
            done = 0
            while done < len(data):
                done += os.pwrite(self._fd, data[done:], at + done)

    def sha256(self) -> str:
        """Return the digest of what was written, in hexadecimal digits."""
        import hashlib  # OpenSSL costs the data source 5 ms

        digest, at = hashlib.sha256(), 0
        buffer = memoryview(bytearray(1 << 20))
        with explained(self.directory):
            while got := os.preadv(self._fd, [buffer], at):
                digest.update(buffer[:got])
                at += got
        return digest.hexdigest()

    def clear(self) -> None:
        """Take back everything that was written."""
        with explained(self.directory):
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.ftruncate(self._fd, 0)
        self.size = 0

    def fileno(self) -> int:
        """Return the file's descriptor, open for reading and writing."""
        return self._fd

    def sync(self) -> None:
        """Force what was written to the disk."""
        with explained(self.directory, written=self.size):
            os.fsync(self._fd)

    def close(self) -> None:
        """Close it, and remove it where it still has its temporary name."""
        if self._fd >= 0:
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Temporary":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def lock(fd: int) -> bool | None:
    """Lock an open file without waiting: False where another holds it, None where the filesystem knows no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(directory: Path, pattern: str = f"{_PREFIX}*{_SUFFIX}") -> list[Path]:
    """Remove the files, by default the temporary ones, whose writers are dead; return their paths.

    If the filesystem has no locks nothing is removed: the writer may be alive.
    """
    swept = []
    for path in sorted(directory.glob(pattern)):
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if lock(fd):
                    path.unlink()
                    swept.append(path)
            finally:
                os.close(fd)
    return swept


def hard_link(temporary: Path, target: Path) -> None:
    """link(2): it never replaces, also over NFS."""
    os.link(temporary, target)
    temporary.unlink()


def rename_noreplace(temporary: Path, target: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE, for filesystems without links (vfat, CIFS)."""
    import ctypes  # 3 ms that the data source, which never publishes, does not pay

    if ctypes.CDLL(None, use_errno=True).renameat2(_AT_FDCWD, bytes(temporary), _AT_FDCWD, bytes(target), 1):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


_AT_FDCWD = -100


def exclusive_rename(temporary: Path, target: Path) -> None:
    """Take the name by exclusive creation, then rename over the own empty file.

    The last resort: a process killed between the two leaves an empty file of that name.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        temporary.rename(target)
    except BaseException:
        target.unlink()
        raise


WAYS: tuple[Way, ...] = (hard_link, rename_noreplace, exclusive_rename)

# EPERM: link(2) on a filesystem without links; EINVAL: renameat2(2) flags that the filesystem does not know; EMLINK
# and ENOSYS: limits and kernels; EACCES stays an error, since no other way would help.
_NOT_THIS_WAY = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EINVAL}


def link_new(temporary: Path, target: Path, ways: Sequence[Way] = WAYS) -> None:
    """Give a finished temporary file its name, which must be new, and sync the directory to disk.

    Raises FileExistsError where the name is taken (nothing is changed then), StorageError for anything else.
    """
    with explained(target):
        for way in ways:
            try:
                way(temporary, target)
            except OSError as error:
                if error.errno not in _NOT_THIS_WAY or way is ways[-1]:
                    raise
            else:
                break
    sync_directory(target.parent)


def replace(temporary: Path, target: Path) -> None:
    """Give a finished temporary file a name that may be taken (by the caller's own claim)."""
    with explained(target):
        temporary.replace(target)
    sync_directory(target.parent)


def make_directory(path: Path) -> None:
    """Create a directory and its parents if needed; StorageError if it is a file or cannot be written."""
    try:
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(
            f"{path} exists and is not a directory", hint="name another one, or move the existing file"
        ) from error
    Temporary(path).close()


def create_exclusive(path: Path) -> int:
    """Create an empty file that was not there, lock it, and return its open descriptor.

    Raises FileExistsError where the name is taken, StorageError for anything else.
    """
    with explained(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    lock(fd)
    sync_directory(path.parent)
    return fd


def sync_directory(folder: Path) -> None:
    """Sync the names in a directory to disk; StorageError if that fails."""
    with explained(folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network filesystems cannot do it for a directory; fsync(2) fails with EINVAL then.
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(fd)


@contextmanager
def explained(path: Path, written: int = 0) -> Iterator[None]:
    """Turn an OSError on `path` into a StorageError for people; FileExistsError passes, since it has a meaning."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise _storage_error(error, path, written) from error


def _storage_error(error: OSError, path: Path, written: int) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "the quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
        left = f", {free(path)} bytes are free" if error.errno == errno.ENOSPC else ""
        so_far = f" after {written} bytes" if written else ""
        return StorageError(
            f"{path}: {what}{so_far}{left}", hint="free some space, or name a storage that has more (--storage)"
        )
    if error.errno == errno.EROFS:
        return StorageError(f"{path}: the filesystem is mounted read-only", hint="name another storage (--storage)")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(
            f"{path}: permission denied for user {os.geteuid()}",
            hint="give that user access, or name another storage (--storage)",
        )
    return StorageError(f"{path}: {error.strerror or error}")


def free(path: Path) -> int:
    """Return the bytes that a user may still write where `path` lies; 0 where that cannot be asked."""
    try:
        state = os.statvfs(path if path.is_dir() else path.parent)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize
