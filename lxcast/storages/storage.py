"""What every storage of templates does, and the values that go in and come out of it.

Jobs know these types alone. `lxcast.storages.open` returns the storage that a user names.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lxcast.errors import ApiError, ConflictError, LxcastError, StorageError, UsageError
from lxcast.identifiers import stem_of, suffix_of
from lxcast.model import Version
from lxcast.naming import Naming
from lxcast.progress import Progress
from lxcast.record import Record

if TYPE_CHECKING:
    from lxcast.proxmox.usage import Use

NEVER_REPLACED = "a published name never changes: build the next version, or publish a copy under another name"

METADATA_SUFFIX = ".meta.tar.xz"
"""Metadata of the builder of a distrobuilder, Incus, LXD or LXC image. Proxmox would list it as a template."""

SIDECARS = (METADATA_SUFFIX, ".cdx.json", ".spdx.json", ".intoto.json", ".boot.json", ".dsse.json", ".sigstore.json")
"""Suffixes of the sidecars NAME-vN.SUFFIX."""

SIGNATURES = (".sha256.sig", ".sha256.asc")
"""Suffixes of the signatures of a checksum file, which follow the template's whole file name."""


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template in a storage. Name and version come from its record, else from the file name."""

    file: str
    template_id: str
    """The volid; "" in a plain directory."""
    name: str
    version: str
    """ "v4", or "" if the file name has none."""
    size: int
    record: Record | None
    problem: str = ""
    """Why an existing record cannot be used."""
    ctime: int = 0
    """When the storage got the file, in seconds since 1970: its st_ctime, as Proxmox lists it."""
    node: str = ""
    """The node that lists it; "" if the storage has no nodes."""
    path: Path | None = None
    """The file on this machine; None if the storage is remote."""
    containers: "tuple[Use, ...] | None" = None
    """The containers that were made from it; None if unknown."""

    @property
    def variant(self) -> str:
        """The record's variant; "" without a record."""
        return self.record.variant if self.record else ""

    @property
    def rank(self) -> tuple[int, str]:
        """The sort key of the newest template: version number, then time of creation."""
        return int(self.version[1:] or 0), self.record.created if self.record else ""

    @property
    def series(self) -> str:
        """The identity that all versions share: the file name without suffix and version.

        Variants of one name are series of their own: "debian-12-slim-v3.tar.zst" is of "debian-12-slim".
        """
        stem = stem_of(self.file)
        if not self.version:
            return stem
        if stem.endswith(f"-{self.version}"):
            return stem.removesuffix(f"-{self.version}")
        return re.sub(rf"(?<![A-Za-z0-9]){self.version}(?![A-Za-z0-9])", "*", stem)

    def require_record(self, location: str) -> Record:
        """Return the record. Raises StorageError that names the storage and the reason if there is none."""
        if self.record is None:
            raise StorageError(
                f"{location}: {self.file}: {self.problem or 'it has no record'}",
                hint="lxcast did not publish it, or its record was lost: publish it again from where it was built",
            )
        return self.record


