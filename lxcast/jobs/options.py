"""What a build is asked for, whoever asks: the command line, the Packer shim, a settings file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxcast.errors import UsageError
from lxcast.model import conceal
from lxcast.rootfs.additions import Addition
from lxcast.settings import BY_NAME, Settings, convert, merge
from lxcast.sources import is_url

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"next|v[1-9][0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of `lxcast build`, by the names that they have there.

    What they mean and what they may be stands in `lxcast.settings.SETTINGS`. `output` is a folder that takes the place
    of `storage`, which then is None. `version` is "next" or "vN". `arch`, "" for any, is compared with the source's.
    `release_metadata` is None where no release file is wanted, empty where it shall have name and version alone.
    `sha256` is what an https source must have, 64 lower-case digits, "" where that is not said.
    Sizes are in bytes; `threads` 0 is one a processor.

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
    platform: str = ""
    init: str = ""
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
    pin_file: str = ""
    reuse: bool = True
    sha256: str = ""
    insecure_no_checksum: bool = False
    dry_run: bool = False
    max_members: int = 5_000_000
    max_size: int = 1 << 40
    threads: int = 0
    profile: str = ""
    api_url: str = ""
    ca_file: str = ""
    fingerprint: str = ""
    records: str = ""
    nodes: tuple[str, ...] = ()
    all_nodes: bool = False
    put_url: str = field(default="", repr=False)
    get_url: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        problems = [] if self.name else ["--name is empty"]
        problems += _checksum_problems([self.sha256] if self.sha256 else [], self.insecure_no_checksum)
        for name, row in BY_NAME.items():
            value = getattr(self, name)
            if value is not None:
                try:
                    convert(row, value)
                except ValueError as error:
                    problems.append(f"{row.option} {conceal(str(value))}: {error}")
        if self.output is not None and self.storage is not None:
            problems.append(f"--storage {self.storage} and --output {self.output}: a template goes to one of them")
        if self.output is not None and self.pin_file:
            problems.append(f"--pin-file {self.pin_file} and --output {self.output}: only a storage gives an id to pin")
        if not _VERSION.fullmatch(self.version):
            problems.append(f"--version {self.version}: should be next, or a number such as v3")
        hint = ""
        for text in self.add:
            try:
                Addition.parse(text)
            except UsageError as error:
                problems.append(error.message)
                hint = error.hint
        if problems:
            raise UsageError("\n".join(problems), hint=hint)


def expected(sources: Sequence[str], sha256: Sequence[str], *, insecure: bool) -> list[str | None]:
    """Return what each of the sources must have, as `open_source` takes it, of what a user wrote.

    One of `sha256` is for each https source, in their order; with `insecure` they may have anything. Raises UsageError.
    """
    remote = sum(map(is_url, sources))
    written = [each.lower().removeprefix("sha256:") for each in sha256]
    problems = _checksum_problems(written, insecure)
    if written and len(written) != remote:
        told = f"--sha256 is said {len(written)} times, and {remote} of the sources are https ones"
        problems.append(f"{told}: once for each of these, in their order")
    if insecure and not remote:
        problems.append("--insecure-no-checksum is for an https source, and there is none")
    if problems:
        raise UsageError("\n".join(problems))
    left = iter(written or ([""] * remote if insecure else []))
    return [next(left, None) if is_url(each) else None for each in sources]


def _checksum_problems(sha256: Sequence[str], insecure: bool) -> list[str]:
    problems = [
        f"--sha256 {each}: should be 64 hexadecimal digits, such as sha256sum prints them"
        for each in sha256
        if not _SHA256.fullmatch(each)
    ]
    if insecure and sha256:
        problems.append("--sha256 and --insecure-no-checksum exclude each other")
    return problems


def build_options(settings: Settings, given: Mapping[str, Any]) -> BuildOptions:
    """Return what a build is asked for: `given`, by the names of BuildOptions, over the settings.

    None in `given` is unsaid. Lists are joined and tables merged, the settings first; `output` takes the place of the
    settings' storage, which the settings' pin file belongs to. Raises UsageError with everything that is wrong at once.
    """
    values: dict[str, Any] = dict(settings.values)
    for name, value in given.items():
        if value is not None:
            values[name] = merge(values[name], value) if name in BY_NAME else value
    if given.get("output") is not None:
        values["storage"] = given.get("storage")
        values["pin_file"] = given.get("pin_file") or ""
    if not values["release_metadata"] and "release" not in values["enable"]:
        values["release_metadata"] = None
    return BuildOptions(**values)
