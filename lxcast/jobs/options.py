"""What a build is asked for, whoever asks: the command line, the Packer shim, a settings file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxcast.errors import UsageError
from lxcast.settings import BY_NAME, Settings, convert, merge

_MODE = re.compile(r"[0-7]{3,4}")
_VERSION = re.compile(r"next|v[1-9][0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of `lxcast build`, by the names that they have there.

    What they mean and what they may be stands in `lxcast.settings.SETTINGS`. `output` is a folder that takes the place
    of `storage`, which then is None. `version` is "next" or "vN". `arch`, "" for any, is compared with the source's.
    `release_metadata` is None where no release file is wanted. Sizes are in bytes; `threads` 0 is one a processor.

    Raises UsageError with everything that is wrong at once.
    """

    name: str
    storage: str | None = "./storage"
    output: Path | None = None
    version: str = "next"
    pattern: str = "{name}-{version}"
    variant: str = ""
    release: str = ""
    arch: str = ""
    format: str = "zst"
    small: bool = False
    policy: str = "default"
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    allow: Mapping[str, str] = field(default_factory=dict)
    network: str = "none"
    release_metadata: Mapping[str, str] | None = None
    if_changed: bool = False
    dry_run: bool = False
    max_members: int = 5_000_000
    max_size: int = 1 << 40
    threads: int = 0

    def __post_init__(self) -> None:
        problems = [] if self.name else ["--name is empty"]
        for name, row in BY_NAME.items():
            value = getattr(self, name)
            if value is not None:
                try:
                    convert(row, value)
                except ValueError as error:
                    problems.append(f"{row.option} {value}: {error}")
        if self.output is not None and self.storage is not None:
            problems.append(f"--storage {self.storage} and --output {self.output}: a template goes to one of them")
        if not _VERSION.fullmatch(self.version):
            problems.append(f"--version {self.version}: should be next, or a number such as v3")
        for text in self.add:
            try:
                Addition.parse(text)
            except ValueError as error:
                problems.append(f"--add {text}: {error}")
        if problems:
            raise UsageError("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Addition:
    """A file to put into the template: where it is here, the path there (as a member's), and the mode there.

    Without a mode it is 0755 where the owner may execute the file here, else 0644: the rest of a file's mode follows
    the umask of whoever checked it out.
    """

    host: Path
    path: bytes
    mode: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Addition":
        """Read HOST:PATH[:MODE], such as files/motd:/etc/motd:644; only HOST may hold a colon. Raises ValueError."""
        head, colon, last = text.rpartition(":")
        mode = None
        if _MODE.fullmatch(last) and ":" in head:
            mode = int(last, 8)
            head, colon, last = head.rpartition(":")
        parts = last.split("/")
        if not head or not colon or parts[0] or parts[-1] in ("", ".") or ".." in parts or "\0" in text:
            raise ValueError(
                "should be HOST:PATH[:MODE] with PATH as the container sees it, such as motd:/etc/motd:644"
            )
        return cls(Path(head), "/".join(part for part in parts if part not in ("", ".")).encode(), mode)


def build_options(settings: Settings, given: Mapping[str, Any]) -> BuildOptions:
    """Return what a build is asked for: `given`, by the names of BuildOptions, over the settings.

    None in `given` is unsaid. Lists are joined and tables merged, the settings first; `output` takes the place of the
    settings' storage. Raises UsageError with everything that is wrong at once.
    """
    values: dict[str, Any] = dict(settings.values)
    for name, value in given.items():
        if value is not None:
            values[name] = merge(values[name], value) if name in BY_NAME else value
    if given.get("output") is not None and given.get("storage") is None:
        values["storage"] = None
    return BuildOptions(**{**values, "release_metadata": values["release_metadata"] or None})