@dataclass(frozen=True, slots=True)
class Listing:
    """The templates of a storage, node by node, each node's by name, version and file."""

    id: str
    """The storage's id, "" without one."""
    location: str
    """What messages call the storage."""
    templates: Sequence[StoredTemplate]
    nodes: tuple[str, ...] = ("",)
    """The nodes that were asked; one of them for a shared storage."""
    failures: Mapping[str, LxcastError] = field(default_factory=dict)
    """The nodes that did not answer, and why."""
    claimed: frozenset[str] = frozenset()
    """Names without suffix that are taken and have no template."""
    warnings: tuple[str, ...] = ()
    keeps_records: bool = True
    """Whether the storage itself holds the records, so that a missing one is a loss."""

    def error(self, others: Mapping[str, LxcastError] | None = None) -> LxcastError | None:
        """Return one error for the nodes that did not answer, and for `others` that failed; None without a failure."""
        failed = {**self.failures, **(others or {})}
        return combine_errors(failed, len(self.nodes)) if failed else None

    def complete(self) -> list[StoredTemplate]:
        """Return one of each template that every node lists with the same size."""
        found: dict[tuple[str, int], list[StoredTemplate]] = {}
        for each in self.templates:
            found.setdefault((each.file, each.size), []).append(each)
        return [same[0] for same in found.values() if len(same) == len(self.nodes) - len(self.failures)]

    def newest(self, naming: Naming) -> Record | None:
        """Return the record of the newest version of this naming.

        None if there is no version, if the newest has no record, or if a node lacks it. Raises StorageError if its
        record cannot be read.
        """
        series = naming.series()

        def number(template: StoredTemplate) -> int:
            match = series.fullmatch(stem_of(template.file))
            version = match.groupdict().get("version") if match else None
            return Version.parse(version).number if version else 0

        named = [each for each in self.templates if series.fullmatch(stem_of(each.file))]
        newest = max(named, key=lambda each: (number(each), each.rank, each.file), default=None)
        if newest is None or newest not in self.complete() or (newest.record is None and not newest.problem):
            return None
        record = newest.require_record(self.location)
        return record if record.name == naming.name else None

    def find(self, file: str) -> StoredTemplate | None:
        """Return the template with this file name."""
        return next((each for each in self.templates if each.file == file), None)

    def select(self, name: str, version: Version | None = None, variant: str | None = None) -> StoredTemplate:
        """Return a template by name, version (None: the newest) and variant.

        Without a variant the name and version must belong to a single one; "" selects the template without a variant.
        Raises StorageError that lists the choices.
        """
        named = [each for each in self.templates if each.name == name]
        if not named:
            names = sorted({each.name for each in self.templates})
            raise StorageError(
                f"{self.location}: template {name!r} not found",
                hint=f"available: {', '.join(names)}" if names else "the storage is empty",
            )
        if version and f"{name}-{version}" in self.claimed:
            raise StorageError(
                f"{self.location}: {name} {version} has a record but no template",
                hint="a build of it is running or was aborted, or the template was removed: use another version",
            )
        variants = sorted({each.variant for each in named})
        if variant is not None and variant not in variants:
            raise StorageError(
                f"{self.location}: template {name!r} has no variant {variant!r}",
                hint=f"its variants: {show_variants(variants)}",
            )
        named = [each for each in named if variant in (None, each.variant)]
        wanted = [each for each in named if version is None or each.version == str(version)]
        if not wanted:
            versions = ", ".join(dict.fromkeys(each.version or each.file for each in named))
            raise StorageError(f"{self.location}: {name} has no version {version}", hint=f"available: {versions}")
        variants = sorted({each.variant for each in wanted})
        if len(variants) > 1:
            raise StorageError(
                f"{self.location}: template {name!r} has several variants: {show_variants(variants)}",
                hint=f"name one of them, such as --variant {next(filter(None, variants))}",
            )
        newest = max(each.rank for each in wanted)
        files = {each.file: each for each in wanted if version or each.rank == newest}
        if len(files) > 1:
            raise StorageError(
                f"{self.location}: {name} {version or '(newest version)'} is ambiguous: {', '.join(files)}",
                hint="give variants names of their own",
            )
        return next(iter(files.values()))


