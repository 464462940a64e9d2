"""The row of the check table, and the types of its input and its findings."""

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
    """The root filesystem to check, with the relevant settings."""

    survey: Survey
    arch: str = ""
    """The requested architecture as Proxmox names it (amd64, arm64, ...); "" if none was requested."""
    init: Init = "none"
    """What starts a container without an init: nothing, a written init, or Proxmox itself."""
    process: ImageConfig | None = None
    """The process of the image or bundle, which starts if there is no init."""
    dhcp: bool = False
    """Whether a written init configures eth0 with DHCP."""
    image: bool = False
    """Whether Proxmox unpacks an OCI image and starts the image's process."""

    @property
    def managed(self) -> bool:
        """Whether Proxmox configures the container: network, hostname, password and keys.

        A row that uses this reads `distribution.READS`.
        """
        return detect(self.survey).ostype != "unmanaged"

    @property
    def starts_program(self) -> bool:
        """Whether the container runs one program instead of an init system."""
        survey = self.survey
        return is_written(survey) or (self.init != "none" and survey.executable(b"sbin/init") is None)

    @property
    def init_hint(self) -> str:
        """How to start containers of an image without an init; "" if the source names no command."""
        if self.process is None or not self.process.process:
            return ""
        return (
            f"to run {self.process.process[0]} without an init: --init app (Proxmox VE 9.1 and later), or --init auto,"
            " which writes one; to boot a system: install an init in the image, such as systemd-sysv or openrc"
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that a check found.

    The function of a row sets the message and, if they apply, path, level and its own hint. `run_checks` sets `check`,
    the hint of the row and `allowed`.
    """

    message: str
    path: bytes | None = None
    """The member concerned (like `Member.path`); None for the whole filesystem."""
    level: Level = "error"
    hint: str = ""
    check: str = ""
    allowed: str = ""
    """The reason given for allowing it; an allowed finding does not fail a build."""

    @property
    def fails(self) -> bool:
        """Whether the finding fails a build."""
        return self.level == "error" and not self.allowed

    @property
    def sentence(self) -> str:
        """Check, path and message in one line."""
        path = "" if self.path is None else f"{printable(self.path)}: "
        return f"{self.check}: {path}{self.message}"

    @property
    def text(self) -> str:
        """The sentence, followed by lines with the hint or with the reason for allowing it."""
        below = f"reason: {self.allowed}" if self.allowed else self.hint
        return self.sentence + "".join(f"\n         {line}" for line in below.splitlines())

    def as_dict(self) -> dict[str, str]:
        """Return the finding as in the record and in --json, without empty keys."""
        path = "" if self.path is None else printable(self.path)
        values = {"check": self.check, "level": self.level, "message": self.message, "path": path, "hint": self.hint}
        values["allowed"] = self.allowed
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the check table."""

    id: str
    group: Group
    heading: str
    why: str
    """The outside fact on which the check is based, with its source."""
    find: Callable[[Subject], Iterable[Finding]]
    hint: str = ""
    """The hint for findings without their own."""
    archive: bool = False
    """Whether the check concerns the archive itself, and so applies to an archive that holds no root filesystem."""
    reads: tuple[str, ...] = ()
    """Patterns (`lxcast.rootfs.globs`) of the small files whose text the survey keeps for the check."""
