"""A file that people keep in Git, changed by one writer at a time, whole or not at all."""

import difflib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from lxcast import durable
from lxcast.errors import PinError, StorageError
from lxcast.references.files import read_file

_LONGEST = 1000
"""Lines of a difference that are shown: a file that is sorted for the first time would flood the terminal."""

PATIENCE = 30.0
"""Seconds to wait for another writer."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a file held and what it holds, or would hold."""

    path: Path
    before: bytes
    after: bytes

    @property
    def changed(self) -> bool:
        """Whether there is any difference."""
        return self.before != self.after

    def diff(self) -> str:
        """Return a unified diff for people, "" without a difference; carriage returns at line ends are left out."""
        before, after = _lines(self.before), _lines(self.after)
        lines = list(difflib.unified_diff(before, after, f"{self.path}", f"{self.path}", lineterm=""))
        hidden = len(lines) - _LONGEST
        return "\n".join([*lines[:_LONGEST], f"... and {hidden} more lines"] if hidden > 0 else lines)


def _lines(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in data.decode(errors="replace").split("\n")]
    last = lines.pop()
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines


def edit(path: Path, make: Callable[[bytes], bytes], *, write: bool = True, create: bool = False) -> Change:
    """Replace a file's bytes by what `make` returns for them, while no other lxcast writes in its directory.

    The file is replaced in one step and keeps mode, owner and extended attributes; a symbolic link stays and the file
    that it points to changes. A file that has several hard links, or whose owner or directory does not allow that, is
    written in place. Without `write` nothing is changed. With `create` a missing file is created, from b"".
    Raises PinError if the file cannot be read or written, and if another program changed it meanwhile.
    """
    target = Path(os.path.realpath(path))
    if create and not target.parent.is_dir():
        raise PinError(f"{path}: {target.parent} is not a directory", hint="create the directory first")
    with _locked(path, target.parent) if write else nullcontext():
        with _explained(path):
            before, state = _read(path, target, create)
        change = Change(path, before, make(before))
        if write and change.changed:
            with _explained(path):
                _write(change, target, state)
    return change


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of the system into a PinError."""
    try:
        yield
    except StorageError as error:
        raise PinError(error.message, hint=f"{path} was not changed") from error
    except OSError as error:
        raise PinError(f"{path}: {error.strerror or error}", hint="name an HCL file or a pin file") from error


@contextmanager
def _locked(path: Path, directory: Path) -> Iterator[None]:
    """Hold the lock of a directory: the file itself is replaced, and a lock file would be litter."""
    with _explained(path):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + PATIENCE
        while durable.lock(fd) is False:
            if time.monotonic() > deadline:
                raise PinError(
                    f"{directory}: another process has held its lock for {PATIENCE:.0f} seconds",
                    hint=f"find the process: fuser {directory}",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _read(path: Path, target: Path, create: bool) -> tuple[bytes, os.stat_result | None]:
    try:
        state = target.stat()
        return read_file(target if stat.S_ISREG(state.st_mode) else path), state
    except FileNotFoundError:
        if create:
            return b"", None
        raise


def _write(change: Change, target: Path, state: os.stat_result | None) -> None:
    if state is not None and not _may(target, os.W_OK):
        raise PinError(f"{change.path} is not writable by user {os.geteuid()}", hint=f"chmod u+w {change.path}")
    if state is None or (state.st_nlink == 1 and _may(target.parent, os.W_OK | os.X_OK)):
        durable.sweep(target.parent)
        with durable.Temporary(target.parent) as temporary:
            temporary.write(change.after)
            if state is None or _copies_metadata(temporary.fileno(), target, state):
                temporary.sync()
                _require_unchanged(change, target)
                durable.replace(temporary.path, target)
                return
    _write_in_place(change, target)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _require_unchanged(change: Change, target: Path) -> None:
    now = read_file(target) if target.exists() else b""
    if now != change.before:
        raise PinError(f"{change.path} was changed by another program", hint="review it, then try again")


def _write_in_place(change: Change, target: Path) -> None:
    """Overwrite a file's bytes; space for them is taken first, so that a full disk does not cut the file off."""
    _require_unchanged(change, target)
    fd = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if len(change.after) > len(change.before):
            try:
                os.posix_fallocate(fd, 0, len(change.after))
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        done = 0
        while done < len(change.after):
            done += os.pwrite(fd, change.after[done:], done)
        os.ftruncate(fd, len(change.after))
        os.fsync(fd)
    finally:
        os.close(fd)


def _copies_metadata(fd: int, target: Path, state: os.stat_result) -> bool:
    """Give a new file the owner, mode and extended attributes of the one it replaces; False if that is not allowed."""
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (state.st_uid, state.st_gid):
        try:
            os.fchown(fd, state.st_uid, state.st_gid)
        except PermissionError:
            return False
    os.fchmod(fd, stat.S_IMODE(state.st_mode))
    with suppress(OSError):  # a filesystem without them
        for name in os.listxattr(target):
            with suppress(OSError):  # those of security modules
                os.setxattr(fd, name, os.getxattr(target, name))
    return True
