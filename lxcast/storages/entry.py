"""A template as a storage lists it, and the one of several that a name and a version mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lxcast.errors import StorageError
from lxcast.model import Version
from lxcast.record import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """A template of a storage; name and version are its record's, else read from the file's name."""

    file: str
    template_id: str
    name: str
    version: str
    size: int
    record: Record | None
    problem: str = ""
    """Why the record cannot be used, though there is one."""
    ctime: int = 0
    """When the storage got the file, in seconds since 1970: its st_ctime, as Proxmox lists it."""

    @property
    def variant(self) -> str:
        """The record's variant; "" without a record."""
        return self.record.variant if self.record else ""

    @property
    def rank(self) -> tuple[int, str]:
        """What the newest one has most of: the version's number, and when it was made."""
        return int(self.version[1:] or 0), self.record.created if self.record else ""

    def known(self, where: str) -> Record:
        """Return its record; StorageError, naming the storage `where`, says why there is none."""
        if self.record is None:
            raise StorageError(
                f"{where}: {self.file}: {self.problem or 'it has no record'}",
                hint="lxcast did not publish it, or its record was lost: publish it again from where it was built",
            )
        return self.record


def select(
    entries: Sequence[Entry], name: str, version: Version | None, where: str, variant: str | None = None
) -> Record:
    """Return the record of a template by name, version (None: the newest) and variant.

    Without a variant the name and version must belong to a single one; "" selects the template without a variant.
    Raises StorageError, naming the storage `where`, which lists the choices.
    """
    named = [one for one in entries if one.name == name]
    if not named:
        names = sorted({one.name for one in entries})
        raise StorageError(
            f"{where}: no template {name!r}", hint=f"there are: {', '.join(names)}" if names else "it is empty"
        )
    variants = sorted({one.variant for one in named})
    if variant is not None and variant not in variants:
        raise StorageError(
            f"{where}: template {name!r} has no variant {variant!r}", hint=f"its variants: {show_variants(variants)}"
        )
    named = [one for one in named if variant in (None, one.variant)]
    wanted = [one for one in named if version is None or one.version == str(version)]
    variants = sorted({one.variant for one in wanted})
    if len(variants) > 1:
        raise StorageError(
            f"{where}: template {name!r} has several variants: {show_variants(variants)}",
            hint=f"name one of them, such as --variant {next(filter(None, variants))}",
        )
    if not wanted:
        versions = ", ".join(one.version or one.file for one in named)
        raise StorageError(f"{where}: no {version} of template {name!r}", hint=f"there are: {versions}")
    if version is None:
        newest = max(one.rank for one in wanted)
        wanted = [one for one in wanted if one.rank == newest]
    if len(wanted) > 1:
        files = ", ".join(one.file for one in wanted)
        raise StorageError(
            f"{where}: template {name!r} {version or 'newest'} is ambiguous: {files}",
            hint="give variants names of their own",
        )
    return wanted[0].known(where)


def show_variants(variants: Iterable[str]) -> str:
    """List variants for a message; the template without one is shown as it is written in a command."""
    return ", ".join(variant or "'' (without a variant)" for variant in variants)
