"""A file that people keep in Git, changed by one writer at a time, whole or not at all."""

import difflib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from lxcast import durable
from lxcast.errors import PinError, StorageError

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
        """Return a unified diff for people, "" where nothing changed; carriage returns at line ends are left out."""
        before, after = _lines(self.before), _lines(self.after)
        return "\n".join(difflib.unified_diff(before, after, f"{self.path}", f"{self.path}", lineterm=""))


def _lines(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in data.decode(errors="replace").split("\n")]
    last = lines.pop()
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines


def edit(path: Path, make: Callable[[bytes], bytes], *, write: bool = True, create: bool = False) -> Change:
    """Replace a file's bytes by what `make` returns for them, while no other lxcast writes in its folder.

    The file is replaced in one step and keeps mode, owner and extended attributes; a symbolic link stays and the file
    it leads to changes. Without `write` nothing is changed. With `create` a missing file is made, from b"".
    Raises PinError where it cannot be read or written, and where something else changed it meanwhile.
    """
    target = Path(os.path.realpath(path))
    if create and not target.parent.is_dir():
        raise PinError(f"{path}: {target.parent} is not a directory", hint="create the directory first")
    with _alone(path, target.parent) if write else nullcontext():
        with _told(path):
            before, state = _read(path, target, create)
        change = Change(path, before, make(before))
        if write and change.changed:
            with _told(path):
                _replace(change, target, state)
    return change


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system refuses into a PinError."""
    try:
        yield
    except StorageError as error:
        raise PinError(error.message, hint=f"{path} is as it was") from error
    except OSError as error:
        raise PinError(f"{path}: {error.strerror or error}", hint="name an HCL file or a pin file") from error


@contextmanager
def _alone(path: Path, folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: a lock on the file itself would go away with it, one beside it would be litter."""
    with _told(path):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + PATIENCE
        while durable.lock(fd) is False:
            if time.monotonic() > deadline:
                raise PinError(
                    f"{folder}: another process has kept its lock for {PATIENCE:.0f} seconds",
                    hint=f"who it is: fuser {folder}",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _read(path: Path, target: Path, create: bool) -> tuple[bytes, os.stat_result | None]:
    try:
        state = target.stat()
    except FileNotFoundError:
        if create:
            return b"", None
        raise
    if not stat.S_ISREG(state.st_mode):
        raise PinError(f"{path} is no regular file", hint="name the file itself")
    return target.read_bytes(), state


def _replace(change: Change, target: Path, state: os.stat_result | None) -> None:
    if state is not None and not os.access(target, os.W_OK):
        raise PinError(f"{change.path} is not writable by user {os.geteuid()}", hint=f"chmod u+w {change.path}")
    durable.sweep(target.parent)
    with durable.Temporary(target.parent) as temporary:
        temporary.write(change.after)
        if state is not None:
            _dress(temporary.fileno(), target, state)
        temporary.sync()
        now = target.read_bytes() if target.exists() else b""
        if now != change.before:
            raise PinError(f"{change.path} was changed by something else meanwhile", hint="look at it, then try again")
        durable.replace(temporary.path, target)


def _dress(fd: int, target: Path, state: os.stat_result) -> None:
    """Give a new file the owner, mode and extended attributes of the one it replaces."""
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (state.st_uid, state.st_gid):
        os.fchown(fd, state.st_uid, state.st_gid)
    os.fchmod(fd, stat.S_IMODE(state.st_mode))
    with suppress(OSError):  # a filesystem without them
        for name in os.listxattr(target):
            with suppress(OSError):  # the security modules' own
                os.setxattr(fd, name, os.getxattr(target, name))
