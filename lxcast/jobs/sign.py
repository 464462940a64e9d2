"""Statements and signatures added to a template that is published."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from lxcast.errors import EvidenceError, LxcastError
from lxcast.evidence.signatures import Signer, Subject
from lxcast.evidence.statement import STATEMENT_SUFFIX, Build, git_dependency, make_statement
from lxcast.jobs.resolve import find_template
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.settings import BuildOptions, StorageOptions
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Storage


def sign(what: str, storage: Storage, signers: Sequence[str], progress: Progress) -> list[str]:
    """Sign a template in a storage, by a name as in `find_template`; return the suffixes of the new sidecars.

    Raises UsageError for an invalid signer, StorageError if the template has no record, and EvidenceError if a key or
    program is missing, or the template has no statement and a signer needs one.
    """
    parsed = [Signer.parse(each) for each in signers]
    template = find_template(what, storage)
    record = template.require_record(storage.location)
    statement = storage.sidecars(template).get(STATEMENT_SUFFIX, b"")
    sidecars: dict[str, bytes] = {}
    for signer in parsed:
        with progress.step(f"signing {template.file} with {signer.kind}"):
            sidecars |= signer.sign(Subject(record.file, record.checksum().encode(), statement))
    storage.add_sidecars(template, sidecars)
    return list(sidecars)


def open_signed(what: str, options: StorageOptions) -> tuple[Storage, str]:
    """Return the storage that holds a template, and the template's name in it; a path names a file in any directory."""
    path = Path(what).expanduser()
    if what and path.is_file():
        return open_storage(options, output=path.parent), path.name
    return open_storage(options), what


def vouch(record: Record, storage: Storage, options: BuildOptions, progress: Progress) -> None:
    """Add the statement of a build, and its signatures, to a template that is published, unless it has them.

    EvidenceError states that the template is published, and has the command that signs it.
    """
    signers = options.evidence.sign
    try:
        template = find_template(record.file, storage)
        if STATEMENT_SUFFIX not in storage.sidecars(template):
            storage.add_sidecars(template, {STATEMENT_SUFFIX: _make_statement(record, options)})
        if signers:
            sign(record.file, storage, signers, progress)
    except LxcastError as error:
        what = record.template_id or str(Path(storage.location, record.file))
        words = ["lxcast", "sign", what, *(word for each in signers for word in ("--sign", each))]
        words += ["--storage", options.storage.storage] if record.template_id else []
        raise EvidenceError(
            f"{what} is published, but has no complete evidence: {error.message}",
            hint=f"{error.hint}\nthen: {shlex.join(words)}".lstrip(),
        ) from error


def _make_statement(record: Record, options: BuildOptions) -> bytes:
    tree = git_dependency(Path())
    return make_statement(record, Build(options.content_values(), [tree] if tree else []))
