"""The packages in a root filesystem, and how they differ between two."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxcast.durable import explained
from lxcast.errors import SourceError
from lxcast.evidence.sbom import Subject, make_sbom
from lxcast.model import Package, moment
from lxcast.progress import Progress
from lxcast.rootfs.distribution import READS as DISTRIBUTION_FILES
from lxcast.rootfs.distribution import os_release
from lxcast.rootfs.inventory import READERS, Inventory, PackageList, compare_versions
from lxcast.rootfs.rows import select
from lxcast.rootfs.survey import Survey
from lxcast.sources import DeferredSource, open_source, without_secrets


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package that differs: `a` and `b` are its versions, "" if it is missing on that side."""

    kind: str
    name: str
    change: str
    """"added", "removed", "upgraded" or "downgraded"."""
    a: str = ""
    b: str = ""

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "upgraded": "^", "downgraded": "v"}[self.change]
        return f"{sign} {self.kind} {self.name} {' -> '.join(filter(None, (self.a, self.b)))}"

    def as_dict(self) -> dict[str, str]:
        """Return the change as in --json."""
        return {"kind": self.kind, "name": self.name, "change": self.change, "a": self.a, "b": self.b}


@dataclass(frozen=True, slots=True)
class Inventoried:
    """The packages of a source, and what an SBOM says about the source itself."""

    list: PackageList
    subject: Subject


def list_packages(
    source: str, progress: Progress, *, platform: str = "", sha256: str | None = None, disable: Iterable[str] = ()
) -> Inventoried:
    """Return the packages in a template or any other source that `open_source` reads.

    A file is hashed for the SBOM. `platform` and `sha256` are as for `open_source`; `disable` names readers to skip.
    Raises UsageError for an unknown reader, SourceError and its children, also if the file changes meanwhile.
    """
    (readers,) = select(READERS, disable=disable)
    path = Path(source)
    before = _stamp(path)
    opened = open_source(source, platform, sha256)
    opened = opened.resolve() if isinstance(opened, DeferredSource) else opened
    inventory, survey = Inventory(readers), Survey(DISTRIBUTION_FILES)
    with progress.step(f"reading {without_secrets(source)}"), opened.members() as members:
        progress.total(opened.size)
        reported = 0
        for member in members:
            survey.see(member)
            inventory.read(member)
            if opened.read != reported:
                progress.advance(opened.read - reported)
                reported = opened.read
    values = os_release(survey.text(b"etc/os-release") or survey.text(b"usr/lib/os-release") or "")
    subject = Subject(
        without_secrets(source).rpartition("/")[2],
        sha256=_hash(path) if before else "",
        os_id=values.get("ID", ""),
        os_version=values.get("VERSION_ID", ""),
    )
    if _stamp(path) != before:
        raise SourceError(f"{source} changed while it was read", hint="run the command again")
    return Inventoried(inventory.result(), subject)


def sbom(found: Inventoried, format: str) -> str:
    """Return the SBOM of a source. SOURCE_DATE_EPOCH sets the time in an SPDX document; otherwise it is 1970."""
    created = moment() if os.environ.get("SOURCE_DATE_EPOCH") else 0
    unread = [f"{each.as_dict()['path']}: {each.reason}" for each in found.list.unread]
    return make_sbom(format, found.subject, found.list.packages, unread, created)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with a regular file; None for any other source."""
    with explained(path):
        if not path.is_file():
            return None
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns


def _hash(path: Path) -> str:
    with explained(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare_packages(first: Sequence[Package], second: Sequence[Package]) -> list[PackageChange]:
    """Return the packages that were added, removed, upgraded or downgraded, sorted by kind and name."""
    versions: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for side, packages in enumerate((first, second)):
        for package in packages:
            versions.setdefault((package.kind, package.name), (set(), set()))[side].add(package.version)
    changes = []
    for (kind, name), (before, after) in sorted(versions.items()):
        removed, added = sorted(before - after), sorted(after - before)
        if len(removed) == len(added) == 1:
            change = "upgraded" if compare_versions(removed[0], added[0]) < 0 else "downgraded"
            changes.append(PackageChange(kind, name, change, removed[0], added[0]))
            continue
        changes += [PackageChange(kind, name, "removed", a=version) for version in removed]
        changes += [PackageChange(kind, name, "added", b=version) for version in added]
    return changes
