"""The Python API: what the commands of the same names do, without a terminal.

Settings are keyword arguments, called as in the reference of settings: `storage="proxmox:pve1/local"`,
`policy="golden"`. Neither a settings file nor the environment is read for them. Every function raises the errors of
`lxcast.errors`, and prints nothing; a `Progress` with sinks of `lxcast.progress` shows what happens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lxcast.errors import (
    ApiError,
    ArchiveError,
    CheckError,
    ConflictError,
    EngineError,
    LxcastError,
    PinError,
    SourceError,
    StorageError,
    UnprovenError,
    UsageError,
)
from lxcast.jobs import build as _build
from lxcast.jobs import check as _check
from lxcast.jobs import diff as _diff
from lxcast.jobs import promote as _promote
from lxcast.jobs import publish as _publish
from lxcast.jobs.build import Built
from lxcast.jobs.check import CheckReport
from lxcast.jobs.diff import Difference
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.references.reference import Move
from lxcast.settings import (
    CheckOptions,
    SourceOptions,
    StorageOptions,
    make_build_options,
    make_settings,
    select,
    storage_options,
)
from lxcast.sources import Source, open_source
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Listing, Publication

__all__ = [
    "ApiError",
    "ArchiveError",
    "Built",
    "CheckError",
    "CheckReport",
    "ConflictError",
    "Difference",
    "EngineError",
    "Listing",
    "LxcastError",
    "Move",
    "PinError",
    "Progress",
    "Publication",
    "Record",
    "Source",
    "SourceError",
    "StorageError",
    "UnprovenError",
    "UsageError",
    "build",
    "check",
    "diff",
    "list",
    "open_source",
    "promote",
    "publish",
]


def build(source: str, name: str, *, progress: Progress | None = None, **options: Any) -> Built:
    """Turn a source into a template and return its record, its file, and what was changed and found.

    `options` are settings, and `version` ("next" or "vN"), `output` (a directory in place of a storage), `sha256`,
    `insecure_no_checksum` and `dry_run`. If the setting `pin_file` is given, its entry is set to the template.
    """
    progress = progress or Progress()
    chosen = make_build_options(name, **options)
    built = _build.build(source, chosen, progress)
    _promote.pin_built(built.record, chosen, progress)
    return built


def check(
    source: str | Path, *, sha256: str | None = None, progress: Progress | None = None, **settings: Any
) -> CheckReport:
    """Check whether Proxmox would accept and boot a template, or what a build would read from any other source.

    The report lists every finding; nothing is raised for a template that fails. `settings` are `policy`, `allow`,
    `arch`, `platform` and `init`. `sha256` is the checksum of an https source, "" to accept any.
    """
    chosen = make_settings(settings)
    return _check.check(
        source,
        select(CheckOptions, chosen),
        progress or Progress(),
        reading=select(SourceOptions, chosen, sha256=sha256),
        init=chosen.text("init"),
    )


def diff(
    a: str,
    b: str,
    *,
    platform: str = "",
    sha256: Sequence[str | None] = (None, None),
    progress: Progress | None = None,
) -> Sequence[Difference]:
    """Compare two templates, or any two sources, member by member; nothing is returned for equal ones.

    `sha256` are the checksums of https sources, "" to accept any.
    """
    return _diff.diff(a, b, progress or Progress(), platform=platform, sha256=sha256)


def publish(
    file: str | Path, storage: str, *, check: bool = True, progress: Progress | None = None, **settings: Any
) -> Publication:
    """Publish a template file in a storage under its own name, and return its id and what happened on each node.

    If only some of several nodes fail, nothing is raised: the publication has the error. Without `check` the file is
    not checked first.
    """
    chosen = make_settings({"storage": storage, **settings})
    target = open_storage(select(StorageOptions, chosen))
    return _publish.publish(Path(file), target, select(CheckOptions, chosen), progress or Progress(), check=check)


def list(storage: str, *, usage: bool = False, **settings: Any) -> Listing:
    """Return the templates of a storage. With `usage` also which containers were made from them, if it knows."""
    return open_storage(storage_options(storage, **settings)).templates(usage=usage)


def promote(
    name: str,
    target: str,
    storage: str,
    *,
    version: str = "",
    variant: str | None = None,
    field: str = "",
    force_name: bool = False,
    write: bool = True,
    **settings: Any,
) -> Move:
    """Move a pin to a version in the storage, by default to the newest, and return the change.

    `target` is a pin file or FILE:ADDRESS of a literal in HCL. Without `write` the change is only computed.
    """
    options = storage_options(storage, **settings)
    return _promote.promote(name, version, target, options, field, variant=variant, force_name=force_name, write=write)
