"""Every error that lxcast raises, with the exit code of the command that met it.

    LxcastError                  1
    ├── UsageError               2   an option, a name, a pattern or a setting is wrong
    ├── SourceError              3   a source is missing, cannot be read, or is of no known kind
    │   ├── ArchiveError         4   an archive is truncated, malformed or hostile
    │   └── EngineError          8   the container engine is missing, refuses, or failed
    ├── CheckError               5   the template would not be accepted, would not boot, or breaks the policy
    ├── StorageError             6   a storage cannot be read or written, or is full
    │   └── ConflictError        7   the name is taken by other bytes; lxcast never replaces
    ├── ApiError                 9   the Proxmox API refuses, fails, or cannot be reached
    │   └── UnprovenError       10   an upload ended, but that it holds our bytes cannot be shown
    ├── PinError                11   a pin in HCL or tfvars is missing, ambiguous, or cannot be edited
    ├── ContainerError          12   a container failed to start, failed its verification, or cannot be removed
    └── EvidenceError          13   a signature, statement, SBOM or report is missing, malformed, or does not verify

A message says what failed, on which object, with both values; the hint says what to do next. An interrupt
(SIGHUP, Ctrl-C, SIGTERM) ends a command with 129, 130 or 143 and is not an LxcastError.
"""

import os
from os import PathLike

SHOWN = 20
"""Problems that one message lists at most."""

_LONGEST = 400
"""Characters of one problem: a file of foreign keys must not flood the terminal."""


def join_problems(problems: list[str]) -> str:
    """Return problems as the lines of one message: the first ones, each cut to a limit, and how many more there are."""
    lines = [each if len(each) <= _LONGEST else f"{each[:_LONGEST]}..." for each in problems[:SHOWN]]
    return "\n".join([*lines, f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else lines)


class LxcastError(Exception):
    """The root of the tree: `message` for people, `hint` for their next step."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def with_hint(self, hint: str) -> "LxcastError":
        """Return a copy with another hint, for a caller that knows the next step: `raise error.with_hint(...)`."""
        kind = type(self)
        other = kind.__new__(kind, *self.args)
        other.__dict__.update(self.__dict__, hint=hint)
        return other


class UsageError(LxcastError):
    """An option, a name, a pattern or a setting is wrong: nothing was done."""

    exit_code = 2


class SourceError(LxcastError):
    """A source is missing, cannot be read, or is of no known kind."""

    exit_code = 3


class ArchiveError(SourceError):
    """An archive is truncated, malformed or hostile; the message names the member."""

    exit_code = 4


class EngineError(SourceError):
    """The container engine is missing, refuses, or failed."""

    exit_code = 8


class CheckError(LxcastError):
    """Checks found errors; the message holds every one of them."""

    exit_code = 5


class StorageError(LxcastError):
    """A storage cannot be read or written, or is full."""

    exit_code = 6


class ConflictError(StorageError):
    """The name is taken by other bytes."""

    exit_code = 7


class ApiError(LxcastError):
    """The Proxmox API, or the web server that nodes fetch from, refuses, fails, or cannot be reached."""

    exit_code = 9

    def __init__(self, message: str, *, hint: str = "", status: int = 0, lost: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        """Of HTTP; 0 where no answer came."""
        self.lost = lost
        """Whether the connection broke or timed out: what became of the request is not known."""


class UnprovenError(ApiError):
    """An upload ended, but that it holds our bytes cannot be shown."""

    exit_code = 10


class PinError(LxcastError):
    """A pin in HCL or tfvars is missing, ambiguous, or cannot be edited."""

    exit_code = 11


class ContainerError(LxcastError):
    """A container failed to start, failed its verification, or cannot be removed."""

    exit_code = 12


class EvidenceError(LxcastError):
    """A signature, statement, SBOM or report is missing, malformed, or does not verify."""

    exit_code = 13


def of_system(error: OSError) -> LxcastError:
    """Return the error for a failure of the system that nothing else explained: the reason, and the file."""
    reason = (error.strerror or str(error)).lower()
    named = [
        os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes | PathLike)
    ]
    hint = "use a path that you may read and write, or run the command as another user"
    return LxcastError(
        f"{join_problems([' -> '.join(named)]) if named else 'the system reports'}: {reason}",
        hint=hint if isinstance(error, PermissionError) else "",
    )
