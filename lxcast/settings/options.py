"""The settings as the packages take them: frozen, converted, and checked against each other.

The fields are called as the settings; no field has a default here, since the table has it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from lxcast.errors import UsageError, join_problems
from lxcast.model import Version
from lxcast.settings.load import Settings, convert_all
from lxcast.settings.table import BY_NAME, SETTINGS
from lxcast.settings.values import convert, did_you_mean

Options = TypeVar("Options")

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingOptions:
    """How a template is called."""

    name: str
    pattern: str
    variant: str
    release: str
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is read; sizes are in bytes."""

    platform: str
    sha256: str | None
    """The checksum that an https source must have, "" if any is accepted, None if none was given."""
    max_members: int
    max_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentOptions:
    """What cleanup and fit do."""

    init: str
    enable: tuple[str, ...]
    disable: tuple[str, ...]
    remove: tuple[str, ...]
    add: tuple[str, ...]
    network: str
    release_metadata: Mapping[str, str] | None
    """None if no release file is written; empty if it has name and version alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What the checks accept."""

    policy: str
    allow: Mapping[str, str]
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How a template is written."""

    format: str
    small: bool
    threads: int
    """0: one for each processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """The storage of the templates, and the access to a Proxmox storage."""

    storage: str
    nodes: tuple[str, ...]
    all_nodes: bool
    records: str
    profile: str
    api_url: str
    ca_file: str
    fingerprint: str
    put_url: str = field(repr=False)
    get_url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOptions:
    """The evidence of a template."""

    provenance: bool
    sign: tuple[str, ...]
    """KIND:KEY each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Everything that a build depends on besides its source. Made by `build_options`."""

    naming: NamingOptions
    version: Version | None
    """None: the next one."""
    source: SourceOptions
    content: ContentOptions
    checks: CheckOptions
    output: OutputOptions
    storage: StorageOptions
    evidence: EvidenceOptions
    directory: Path | None
    """A plain directory that takes the place of the storage."""
    if_changed: bool
    reuse: bool
    pin_file: Path | None
    dry_run: bool

    def content_values(self) -> dict[str, object]:
        """Return every setting that affects the content of the template, by name."""
        groups = (self.naming, self.source, self.content, self.checks, self.output, self.storage, self)
        return {
            row.name: getattr(group, row.name)
            for row in SETTINGS
            for group in groups
            if row.affects_content and row.name in group.__dataclass_fields__
        }


def select(kind: type[Options], settings: Settings, **further: Any) -> Options:
    """Return one kind of options with the values of the settings; `further` are fields that are no setting as it is."""
    names = [each.name for each in fields(kind) if each.name not in further]  # type: ignore[arg-type] # a dataclass
    return kind(**{name: settings.values[name] for name in names}, **further)


def make_settings(given: Mapping[str, object]) -> Settings:
    """Return the defaults with values of Python code on top. Raises UsageError with everything that is wrong."""
    problems = [f"unknown setting {name}{did_you_mean(name, BY_NAME)}" for name in given if name not in BY_NAME]
    known = {name: value for name, value in given.items() if name in BY_NAME}
    values = convert_all(known, convert, lambda row: row.option, problems)
    if problems:
        raise UsageError(join_problems(problems))
    return Settings().over(values)


def make_build_options(name: str, **given: Any) -> BuildOptions:
    """Return the options of a build, for Python code: settings and arguments of `build_options` by name.

    Raises UsageError with everything that is wrong with the settings, or with the others.
    """
    own = {key: given.pop(key) for key in list(given) if key in signature(build_options).parameters}
    return build_options(make_settings(given), name=name, **own)


def storage_options(storage: str, **given: object) -> StorageOptions:
    """Return the options of a storage, by name, for Python code. Raises UsageError."""
    return select(StorageOptions, make_settings({"storage": storage, **given}))


def build_options(
    settings: Settings,
    *,
    name: str,
    version: str = "next",
    output: str | Path | None = None,
    sha256: str = "",
    insecure_no_checksum: bool = False,
    dry_run: bool = False,
) -> BuildOptions:
    """Return the options of a build; what is not a setting is given for each build.

    `output` takes the place of the storage and of the pin file of settings file and environment. Raises UsageError with
    everything that is wrong at once.
    """
    values, given = settings.values, settings.given
    problems = [] if name else ["--name is empty"]
    checksum = sha256.lower().removeprefix("sha256:")
    problems += checksum_problems([checksum] if checksum else [], insecure=insecure_no_checksum)
    pin_file = str(values["pin_file"])
    if output is not None:
        if not str(output):
            problems.append("--output is empty")
        if "storage" in given:
            problems.append(f"--storage {values['storage']} and --output {output} exclude each other")
        if "pin_file" in given and pin_file:
            problems.append(f"--pin-file {pin_file} and --output {output}: only a template in a storage has an id")
        pin_file = ""
    if not re.fullmatch(r"next|v?[1-9][0-9]{0,8}", version, re.ASCII):
        problems.append(f"--version {version}: expected next, or a number such as v3")
    if problems:
        raise UsageError(join_problems(problems))
    has_release_file = values["release_metadata"] or "release" in settings.values["enable"]  # type: ignore[operator] # a tuple
    return BuildOptions(
        naming=select(NamingOptions, settings, name=name),
        version=None if version == "next" else Version(int(version.removeprefix("v"))),
        source=select(SourceOptions, settings, sha256=checksum or ("" if insecure_no_checksum else None)),
        content=select(
            ContentOptions, settings, release_metadata=values["release_metadata"] if has_release_file else None
        ),
        checks=select(CheckOptions, settings),
        output=select(OutputOptions, settings),
        storage=select(StorageOptions, settings),
        evidence=select(EvidenceOptions, settings),
        directory=None if output is None else Path(output),
        pin_file=Path(pin_file) if pin_file else None,
        if_changed=bool(values["if_changed"]),
        reuse=bool(values["reuse"]),
        dry_run=dry_run,
    )


def checksum_problems(sha256: Sequence[str], *, insecure: bool) -> list[str]:
    """Return what is wrong with --sha256 and --insecure-no-checksum."""
    problems = [
        f"--sha256 {each}: expected 64 hexadecimal digits, as sha256sum prints them"
        for each in sha256
        if not _SHA256.fullmatch(each)
    ]
    if insecure and sha256:
        problems.append("--sha256 and --insecure-no-checksum exclude each other")
    return problems
