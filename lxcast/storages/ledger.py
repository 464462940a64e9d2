"""Claims, records and sidecars of templates, in one directory.

A directory storage keeps them next to its templates. A storage that can hold no records has a directory on this machine
for them.

A version is claimed by the exclusive creation of its record file, empty. A record without a template is a number that
was claimed and burnt, or a template that was removed later: both stay taken.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lxcast import durable
from lxcast.errors import ConflictError, StorageError, UsageError
from lxcast.identifiers import TEMPLATE_SUFFIXES, stem_of, suffix_of
from lxcast.model import FORMATS, Version, Volid
from lxcast.naming import Naming, another
from lxcast.record import Record, parse_record
from lxcast.storages.storage import METADATA_SUFFIX, SIDECARS, SIGNATURES, Artifact, Claim, sidecar_name, sidecar_names

_KEPT = "files"
"""Subdirectory of the copies that `keep_copy` makes."""

_locked: list[int] = []
"""Descriptors of the kept copies: their locks are held until this process ends, however it ends."""


class LockedClaim(Claim):
    """A claim in a ledger: the locked, empty record file, which is this process's own."""

    def __init__(self, ledger: "Ledger", stem: str, version: Version | None, *, lock: int = -1) -> None:
        super().__init__(stem, version, taken=lock < 0)
        self.naming: Naming | None = None
        """If the ledger chose the number: what the next one can be claimed with."""
        self.inode = 0
        """The template's, set before it takes its name."""
        self._ledger, self._lock = ledger, lock

    def burn(self) -> None:
        """Release the claim but leave its number taken."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discard(self) -> None:
        """Give the claim up: remove its record and sidecars unless its template has its name."""
        if self._lock < 0:
            return
        ledger = self._ledger
        with durable.explained(ledger.directory):
            inodes = [ledger.path(file).stat().st_ino for file in ledger.templates_of(self.stem)]
        if self.inode not in inodes:
            files = [name for row in FORMATS.values() for name in sidecar_names(self.stem + row.suffix)]
            ledger.unlink(*dict.fromkeys(files), f"{self.stem}.json")
        self.burn()


class Ledger:
    """The claims, records and sidecars in a directory. `id` is the storage's id, "" without one."""

    def __init__(self, directory: Path, id: str) -> None:
        self.directory = directory
        self.id = id

    def path(self, file: str) -> Path:
        """Return the path of a file in the directory."""
        return self.directory / file

    def files(self) -> list[str]:
        """Return the names of all files; none if there is no directory. Raises StorageError."""
        with durable.explained(self.directory):
            if not self.directory.is_dir():
                return []
            return sorted(path.name for path in self.directory.iterdir())

    def templates_of(self, stem: str) -> list[str]:
        """Return the template files with this name."""
        with durable.explained(self.directory):
            return [stem + suffix for suffix in TEMPLATE_SUFFIXES if self.path(stem + suffix).exists()]

    def next_version(self, naming: Naming, others: Iterable[str] = ()) -> Version:
        """Return the version after the highest of all templates, records and `others`, which are file names."""
        return Version(max(self._numbers(naming.series(), others).values(), default=0) + 1)

    def claim(self, naming: Naming, version: Version | None = None, others: Iterable[str] = ()) -> LockedClaim:
        """Claim a name as `Storage.claim` does. The numbers of `others`, which are file names, are taken too."""
        others = tuple(others)
        has_version = "version" in naming.pattern.fields
        if version and not has_version:
            raise UsageError(
                f"--version {version}: the pattern {naming.pattern.text!r} has no {{version}}",
                hint="add {version} to the pattern, or omit the version",
            )
        if has_version and version is None:
            return self._claim_next(naming, others)
        return self.claim_name(self._checked(naming.render(version)), version)

    def _claim_next(self, naming: Naming, others: tuple[str, ...]) -> LockedClaim:
        version = self.next_version(naming, others)
        while True:
            stem = self._checked(naming.render(version))
            try:
                lock = durable.create_exclusive(self.record_path(stem))
            except FileExistsError:
                version = version.next
                continue
            claim = LockedClaim(self, stem, version, lock=lock)
            # With a time in the name two processes may claim one number by two names: both step back.
            numbers = self._numbers(naming.series(), others)
            if any(number == version.number and other != stem for other, number in numbers.items()):
                claim.discard()
                version = self.next_version(naming, others)
                continue
            claim.naming = naming
            return claim

    def claim_name(self, stem: str, version: Version | None = None) -> LockedClaim:
        """Claim one name. Raises ConflictError if another process holds it."""
        record = self.record_path(stem)
        if self.templates_of(stem):
            return LockedClaim(self, stem, version)
        with suppress(FileExistsError):
            return LockedClaim(self, stem, version, lock=durable.create_exclusive(record))
        with durable.explained(record):
            lock = os.open(record, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            state = os.fstat(lock)
            if state.st_size:
                os.close(lock)
                return LockedClaim(self, stem, version)
            # An empty record is a claim; the process that gets its lock inherits it from a dead process.
            if durable.lock(lock) and record.exists() and record.stat().st_ino == state.st_ino:
                return LockedClaim(self, stem, version, lock=lock)
        os.close(lock)
        raise ConflictError(
            f"{self.directory}: {stem} is being built by another process",
            hint=f"wait for it, or {another(version)}; if no other build is running: rm {record}",
        )

    def read(self, file: str) -> Record | None:
        """Return the record of a template file; None if there is none, it is only a claim, or it is of another file.

        Raises StorageError if it cannot be read.
        """
        record = self.read_name(stem_of(file))
        return record if record and record.file == file else None

    def read_name(self, stem: str) -> Record | None:
        """Return the record with this name, of whatever file."""
        path = self.record_path(stem)
        try:
            with durable.explained(path):
                content = path.read_bytes()
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return parse_record(content, str(path)) if content else None

    def write(self, record: Record, sidecars: Mapping[str, bytes]) -> None:
        """Write the record and the sidecars of a template. Raises StorageError."""
        self.write_sidecars(record.file, sidecars)
        self.write_file(f"{stem_of(record.file)}.json", record.to_json().encode())

    def write_sidecars(self, file: str, sidecars: Mapping[str, bytes]) -> None:
        """Write sidecars of a template file. Raises StorageError."""
        for suffix, content in sidecars.items():
            self.write_file(sidecar_name(file, suffix), content)

    def read_sidecars(self, file: str) -> dict[str, bytes]:
        """Return the existing sidecars of a template file, by suffix. Raises StorageError if one cannot be read."""
        found = {}
        for suffix in (*SIDECARS, *SIGNATURES):
            path = self.path(sidecar_name(file, suffix))
            with durable.explained(path):
                if path.is_file():
                    found[suffix] = path.read_bytes()
        return found

    def write_file(self, name: str, content: bytes) -> None:
        """Write one file, whole or not at all."""
        with durable.Temporary(self.directory) as temporary:
            temporary.write(content)
            temporary.sync()
            durable.replace(temporary.path, self.path(name))

    def reserve(self, file: str) -> None:
        """Take the name of a template file by an empty record if it has no record."""
        durable.make_directory(self.directory)
        with suppress(FileExistsError):
            os.close(durable.create_exclusive(self.record_path(stem_of(file))))

    def remove_sidecars(self, file: str) -> None:
        """Remove the sidecars and the kept copy of a template file; its record stays."""
        self.unlink(*sidecar_names(file), f"{_KEPT}/{file}")
        durable.sync_directory(self.directory)

    def unlink(self, *names: str) -> None:
        """Remove files, those that exist."""
        for name in names:
            with durable.explained(self.path(name)):
                self.path(name).unlink(missing_ok=True)

    def save(self, artifact: Artifact, claim: Claim) -> Path:
        """Give an artifact that could not be published its name in this directory, with record and checksum file."""
        file = claim.stem + artifact.suffix
        target = self.path(file)
        existing = self.read(file)  # some nodes may have it
        if existing and existing.sha256 != artifact.sha256:
            raise ConflictError(f"{target} has another record")
        if artifact.record:
            version = str(claim.version or "")
            record = replace(artifact.record, version=version, file=file, template_id="", storage="")
            self.write(existing or record, artifact.sidecars)
        self.write_file(f"{file}.sha256", f"{artifact.sha256}  {file}\n".encode())
        durable.link_new(artifact.path, target)
        claim.burn()
        return target

    def keep_copy(self, artifact: Artifact, file: str) -> Path:
        """Keep the temporary file of a published artifact under its name until this process ends.

        Then its lock is gone, and the next `sweep` removes it: Packer kills its plugins without a chance to clean up.
        """
        directory = self.path(_KEPT)
        durable.make_directory(directory)
        with durable.explained(artifact.path):
            _locked.append(os.dup(artifact.descriptor))
        durable.replace(artifact.path, directory / file)
        return directory / file

    def sweep(self) -> None:
        """Remove temporary files and kept copies whose processes have ended."""
        durable.sweep(self.directory)
        durable.sweep(self.path(_KEPT), "*")

    def kept(self, file: str, size: int) -> Path | None:
        """Return the kept copy of a template file, if there is one with this size."""
        path = self.path(_KEPT) / file
        try:
            return path if path.stat().st_size == size else None
        except OSError:
            return None

    def record_path(self, stem: str) -> Path:
        """Return the path of the record with this name."""
        return self.path(f"{stem}.json")

    def _checked(self, stem: str) -> str:
        # The longest suffix decides, so that whether a name is valid does not depend on the format.
        Volid.make(self.id or "local", f"{stem}.tar.zst")
        return stem

    def _numbers(self, series: re.Pattern[str], others: Iterable[str]) -> dict[str, int]:
        """Return the version numbers that are taken, by the names without suffix that take them."""
        numbers = {}
        for file in (*self.files(), *others):
            stem = record_stem(file)
            match = series.fullmatch(stem) if stem else None
            if match and (version := match.groupdict().get("version")):
                numbers[stem] = Version.parse(version).number
        return numbers


def record_stem(file: str) -> str:
    """Return the name without suffix of a template or record file; "" for any other file."""
    if suffix_of(file) and not file.endswith(METADATA_SUFFIX):
        return stem_of(file)
    return file.removesuffix(".json") if file.endswith(".json") else ""
