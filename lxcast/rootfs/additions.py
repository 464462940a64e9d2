"""Files of the host that are added to a template: `--add HOST:PATH[:MODE]`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from lxcast.errors import SourceError, UsageError
from lxcast.tar.member import HEAD, REG, Member, directory, symlink

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Addition:
    """A file or directory of the host and its path in the template (like `Member.path`; b"" is the root).

    A directory adds its content. `mode` applies to regular files; None means 0755 if the owner may execute the file and
    0644 otherwise, so that the umask of a checkout does not affect the bytes of the template.
    """

    host: Path
    path: bytes
    mode: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Addition":
        """Parse HOST:PATH[:MODE]: PATH is absolute without a colon, MODE is octal, PATH/ adds a file to that directory.

        Raises UsageError.
        """
        match = re.fullmatch(r"(.+?):(/[^:]*)(?::([0-7]{3,4}))?", text, re.DOTALL)
        parts = [part for part in match[2].split("/") if part] if match else []
        if match is None or {".", ".."} & set(parts):
            raise UsageError(
                f"invalid --add {text!r}: expected HOST:PATH[:MODE]",
                hint="PATH is absolute, without '.', '..' and ':'; MODE is octal: --add motd:/etc/motd:0644",
            )
        host = Path(match[1])
        if match[2].endswith("/") and not host.is_dir():
            parts.append(host.name)
        return cls(host, "/".join(parts).encode("utf-8", "surrogateescape"), int(match[3], 8) if match[3] else None)


def parse_additions(texts: Iterable[str]) -> tuple[Addition, ...]:
    """Return the additions that --add names. Raises UsageError with every problem."""
    additions, errors = [], []
    for text in texts:
        try:
            additions.append(Addition.parse(text))
        except UsageError as error:
            errors.append(error)
    if errors:
        raise UsageError("\n".join(error.message for error in errors), hint=errors[0].hint)
    return tuple(additions)


def read_additions(additions: Iterable[Addition], epoch: int) -> list[Member]:
    """Return the members for the additions, owned by root with mtime `epoch`; the last of equal paths counts.

    Bodies are read when they are written, but each file is opened now to prove that it is readable. A link given as
    HOST is followed; links below a directory are added as links. Raises UsageError with every problem.
    """
    members: dict[bytes, Member] = {}
    problems: list[str] = []
    for addition in additions:
        for host in _walk(addition.host):
            below = str(host.relative_to(addition.host)).encode("utf-8", "surrogateescape")
            path = addition.path if below == b"." else b"/".join(filter(None, (addition.path, below)))
            try:
                member = _member(host, path, addition.mode, epoch, follow=below == b".")
            except OSError as error:
                problems.append(f"--add {host}: {error.strerror}")
            except ValueError as error:
                problems.append(f"--add {host}: {error}")
            else:
                members[path] = member
    members.pop(b"", None)
    if problems:
        raise UsageError("; ".join(problems), hint="nothing was built; correct the --add options")
    return list(members.values())


def _walk(host: Path) -> Iterator[Path]:
    """Yield a path and everything below it in name order, following no link but `host` itself."""
    yield host
    if host.is_dir():
        for child in sorted(host.iterdir()):
            if child.is_symlink():
                yield child
            else:
                yield from _walk(child)


def _member(host: Path, path: bytes, mode: int | None, epoch: int, *, follow: bool) -> Member:
    status = host.stat(follow_symlinks=follow)
    if S_ISLNK(status.st_mode):
        return symlink(path, str(host.readlink()).encode("utf-8", "surrogateescape"), epoch)
    if S_ISDIR(status.st_mode):
        return directory(path, 0o755, epoch)
    if not S_ISREG(status.st_mode):
        raise ValueError("expected a file, directory or link")
    if not path:
        raise ValueError("the path of a file must be below the root")
    body = _HostFile(host, status.st_size)
    body.head()
    kept = mode if mode is not None else 0o755 if status.st_mode & 0o100 else 0o644
    return Member(path, REG, kept, size=status.st_size, mtime=epoch, body=body)


class _HostFile:
    """The body of a file on the host, opened when it is read; its buffer is empty."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.buffer = memoryview(b"")
        self.at = self.filled = 0

    def head(self) -> memoryview:
        with self.path.open("rb") as file:
            return memoryview(file.read(HEAD))

    def chunks(self) -> Iterator[memoryview]:
        left = self.size
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    break
                yield memoryview(chunk)
        if left:
            raise SourceError(
                f"--add {self.path}: the size changed while the file was read (expected {self.size} bytes)",
                hint="build again when no program writes to it",
            )
