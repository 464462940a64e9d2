"""A directory laid out as a Proxmox storage of type `dir`, or any plain directory, as a storage of templates.

When a template is finished, record, sidecars and checksum file take their final content first and the template takes
its name last, by a step that cannot overwrite: that one step publishes. So an existing template is whole and has its
record.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lxcast import durable
from lxcast.errors import ConflictError, StorageError, UsageError
from lxcast.identifiers import stem_of, suffix_of
from lxcast.model import Version, Volid
from lxcast.naming import Naming, another, parts_of
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.storages.ledger import Ledger, LockedClaim, record_stem
from lxcast.storages.storage import (
    METADATA_SUFFIX,
    Artifact,
    Claim,
    Listing,
    Outcome,
    Publication,
    Storage,
    StoredTemplate,
    looks_like_template,
    sidecar_name,
    sort_templates,
)

_BLOCK = 1 << 20


class DirectoryStorage(Storage):
    """Templates in a directory. Without `id` it is a plain one, which holds them directly and has no volids."""

    def __init__(self, path: Path, id: str = "") -> None:
        self.id = id
        self.root = path
        self.location = str(path)
        self.workspace = path / "template" / "cache" if id else path
        self._ledger = Ledger(self.workspace, id)

    def validate(self) -> None:
        """Raise UsageError if the path is a file. A missing directory may appear before the build."""
        with durable.explained(self.root):
            is_file = self.root.exists() and not self.root.is_dir()
        if is_file:
            raise UsageError(f"{self.root}: not a directory", hint="name a directory with --storage or --output")

    def prepare(self, suffix: str = "", size: int = 0, progress: Progress | None = None) -> None:
        """Create the directory if it is new, sweep what dead processes left, and check that `size` bytes fit.

        Only the last part of the storage's path is created: a missing parent is more likely a missing mount.
        """
        with durable.explained(self.root.parent):
            has_parent = self.root.parent.is_dir()
        if not has_parent:
            raise StorageError(
                f"{self.root}: {self.root.parent} is not a directory",
                hint=f"is a filesystem not mounted? otherwise: mkdir -p {self.root.parent}",
            )
        for directory in (self.root, self.root / "template", self.workspace) if self.id else (self.root,):
            try:
                with durable.explained(directory):
                    directory.mkdir()
            except FileExistsError as error:
                if not directory.is_dir():
                    raise StorageError(
                        f"{directory}: not a directory", hint="name another storage (--storage)"
                    ) from error
        if not os.access(self.workspace, os.W_OK | os.X_OK):
            # access(2) does not name the reason; a real attempt does.
            durable.Temporary(self.workspace).close()
        durable.sweep(self.workspace)
        free = durable.free(self.workspace)
        if free < max(size, 1):
            raise StorageError(
                f"{self.workspace}: the disk is full: {free} bytes are free" + (f", {size} are needed" if size else ""),
                hint="free some space, or name a storage that has more (--storage)",
            )

    def templates(self, *, usage: bool = False) -> Listing:
        """Return the templates, with and without records. Raises StorageError if the directory does not exist."""
        with durable.explained(self.root):
            exists = self.root.is_dir()
        if not exists:
            raise StorageError(f"{self.root}: no such storage directory", hint="lxcast build creates it")
        files = [file for file in self._ledger.files() if self.id or not file.endswith(METADATA_SUFFIX)]
        found = [self._stored(file) for file in files if suffix_of(file)]
        published = {stem_of(file) for file in files if suffix_of(file)}
        claimed = frozenset(record_stem(file) for file in files) - published
        return Listing(self.id, self.location, sort_templates(each for each in found if each), claimed=claimed)

    def next_version(self, naming: Naming) -> Version:
        """Return the version after the highest that any template or record (a burnt claim too) has."""
        return self._ledger.next_version(naming)

    def claim(self, naming: Naming, version: Version | None = None) -> LockedClaim:
        """Claim a name as every storage does."""
        return self._ledger.claim(naming, version)

    def put(self, artifact: Artifact, claim: Claim, progress: Progress | None = None) -> Publication:
        """Publish an artifact as every storage does.

        If the published template is the same (same bytes, or same diff id and format) its record stays.
        """
        if not artifact.temporary:
            with durable.Temporary(self.workspace) as copy:
                _copy(artifact, copy)
                return self.put(replace(artifact, path=copy.path, temporary=True), claim)
        if not isinstance(claim, LockedClaim):
            with self._ledger.claim_name(claim.stem, claim.version) as own:
                return self.put(artifact, own)
        file = claim.stem + artifact.suffix
        volid = str(Volid.make(self.id, file)) if self.id else ""
        version = str(claim.version or "")
        record = artifact.record and replace(
            artifact.record, version=version, file=file, template_id=volid, storage=self.id
        )
        inode = _sync(artifact)
        if claim.taken:
            record = self._put_again(artifact, file, version, record)
        else:
            self._write_record(file, artifact, record)
            claim.inode = inode
            try:
                durable.link_new(artifact.path, self._path(file))
            except FileExistsError:
                # A program that knows no claims created the file meanwhile.
                digest = self._digest(file)
                if digest != artifact.sha256:
                    raise _conflict(self._path(file), digest, artifact, version) from None
            claim.burn()
        state = "present" if claim.taken else "uploaded"
        outcomes = (Outcome("", state, verified=True),)
        return Publication(
            file, volid, artifact.size, artifact.sha256, record, outcomes, self._path(record.file if record else file)
        )

    def _write_record(self, file: str, artifact: Artifact, record: Record | None) -> None:
        # Nothing next to the templates of a storage may look like one of them.
        sidecars = {
            suffix: content
            for suffix, content in artifact.sidecars.items()
            if not (self.id and looks_like_template(sidecar_name(file, suffix)))
        }
        if record:
            self._ledger.write(record, sidecars)
        self._ledger.write_file(f"{file}.sha256", f"{artifact.sha256}  {file}\n".encode())

    def _put_again(self, artifact: Artifact, file: str, version: str, record: Record | None) -> Record | None:
        """Return the record of a published template that equals the artifact."""
        path, stem = self._path(file), stem_of(file)
        existing = self._ledger.read_name(stem)
        present = self._ledger.templates_of(stem)
        if present and present != [file]:
            raise ConflictError(
                f"{self.workspace}: {stem} is published as {', '.join(present)}, not as {file}",
                hint=another(version),
            )
        if not present and existing is None:
            raise StorageError(f"{path} was removed during the build", hint="run it again")
        digest = self._digest(file) if present else existing.sha256 if existing else ""
        if existing and existing.sha256 != digest:
            raise StorageError(
                f"{path} has sha256 {digest}, its record has {existing.sha256}",
                hint="the template was replaced or damaged: remove both, or restore it from a copy",
            )
        same_content = existing and present and record and existing.has_content_of(record)
        if digest != artifact.sha256 and not same_content:
            raise _conflict(path, digest, artifact, version)
        if existing is None:
            self._write_record(file, artifact, record)
        if not present:
            durable.link_new(artifact.path, path)
        return existing or record

    def sidecars(self, template: StoredTemplate) -> Mapping[str, bytes]:
        """Return the sidecars next to the template."""
        return self._ledger.read_sidecars(template.file)

    def add_sidecars(self, template: StoredTemplate, sidecars: Mapping[str, bytes]) -> None:
        """Write sidecars next to the template."""
        self._ledger.write_sidecars(template.file, sidecars)

    def remove(self, template: StoredTemplate) -> None:
        """Remove a template, its checksum file and its sidecars; a missing template is not an error."""
        self._ledger.reserve(template.file)
        self._ledger.unlink(template.file)
        self._ledger.remove_sidecars(template.file)

    def _path(self, file: str) -> Path:
        return self.workspace / file

    def _stored(self, file: str) -> StoredTemplate | None:
        path, stem = self._path(file), stem_of(file)
        try:
            state = path.stat()
        except OSError:
            return None
        problem, record = "", None
        try:
            record = self._ledger.read(file)
        except StorageError as error:
            problem = error.message
        if record and record.size != state.st_size:
            problem, record = f"{file} has {state.st_size} bytes, its record has {record.size}", None
        name, version = (record.name, record.version) if record else parts_of(stem)
        volid = f"{self.id}:vztmpl/{file}" if self.id else ""
        return StoredTemplate(
            file, volid, name, version, state.st_size, record, problem, int(state.st_ctime), path=path
        )

    def _digest(self, file: str) -> str:
        import hashlib  # OpenSSL costs the data source 5 ms

        with durable.explained(self._path(file)), self._path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(artifact: Artifact) -> int:
    """Force the file to the disk and return its inode. Raises StorageError if its size is not the artifact's."""
    with durable.explained(artifact.path), artifact.path.open("rb") as opened:
        state = os.fstat(opened.fileno())
        if state.st_size != artifact.size:
            raise StorageError(f"{artifact.path}: {state.st_size} bytes were written, {artifact.size} expected")
        os.fsync(opened.fileno())
    return state.st_ino


def _copy(artifact: Artifact, target: durable.Temporary) -> None:
    """Copy the file of an artifact. Raises StorageError if it is no longer the file whose digest was computed."""
    with durable.explained(artifact.path), artifact.path.open("rb", buffering=0) as source:
        view = memoryview(bytearray(_BLOCK))
        while got := source.readinto(view):
            target.write(view[:got])
    if target.size != artifact.size or target.sha256() != artifact.sha256:
        raise StorageError(
            f"{artifact.path} changed while it was copied", hint="let nothing write to it, and publish it again"
        )


def _conflict(path: Path, digest: str, artifact: Artifact, version: str) -> ConflictError:
    return ConflictError(
        f"{path} is published with sha256 {digest}, this file has {artifact.sha256}",
        hint=f"a published name never changes: {another(version)}",
    )
