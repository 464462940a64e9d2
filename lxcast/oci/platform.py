"""What an image is for: operating system, architecture and variant, by Go's names, as OCI's descriptors have them."""

import platform as this
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxcast.errors import UsageError
from lxcast.identifiers import one_line

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
"""The default of containerd (platforms/database.go)."""


_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform; "" if not set."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read "linux/arm64/v8", "linux/amd64" or "amd64"; UsageError for anything else."""
        parts = text.lower().split("/")
        parts = ["linux", *parts] if len(parts) == 1 else parts
        if not 2 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
            raise UsageError(
                f"--platform {text}: invalid platform", hint="write OS/ARCH[/VARIANT], such as linux/arm64"
            )
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
        return cls(parts[0], architecture, parts[2] if len(parts) == 3 else variant)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Platform":
        """Return what a descriptor's platform, or an image's config, says."""
        return cls(*(f"{data.get(key) or ''!s:.40}" for key in ("os", "architecture", "variant")))

    @classmethod
    def machine(cls) -> "Platform":
        """Return this machine's."""
        return cls.parse(f"linux/{this.machine()}")

    def takes(self, other: "Platform") -> bool:
        """Return whether `other` is this platform; the default variant is the usual one of the architecture."""
        usual = _VARIANTS.get(self.architecture, "")
        return (self.os, self.architecture, self.variant or usual) == (
            other.os,
            other.architecture,
            other.variant or usual,
        )

    def __str__(self) -> str:
        return one_line("/".join(filter(None, (self.os, self.architecture, self.variant))))
