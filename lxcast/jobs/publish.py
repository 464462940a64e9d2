"""Publish an existing template file to a storage, on one node or on many."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lxcast import __version__, durable
from lxcast.errors import StorageError, UsageError
from lxcast.identifiers import stem_of, suffix_of
from lxcast.jobs.check import CheckReport
from lxcast.jobs.check import check as check_archive
from lxcast.model import FORMATS, IMAGE, Version, Volid, moment, rfc3339
from lxcast.naming import parts_of
from lxcast.progress import Progress
from lxcast.proxmox.upload_body import stamp
from lxcast.record import Origin, Record
from lxcast.rootfs import checks
from lxcast.settings import CheckOptions
from lxcast.storages.ledger import Ledger
from lxcast.storages.storage import Artifact, Claim, Publication, Storage

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was read once: its size, SHA-256 and stamp."""

    path: Path
    size: int
    sha256: str
    stamp: tuple[int, int, int]


def publish(
    path: Path,
    storage: Storage,
    options: CheckOptions,
    progress: Progress,
    *,
    check: bool = True,
) -> Publication:
    """Publish the template in a file under the file's own name, with the record and sidecars next to it.

    The file is compared with its record, and checked as `lxcast check` does unless `check` is False, before the storage
    is asked. Raises UsageError, SourceError, CheckError, StorageError, ConflictError and ApiError; if only some of
    several nodes fail nothing is raised: the publication has the error.
    """
    with durable.explained(path):
        is_directory = path.is_dir()
    if is_directory or not path.name:
        raise UsageError(
            f"{path} is a directory, not a template", hint="name the file, as `lxcast build --output` prints it"
        )
    Volid.make(storage.id or "local", path.name)
    checks.validate(options.policy, options.allow)
    ledger = Ledger(path.parent, "")
    record = ledger.read(path.name)
    file = _hash(path, progress) if record or not check else None
    if record and file and (record.size, record.sha256) != (file.size, file.sha256):
        raise StorageError(
            f"{path} has {file.size} bytes and sha256 {file.sha256}, its record has {record.size} and {record.sha256}",
            hint="the file was damaged or replaced: build it again, or remove the record if the file is right",
        )
    if check:
        checked, read = _check(path, options, progress, hashed=file is None)
        file = file or read
        record = record or _make_record(path, file, checked, options.policy)
    assert file
    suffix = suffix_of(path.name)
    storage.prepare(suffix, file.size, progress)
    version = parts_of(stem_of(path.name))[1]
    artifact = Artifact(
        path=path,
        suffix=suffix,
        size=file.size,
        sha256=file.sha256,
        stamp=file.stamp,
        record=record,
        sidecars=ledger.read_sidecars(path.name),
    )
    return storage.put(artifact, Claim(stem_of(path.name), Version.parse(version) if version else None), progress)


def _check(path: Path, options: CheckOptions, progress: Progress, *, hashed: bool) -> tuple[CheckReport, Hashed]:
    """Check a file, warn about findings that are not errors, and return the report; with `hashed` also the digests.

    Raises CheckError for errors, StorageError if the file changed meanwhile.
    """
    before = _stamp(path)
    checked = check_archive(path, options, progress, hashed=hashed)
    if hashed and (_stamp(path) != before or checked.size != before[1]):
        raise _changed(path)
    if failure := checks.to_error(checked.findings, str(path)):
        raise failure
    for finding in checked.findings:
        if not finding.allowed:
            progress.warn(f"{finding.check}: {finding.message}")
    return checked, Hashed(path, checked.size, checked.sha256, before)


def _stamp(path: Path) -> tuple[int, int, int]:
    with durable.explained(path), path.open("rb", buffering=0) as file:
        return stamp(file.fileno())


def _changed(path: Path) -> StorageError:
    return StorageError(f"{path} changed while it was read", hint="let nothing write to it, and publish it again")


def _hash(path: Path, progress: Progress) -> Hashed:
    digest, size = hashlib.sha256(), 0
    with progress.step(f"hashing {path}"), durable.explained(path), path.open("rb", buffering=0) as source:
        before = stamp(source.fileno())
        progress.total(before[1])
        view = memoryview(bytearray(_BLOCK))
        while got := source.readinto(view):
            digest.update(view[:got])
            size += got
            progress.advance(got)
        if stamp(source.fileno()) != before or size != before[1]:
            raise _changed(path)
    return Hashed(path, size, digest.hexdigest(), before)


def _make_record(path: Path, file: Hashed, checked: CheckReport, policy: str) -> Record:
    """Return a record for a template that lxcast did not build."""
    suffix = suffix_of(path.name)
    name, version = parts_of(stem_of(path.name))
    return Record(
        name=name,
        version=version,
        size=file.size,
        unpacked_size=checked.unpacked_size,
        members=checked.members,
        sha256=file.sha256,
        diff_id=checked.diff_id,
        format=IMAGE if checked.image else next((row.name for row in FORMATS.values() if row.suffix == suffix), "bz2"),
        compressor="unknown",
        ostype=checked.ostype,
        arch=checked.arch,
        created=rfc3339(moment()),
        lxcast=__version__,
        source=Origin("tar", path.name),
        checks={"policy": policy, "findings": [finding.as_dict() for finding in checked.findings]},
    )
