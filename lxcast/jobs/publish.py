"""An already built template, to one storage or to the same storage of many nodes."""

import hashlib
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lxcast import __version__, compression, durable
from lxcast.errors import ConflictError, LxcastError, StorageError, UsageError
from lxcast.identifiers import stem_of, suffix_of
from lxcast.interrupt import Interrupted
from lxcast.jobs.check import CheckReport
from lxcast.jobs.check import check as check_archive
from lxcast.model import FORMATS, IMAGE, Volid, moment, rfc3339
from lxcast.naming import parts_of
from lxcast.progress import Progress
from lxcast.proxmox.client import File, stamp
from lxcast.proxmox.preflight import Preflight
from lxcast.record import Origin, Record, parse_record
from lxcast.rootfs import checks
from lxcast.settings import CheckOptions
from lxcast.storages.fan_out import Delivery, Outcome
from lxcast.storages.proxmox import TAKEN
from lxcast.storages.targets import Targets, failed_nodes, look

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Published:
    """A template that the storages hold: its id is the same on every node."""

    volid: str
    file: File
    record: Record | None
    """None where the file had none and was not read."""
    outcomes: Sequence[Outcome]

    @property
    def error(self) -> LxcastError | None:
        """The first failure of a node, with all of them in its message."""
        failed = {each.node: each.error for each in self.outcomes if each.error}
        first, *others = failed.values() or [None]
        if others and all(error is first for error in others):
            return first
        return failed_nodes(failed, len(self.outcomes)) if failed else None


def publish(
    path: Path,
    targets: Targets,
    options: CheckOptions,
    progress: Progress,
    *,
    check: bool = True,
) -> Published:
    """Publish the template in a file under the file's own name.

    The file is compared with the record beside it, and judged as `lxcast check` does unless `check` is False; then
    every target is looked at before the first byte is sent. The record goes to the targets' folder of records.
    Raises UsageError, SourceError, CheckError, StorageError, ConflictError and ApiError; where some of several nodes
    fail nothing is raised: `error` tells.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, no template", hint="name the file, as `lxcast build --output` prints it")
    volid = str(Volid.make(targets.storage, path.name))
    checks.validate(options.policy, options.allow)
    own = _read_record(path)
    with progress.step(f"hashing {path}"):
        file = _hash(path, progress)
    if own is not None and (own.size, own.sha256) != (file.size, file.sha256):
        raise StorageError(
            f"{path} has {file.size} bytes and sha256 {file.sha256}, its record says {own.size} and {own.sha256}",
            hint="the file was damaged or replaced: build it again, or remove the record if the file is right",
        )
    if check:
        init = "app" if own is not None and own.hints.get("init") == "app" else ""
        checked = check_archive(path, options, progress, init=init)
        if failure := checks.to_error(checked.findings, str(path)):
            raise failure
        for finding in checked.findings:
            if not finding.allowed:
                progress.warn(f"{finding.check}: {finding.message}")
        own = own or _make_record(path, file, checked, options.policy)
    found = look(targets, progress, suffix=suffix_of(file.name), size=file.size)
    try:
        return send(file, own, volid, targets, found, progress)
    except Interrupted as interrupt:
        interrupt.hint = "the same command again completes it; a node may still be copying what it got"
        raise


def send(
    file: File, own: Record | None, volid: str, targets: Targets, found: Sequence[Preflight], progress: Progress
) -> Published:
    """Put a file to every target that was looked at, and write its record where one succeeded.

    A failure of the only target is raised. An interrupt does not wait for what is under way; the record then names
    the nodes that had ended.
    """
    known = _known(targets, file, volid)
    proofs = [known if known and (each.shared or each.ref.node in _nodes(known)) else None for each in found]
    if known or own:
        durable.make_folder(targets.records)  # before anything is sent: the record is part of a success
    ended: dict[int, Outcome] = {}
    try:
        with progress.step(f"publishing {volid}"):
            uploads = 1 if targets.relay else sum(not each.errors for each in found)
            progress.total(file.size * uploads)
            Delivery(targets, found, file, proofs).run(progress, ended)
    except BaseException:
        with suppress(LxcastError):
            _note(targets, file, volid, known or own, list(ended.values()))
        raise
    outcomes = [ended[index] for index in range(len(found))]
    for outcome in outcomes:
        for warning in outcome.put.warnings if outcome.put else ():
            progress.warn(warning)
    if len(outcomes) == 1 and outcomes[0].error:
        raise outcomes[0].error
    return Published(volid, file, _note(targets, file, volid, known or own, outcomes), outcomes)


def _note(
    targets: Targets, file: File, volid: str, record: Record | None, outcomes: Sequence[Outcome]
) -> Record | None:
    """Return the record of what was published, which is written where any target has it."""
    if record is None:
        return None
    nodes = sorted({*_nodes(record), *(each.node for each in outcomes if each.put)})
    hints = {**record.hints, "nodes": nodes}
    record = replace(record, file=file.name, template_id=volid, storage=targets.storage, hints=hints)
    if any(each.put for each in outcomes):
        write_record(targets.records, record)
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write the record of what was published. Raises StorageError."""
    durable.make_folder(folder)
    stem = stem_of(record.file)
    with durable.Temporary(folder) as temporary:
        temporary.write(record.to_json().encode())
        temporary.sync()
        durable.replace(temporary.path, folder / f"{stem}.json")


