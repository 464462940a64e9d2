"""A folder laid out as a Proxmox storage of type `dir`, or any plain folder, as a place for templates.

A version is claimed by the exclusive creation of its record file, empty. When the template is finished, record and
checksum file take their final content first and the template takes its name last, by a step that cannot overwrite:
that one step publishes. So a template that is there is whole and has its record, and a record without its template is
a number that was claimed and burnt (or a template that was removed later): both stay taken.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lxcast import durable
from lxcast.errors import ConflictError, StorageError, UsageError
from lxcast.identifiers import TEMPLATE_SUFFIXES, suffix_of
from lxcast.model import FORMATS, DirectoryRef, Version, Volid
from lxcast.naming import Naming, another, parts_of
from lxcast.record import Record, parse_record
from lxcast.storages.entry import Entry, select

METADATA_SUFFIX = ".meta.tar.xz"
"""Of the builder's metadata that a plain folder keeps beside a template."""


@dataclass(slots=True)
class Claim:
    """A name without suffix that this process alone may publish, or one that is taken already (`taken`)."""

    stem: str
    version: Version | None
    taken: bool = False
    lock: int = -1
    """Descriptor of the locked claim while this process owns it."""
    inode: int = 0
    """Of the template, from when it is about to take its name."""


class DirectoryStorage:
    """Templates in a folder. `id` is what their volids carry, "" for a plain folder, which has no volids."""

    def __init__(self, ref: DirectoryRef) -> None:
        self.id = ref.id
        self.root = ref.path
        self.folder = ref.path / "template" / "cache"
        self.elsewhere: Mapping[str, int] = {}
        """Templates of another place, with their bytes, whose numbers are taken here, too."""

    @classmethod
    def plain(cls, path: Path) -> "DirectoryStorage":
        """Take any folder instead, with the files in it directly."""
        storage = cls(DirectoryRef("", path))
        storage.folder = path
        return storage

    def prepare(self, needed: int = 0) -> None:
        """Make the folder where it is new, sweep what dead processes left, and see that `needed` bytes can be written.

        Only the last part of the storage's path is made: a missing parent is more likely a mount that is not there.
        """
        if not self.root.parent.is_dir():
            raise StorageError(
                f"{self.root}: {self.root.parent} is no folder",
                hint=f"is a filesystem not mounted? else: mkdir -p {self.root.parent}",
            )
        for folder in (self.root, self.root / "template", self.folder) if self.id else (self.root,):
            try:
                with durable.explained(folder):
                    folder.mkdir()
            except FileExistsError as error:
                if not folder.is_dir():
                    raise StorageError(f"{folder}: not a folder", hint="name another storage (--storage)") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            # access(2) does not say why; a real attempt does.
            durable.Temporary(self.folder).close()
        durable.sweep(self.folder)
        free = durable.free(self.folder)
        if free < max(needed, 1):
            raise StorageError(
                f"{self.folder}: the disk is full: {free} bytes are free"
                + (f", {needed} are needed" if needed else ""),
                hint="free some space, or name a storage that has more (--storage)",
            )

    def entries(self) -> list[Entry]:
        """Return the templates, with and without records, by name, version and file; StorageError without a folder."""
        if not self.root.is_dir():
            raise StorageError(f"{self.root}: no such storage folder", hint="lxcast build makes it")
        files = [file for file in self._files() if self.id or not file.endswith(METADATA_SUFFIX)]
        found = [self._entry(file) for file in files if suffix_of(file)]
        return sorted((one for one in found if one), key=lambda one: (one.name, _number(one.version), one.file))

    def records(self) -> list[Record]:
        """Return the records whose templates are there as they say; none where there is no folder."""
        return [one.record for one in self.entries() if one.record] if self.root.is_dir() else []

    def find(self, name: str, version: Version | None = None, variant: str | None = None) -> Record:
        """Return the record of a template by name, version and variant, as `select` does."""
        entries = self.entries()
        stem = f"{name}-{version}"
        if version and f"{stem}.json" in self._files() and not self._templates(stem):
            raise StorageError(
                f"{self._record(stem)}: the record of {name} {version} is there, its template is not",
                hint="a build of it runs, or was ended before it published, or the template was removed: "
                "take another version",
            )
        return select(entries, name, version, str(self.root), variant)

    def newest(self, naming: Naming) -> Record | None:
        """Return the record of the newest version; None where there is none, or its template has no record.

        A record that cannot be read is a StorageError.
        """
        series = naming.series()
        named = [one for one in self.entries() if series.fullmatch(_stem(one.file))]
        newest = max(named, key=lambda one: (_version_in(one.file, series), one.rank, one.file), default=None)
        if newest is None or (newest.record is None and not newest.problem):
            return None
        record = newest.known(str(self.folder))
        return record if record.name == naming.name else None

    def next_version(self, naming: Naming) -> Version:
        """Return the version after the highest that any template or record (a burnt claim too) has."""
        return Version(max(self._numbers(naming.series()).values(), default=0) + 1)

    def claim(self, naming: Naming, version: Version | None = None) -> Claim:
        """Claim the next version, the given one, or a name without version where the pattern has none.

        A name that is published already is no error yet: `put` compares the bytes. A name that another process holds
        at this moment is a ConflictError, a version that the pattern cannot carry a UsageError.
        """
        has_version = "version" in naming.pattern.fields
        if version and not has_version:
            raise UsageError(
                f"version {version} was asked for, but the pattern {naming.pattern.text!r} has no {{version}}",
                hint="put {version} into the pattern, or leave the version out",
            )
        if has_version and version is None:
            return self._claim_next(naming)
        return self._claim_fixed(self._legal(naming.render(version)), version)

    def _claim_next(self, naming: Naming) -> Claim:
        version = self.next_version(naming)
        while True:
            stem = self._legal(naming.render(version))
            try:
                held = durable.create_exclusive(self._record(stem))
            except FileExistsError:
                version = version.next
                continue
            claim = Claim(stem, version, lock=held)
            # With a time in the name two processes may claim one number by two names: both step back.
            numbers = self._numbers(naming.series())
            if any(number == version.number and other != stem for other, number in numbers.items()):
                self.discard(claim)
                version = self.next_version(naming)
                continue
            return claim

    def _claim_fixed(self, stem: str, version: Version | None) -> Claim:
        record = self._record(stem)
        if self._templates(stem):
            return Claim(stem, version, taken=True)
        with suppress(FileExistsError):
            return Claim(stem, version, lock=durable.create_exclusive(record))
        with durable.explained(record):
            held = os.open(record, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(held).st_size:
            os.close(held)
            return Claim(stem, version, taken=True)
        # An empty record is a claim; who gets its lock inherits it from a dead process.
        if durable.lock(held) and record.exists() and record.stat().st_ino == os.fstat(held).st_ino:
            return Claim(stem, version, lock=held)
        os.close(held)
        raise ConflictError(
            f"{self.root}: {stem} is being built by another process",
            hint=f"wait for it, or {another(version)}; where none runs any more: rm {record}",
        )

    @contextmanager
    def claimed(self, naming: Naming, version: Version | None = None) -> Iterator[Claim]:
        """Claim as `claim` does, and give the claim up at the end of the context where nothing was published."""
        claim = self.claim(naming, version)
        try:
            yield claim
        finally:
            self.discard(claim)

    def open_temporary(self) -> durable.Temporary:
        """Make the file that a template is written to; it is given its name by `put`."""
        return durable.Temporary(self.folder)

    def put(
        self, temporary: durable.Temporary, claim: Claim, record: Record, beside: Mapping[str, bytes] | None = None
    ) -> Record:
        """Publish a finished file under the claimed name and return its record, completed by what the place knows.

        `beside` are further files of a plain folder, by the suffix that takes the template's place.
        Where the name is published already and it is the same template (same bytes, or same diff id and format) the
        record that is there is returned and nothing is changed; else ConflictError says both digests.
        """
        file = claim.stem + FORMATS[record.format].suffix
        volid = str(Volid.make(self.id, file)) if self.id else ""
        version = str(claim.version) if claim.version else ""
        record = replace(record, version=version, file=file, template_id=volid, storage=self.id)
        if temporary.size != record.size:
            raise StorageError(f"{temporary.path}: {temporary.size} bytes were written, {record.size} counted")
        temporary.sync()
        if claim.taken:
            return self._put_again(temporary, record)
        self._write(self._record(claim.stem), record.to_json().encode())
        self._write(self.folder / f"{file}.sha256", record.checksum().encode())
        for suffix, content in (beside or {}).items():
            self._write(self.folder / f"{claim.stem}{suffix}", content)
        claim.inode = os.fstat(temporary.fileno()).st_ino
        try:
            durable.link_new(temporary.path, self.folder / file)
        except FileExistsError:
            # Something that knows no claims put it there meanwhile.
            digest = self._digest(file)
            if digest != record.sha256:
                raise _conflict(self.folder / file, digest, record) from None
        self.burn(claim)
        return record

    def _put_again(self, temporary: durable.Temporary, record: Record) -> Record:
        stem = _stem(record.file)
        known = self._read(stem)
        present = self._templates(stem)
        if present and present != [record.file]:
            raise ConflictError(
                f"{self.folder}: {stem} is published as {', '.join(present)}, not as {record.file}",
                hint=another(record.version),
            )
        if not present and known is None:
            raise StorageError(f"{self.folder / record.file}: it was removed while this build ran", hint="run it again")
        digest = self._digest(record.file) if present else known.sha256 if known else ""
        if known and known.sha256 != digest:
            raise StorageError(
                f"{self.folder / record.file} has sha256 {digest}, its record says {known.sha256}",
                hint="the template was replaced or damaged: remove both, or restore it from a copy",
            )
        same_content = known and present and known.has_content_of(record)
        if digest != record.sha256 and not same_content:
            raise _conflict(self.folder / record.file, digest, record)
        if known is None:
            self._write(self.folder / f"{record.file}.sha256", record.checksum().encode())
            self._write(self._record(stem), record.to_json().encode())
        if not present:
            durable.link_new(temporary.path, self.folder / record.file)
        return known or record

    def remove(self, file: str) -> None:
        """Remove a template and its checksum file; the record stays, so that the name stays taken.

        Where there is none an empty one takes the number. Raises StorageError; a template that is gone already is none.
        """
        with suppress(FileExistsError):
            os.close(durable.create_exclusive(self._record(_stem(file))))
        with durable.explained(self.folder / file):
            for name in (file, f"{file}.sha256"):
                (self.folder / name).unlink(missing_ok=True)
        durable.sync_folder(self.folder)

    def discard(self, claim: Claim) -> None:
        """Give up a claim that no published content names; after a successful `put` this does nothing."""
        if claim.lock < 0:
            return
        files = self._templates(claim.stem)
        if not any((self.folder / file).stat().st_ino == claim.inode for file in files):
            own = () if self.id else (METADATA_SUFFIX,)
            for suffix in (*(f"{row.suffix}.sha256" for row in FORMATS.values()), *own, ".json"):
                with durable.explained(self.folder):
                    (self.folder / f"{claim.stem}{suffix}").unlink(missing_ok=True)
        self.burn(claim)

    def burn(self, claim: Claim) -> None:
        """Let go of a claim but leave its number taken, since content may already carry it."""
        if claim.lock >= 0:
            os.close(claim.lock)
            claim.lock = -1

    def _legal(self, stem: str) -> str:
        # The longest suffix decides, so that a name's legality does not depend on the format.
        Volid.make(self.id or "local", f"{stem}.tar.zst")
        return stem

    def _record(self, stem: str) -> Path:
        return self.folder / f"{stem}.json"

    def _write(self, target: Path, content: bytes) -> None:
        with durable.Temporary(self.folder) as temporary:
            temporary.write(content)
            temporary.sync()
            durable.replace(temporary.path, target)

    def _files(self) -> list[str]:
        with durable.explained(self.folder):
            return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def _templates(self, stem: str) -> list[str]:
        return [stem + suffix for suffix in TEMPLATE_SUFFIXES if (self.folder / (stem + suffix)).exists()]

    def _numbers(self, series: re.Pattern[str]) -> dict[str, int]:
        """Return the version numbers that are taken, by the names without suffix that take them."""
        return {
            _stem(file): number for file in (*self._files(), *self.elsewhere) if (number := _version_in(file, series))
        }

    def _entry(self, file: str) -> Entry | None:
        try:
            state = (self.folder / file).stat()
        except OSError:
            return None
        stem, size, problem, record = _stem(file), state.st_size, "", None
        try:
            record = self._read(stem)
        except StorageError as error:
            problem = error.message
        if record and record.file != file:
            record = None
        if record and record.size != size:
            problem, record = f"{file} has {size} bytes, its record says {record.size}", None
        name, version = parts_of(stem)
        if record:
            name, version = record.name, record.version
        volid = f"{self.id}:vztmpl/{file}" if self.id else ""
        return Entry(file, volid, name, version, size, record, problem, int(state.st_ctime))

    def _read(self, stem: str) -> Record | None:
        """Return the record of that name; None where there is none or it is only a claim."""
        path = self._record(stem)
        try:
            with durable.explained(path):
                text = path.read_bytes()
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return parse_record(text, str(path)) if text else None

    def _digest(self, file: str) -> str:
        import hashlib  # OpenSSL costs the data source 5 ms

        with durable.explained(self.folder / file), (self.folder / file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _stem(file: str) -> str:
    """Return the name without suffix that a template or record stands for, "" for any other file."""
    return file.removesuffix(suffix_of(file) or ".json") if suffix_of(file) or file.endswith(".json") else ""


def _number(version: str) -> int:
    return Version.parse(version).number if version else 0


def _version_in(file: str, series: re.Pattern[str]) -> int:
    """Return the version number in a file name of the series; 0 where it is no name of it or has none."""
    match = series.fullmatch(_stem(file))
    return _number(match.groupdict().get("version") or "") if match else 0


def _conflict(path: Path, digest: str, record: Record) -> ConflictError:
    return ConflictError(
        f"{path} is published with sha256 {digest}, this build has {record.sha256}",
        hint=f"a published name never changes: {another(record.version)}",
    )
