"""What a check is: one row of a table, judged against the survey of a root filesystem."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from lxcast.model import ImageConfig
from lxcast.rootfs.distribution import detect
from lxcast.rootfs.init import is_written
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import printable

Init = Literal["none", "auto", "app"]
Group = Literal["proxmox", "identity", "ssh", "secrets", "environment"]
Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: a root filesystem, and what was asked for it."""

    survey: Survey
    arch: str = ""
    """The architecture that was asked for, in Proxmox's words (amd64, arm64, ...); "" where none was."""
    init: Init = "none"
    """What starts the container where there is no init: nothing, a written one, or Proxmox itself."""
    process: ImageConfig | None = None
    """What the image says of the process that is then started."""
    dhcp: bool = False
    """Whether a written init is to bring eth0 up."""

    @property
    def managed(self) -> bool:
        """Whether Proxmox sets the container up: network, hostname, password and keys.

        A row that asks reads `distribution.READS`.
        """
        return detect(self.survey).ostype != "unmanaged"

    @property
    def starts_program(self) -> bool:
        """Whether the container runs one program in the place of an init system."""
        survey = self.survey
        return is_written(survey) or (self.init != "none" and survey.executable(b"sbin/init") is None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    A row's function gives the message and, where they apply, path, level and a hint of its own; `check`, the row's
    hint and `allowed` are filled in by `lxcast.rootfs.checks.run_checks`.
    """

    message: str
    path: bytes | None = None
    """The member that it is about (as `Member.path`); None where it is about the whole filesystem."""
    level: Level = "error"
    hint: str = ""
    check: str = ""
    allowed: str = ""
    """The reason that was given for allowing it; such a finding fails nothing."""

    @property
    def fails(self) -> bool:
        """Whether it stops a build."""
        return self.level == "error" and not self.allowed

    @property
    def sentence(self) -> str:
        """Check, place and message in one line."""
        place = "" if self.path is None else f"{printable(self.path)}: "
        return f"{self.check}: {place}{self.message}"

    @property
    def text(self) -> str:
        """The sentence, and below it the hint, or the reason for which it is allowed."""
        below = f"reason: {self.allowed}" if self.allowed else self.hint
        return self.sentence + "".join(f"\n         {line}" for line in below.splitlines())

    def as_dict(self) -> dict[str, str]:
        """Return it as the record and --json tell it; keys without a value are left out."""
        path = "" if self.path is None else printable(self.path)
        told = {"check": self.check, "level": self.level, "message": self.message, "path": path, "hint": self.hint}
        told["allowed"] = self.allowed
        return {key: value for key, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Check:
    """A row: what is looked for and why it matters."""

    id: str
    group: Group
    heading: str
    why: str
    """The outside fact that the check rests on, with its source."""
    find: Callable[[Subject], Iterable[Finding]]
    hint: str = ""
    """What to do about a finding that has no hint of its own."""
    archive: bool = False
    """Whether it is about the archive itself, and so judged even where that holds no root filesystem."""
    reads: tuple[str, ...] = ()
    """Patterns (`lxcast.rootfs.globs`) of the small files whose text the survey must keep for it."""