class Claim:
    """A name without suffix for one template. A storage that issues exclusive claims extends this.

    Leaving the context gives the claim up unless its template was published.
    """

    def __init__(self, stem: str, version: Version | None = None, *, taken: bool = False) -> None:
        self.stem = stem
        self.version = version
        self.taken = taken
        """Whether the name is published already."""

    def burn(self) -> None:
        """Release the claim but leave its number taken, since some content may carry it already."""

    def discard(self) -> None:
        """Give the claim up. Does nothing after its template was published."""

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished template file with its record and sidecars: what a storage stores and removes as one."""

    path: Path
    suffix: str
    """The template suffix of its name, such as ".tar.zst"."""
    size: int
    sha256: str
    stamp: tuple[int, int, int]
    """Inode, size and modification time when the digest was computed (see `lxcast.proxmox.upload_body.stamp`)."""
    record: Record | None
    """None for a file that was neither built by lxcast nor checked."""
    sidecars: Mapping[str, bytes] = field(default_factory=dict)
    """Content by suffix: one of SIDECARS after the name without suffix, one of SIGNATURES after the file name."""
    temporary: bool = False
    """Whether the storage may take the file itself: it is in the storage's workspace and is removed otherwise."""
    numbered: bool = False
    """Whether the content holds the version, so that no other number can be used."""
    keep: bool = False
    """Whether a temporary file stays on this machine, until this process ends, if the storage is remote."""
    descriptor: int = -1
    """Descriptor of a temporary file, which this process has open and locked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one node, or for a storage without nodes."""

    node: str
    state: str
    """uploaded, present or failed."""
    verified: bool = False
    """Whether no other writer of the name can have gone unseen."""
    error: LxcastError | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The result of a `put`. The template id is the same on every node."""

    file: str
    template_id: str
    size: int
    sha256: str
    record: Record | None
    outcomes: tuple[Outcome, ...]
    path: Path | None = None
    """The file on this machine, or the copy that was kept."""
    warnings: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether some node has the template."""
        return any(each.state != "failed" for each in self.outcomes)

    @property
    def unchanged(self) -> bool:
        """Whether the template existed everywhere before."""
        return all(each.state == "present" for each in self.outcomes)

    @property
    def error(self) -> LxcastError | None:
        """One error with the failures of all nodes; None without a failure."""
        failed = {each.node: each.error for each in self.outcomes if each.error}
        first, *others = failed.values() or [None]
        if others and all(error is first for error in others):
            return first
        return combine_errors(failed, len(self.outcomes)) if failed else None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a storage needs to accept a template, on one node. Each row has subject, state, message and hint."""

    node: str
    storage: str
    location: str
    rows: Sequence[tuple[str, str, str, str]]

    @property
    def failed(self) -> bool:
        """Whether something prevents an upload."""
        return any(state == "error" for _, state, _, _ in self.rows)


class Storage(Protocol):
    """A storage of templates. A published name never changes its bytes: `put` enforces it.

    Methods raise StorageError and its children, and ApiError if the storage is remote.
    """

    id: str
    """The storage id in a volid; "" if its templates have no volid."""
    location: str
    """What messages call the storage."""
    workspace: Path
    """The directory where the file of an artifact is written before `put`."""

    def validate(self) -> None:
        """Raise UsageError if the storage can never take a template. Asks no server and creates nothing."""
        return

    def prepare(self, suffix: str, size: int, progress: Progress) -> None:
        """Check everything that a `put` of `size` bytes (0: unknown) with that suffix needs, before any work."""
        return

    def diagnose(self, progress: Progress) -> list[Diagnosis]:
        """Return what a `put` needs, row by row, and write nothing."""
        raise UsageError(
            f"--storage {self.location} is a directory and needs no preflight",
            hint="name proxmox:NODE/STORAGE, or proxmox:",
        )

    @abstractmethod
    def templates(self, *, usage: bool = False) -> Listing:
        """Return the templates. With `usage` also which containers were made from them, if the storage knows."""

    @abstractmethod
    def next_version(self, naming: Naming) -> Version:
        """Return the version after the highest that any template or claim has."""

    @abstractmethod
    def claim(self, naming: Naming, version: Version | None = None) -> Claim:
        """Claim the next version, the given one, or the name itself if the pattern has no version.

        A published name is a claim with `taken`: `put` compares the content. Raises ConflictError if another process
        holds the name, UsageError for a version that the pattern cannot carry.
        """

    @abstractmethod
    def put(self, artifact: Artifact, claim: Claim, progress: Progress) -> Publication:
        """Publish an artifact under the claimed name, with its record and sidecars.

        The same content under a published name is a success that changes nothing; other content raises ConflictError.
        If only some of several nodes fail nothing is raised: the publication has the error.
        """

    def prepare_removal(self) -> None:
        """Raise ApiError if this user may remove nothing."""
        return

    @abstractmethod
    def sidecars(self, template: StoredTemplate) -> Mapping[str, bytes]:
        """Return the existing sidecars of a template, by suffix."""

    @abstractmethod
    def add_sidecars(self, template: StoredTemplate, sidecars: Mapping[str, bytes]) -> None:
        """Write sidecars of a published template, in place of existing ones with the same suffix."""

    @abstractmethod
    def remove(self, template: StoredTemplate) -> None:
        """Remove a template and its sidecars. The record stays, so that the name stays taken."""


def combine_errors(failed: Mapping[str, LxcastError], total: int) -> LxcastError:
    """Return one error for the nodes that failed, out of `total`; the node's own error if there is only one node."""
    if total == 1:
        return next(iter(failed.values()))
    lines = "\n".join(f"{node}: {error}" for node, error in failed.items())
    message = f"{len(failed)} of {total} nodes failed\n{lines}"
    taken = [node for node, error in failed.items() if isinstance(error, ConflictError)]
    if len(taken) == total:
        return ConflictError(message, hint=NEVER_REPLACED)
    hint = "run the same command again to complete the rest"
    if taken:
        hint += f", except on {', '.join(taken)}, where the name is taken: publish another name or version everywhere"
    return ApiError(message, hint=hint)


def show_variants(variants: Iterable[str]) -> str:
    """List variants for a message; the template without one is shown as it is written in a command."""
    return ", ".join(variant or "'' (without a variant)" for variant in variants)


def sidecar_names(file: str) -> list[str]:
    """Return the names that the sidecars of a template file can have, its checksum file included."""
    stem = stem_of(file)
    return [f"{file}.sha256", *(stem + each for each in SIDECARS), *(file + each for each in SIGNATURES)]


def sidecar_name(file: str, suffix: str) -> str:
    """Return the name of one sidecar of a template file."""
    if suffix not in (*SIDECARS, *SIGNATURES):
        raise ValueError(f"unknown sidecar {suffix}")
    return (file if suffix in SIGNATURES else stem_of(file)) + suffix


def sort_templates(templates: Iterable[StoredTemplate]) -> list[StoredTemplate]:
    """Return templates by name, version and file."""
    return sorted(templates, key=lambda each: (each.name, each.rank[0], each.file))


def looks_like_template(file: str) -> bool:
    """Return whether Proxmox lists a file with this name as a template."""
    return bool(suffix_of(file))