def read_record(folder: Path, file: str) -> Record | None:
    """Return the record that a folder has of a template's file; None where there is none, or it is of another file."""
    path = folder / f"{stem_of(file)}.json"
    with durable.explained(path):
        if not path.is_file() or not path.stat().st_size:  # an empty one is a number that a build claimed
            return None
        record = parse_record(path.read_bytes(), str(path))
    return record if record.file == file else None


def _known(targets: Targets, file: File, volid: str) -> Record | None:
    """Return this machine's record of what was published under that id; ConflictError where that were other bytes."""
    record = read_record(targets.records, file.name)
    if record is None or record.template_id != volid:
        return None
    if record.sha256 != file.sha256:
        raise ConflictError(
            f"{volid} was published with sha256 {record.sha256}, and ours has {file.sha256}",
            hint=f"{TAKEN}; the record is in {targets.records}",
        )
    return record


def _nodes(record: Record) -> Sequence[str]:
    """Return the nodes that a record says the template was published on."""
    nodes = record.hints.get("nodes", ())
    return [str(each) for each in nodes] if isinstance(nodes, list) else []


def _read_record(path: Path) -> Record | None:
    return read_record(path.parent, path.name)


def _hash(path: Path, progress: Progress) -> File:
    digest = hashlib.sha256()
    with durable.explained(path), path.open("rb", buffering=0) as source:
        before = stamp(source.fileno())
        progress.total(before[1])
        view = memoryview(bytearray(_BLOCK))
        size = 0
        while got := source.readinto(view):
            digest.update(view[:got])
            size += got
            progress.advance(got)
        if stamp(source.fileno()) != before or size != before[1]:
            raise StorageError(
                f"{path} changed while it was read", hint="let nothing write to it, and publish it again"
            )
    return File(path, path.name, size, digest.hexdigest(), before)


def _make_record(path: Path, file: File, checked: CheckReport, policy: str) -> Record:
    """Return a record of a template that lxcast did not build."""
    suffix = suffix_of(path.name)
    name, version = parts_of(stem_of(path.name))
    return Record(
        name=name,
        version=version,
        size=file.size,
        unpacked_size=checked.unpacked_size,
        members=checked.members,
        sha256=file.sha256,
        diff_id=_diff_id(path),
        format=IMAGE if checked.image else next((row.name for row in FORMATS.values() if row.suffix == suffix), "bz2"),
        compressor="unknown",
        ostype=checked.ostype,
        arch=checked.arch,
        created=rfc3339(moment()),
        lxcast=__version__,
        source=Origin("tar", path.name),
        checks={"policy": policy, "findings": [finding.as_dict() for finding in checked.findings]},
    )


def _diff_id(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as raw:
        stream = compression.decompress(compression.Peeked(raw), str(path))
        with closing(compression.Prefetch(stream)) as ahead:
            while chunk := ahead.exchange(b""):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
