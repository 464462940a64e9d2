"""The packages in a root filesystem, and how they differ between two."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lxcast.progress import Progress
from lxcast.rootfs.inventory import READERS, Inventory, Package, PackageList, compare_versions
from lxcast.rootfs.rows import select
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


def list_packages(
    source: str, progress: Progress, *, platform: str = "", sha256: str | None = None, disable: Iterable[str] = ()
) -> PackageList:
    """Return the packages in a template or any other source that `open_source` reads.

    `platform` and `sha256` are as for `open_source`; `disable` names readers to skip. Raises UsageError for an unknown
    reader, SourceError and its children.
    """
    (readers,) = select(READERS, disable=disable)
    opened = open_source(source, platform, sha256)
    opened = opened.resolve() if isinstance(opened, DeferredSource) else opened
    inventory = Inventory(readers)
    with progress.step(f"reading {without_secrets(source)}"), opened.members() as members:
        progress.total(opened.size)
        reported = 0
        for member in members:
            inventory.read(member)
            if opened.read != reported:
                progress.advance(opened.read - reported)
                reported = opened.read
    return inventory.result()


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
