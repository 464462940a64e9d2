"""Whether a template is what its record, statement and signatures say, and whether they satisfy a policy."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lxcast import durable
from lxcast.errors import EvidenceError, StorageError
from lxcast.evidence.policy import Policy, matches
from lxcast.evidence.signatures import (
    BUNDLE_SUFFIX,
    ENVELOPE_SUFFIX,
    GPG_SUFFIX,
    SSH_SUFFIX,
    verify_envelope,
    verify_gpg,
    verify_ssh,
)
from lxcast.evidence.statement import (
    STATEMENT_SUFFIX,
    parse_statement,
    statement_builder,
    statement_source,
    subject_problems,
)
from lxcast.jobs.resolve import find_template
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.settings import StorageOptions
from lxcast.storages.ledger import Ledger
from lxcast.storages.open import open_storage

OK, FAILED, MISSING, SKIPPED = "ok", "FAILED", "missing", "not checked"


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one check; only FAILED makes the verification fail."""

    name: str
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template and what came with it."""

    file: str
    path: Path | None
    """None if this machine has no copy of the file."""
    record: Record | None
    problem: str
    """Why there is no record."""
    sidecars: Mapping[str, bytes]
    checksum: bytes | None = None
    """The checksum file next to it."""


def verify(what: str, options: StorageOptions, policy: Policy, progress: Progress) -> list[Row]:
    """Return a row for each thing that was checked about a template, named as in `find_template` or by its path.

    Raises StorageError if the template is not found or cannot be read, ApiError if its storage cannot be listed.
    """
    template = _find(what, options)
    digest = ""
    if template.path:
        with progress.step(f"hashing {template.path}"), durable.explained(template.path):
            progress.total(template.path.stat().st_size)
            digest = _hash(template.path, progress)
    rows = [*_check_file(template, digest), *_check_statement(template, digest, policy)]
    rows += _check_signatures(template, digest, policy)
    return [_required(row, policy) for row in rows]


def _find(what: str, options: StorageOptions) -> Template:
    path = Path(what).expanduser()
    if what and path.is_file():
        ledger, problem, record = Ledger(path.parent, ""), "there is no record", None
        try:
            record = ledger.read(path.name)
        except StorageError as error:
            problem = error.message
        checksum = path.with_name(f"{path.name}.sha256")
        with durable.explained(checksum):
            listed = checksum.read_bytes() if checksum.is_file() else None
        return Template(path.name, path, record, problem, ledger.read_sidecars(path.name), listed)
    storage = open_storage(options)
    found = find_template(what, storage)
    if found.path:
        return _find(str(found.path), options)
    return Template(found.file, None, found.record, found.problem or "there is no record", storage.sidecars(found))


def _hash(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    view = memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as stream:
        while got := stream.readinto(view):
            digest.update(view[:got])
            progress.advance(got)
    return digest.hexdigest()


def _check_file(template: Template, digest: str) -> Iterator[Row]:
    """Compare the file with the record and the checksum file."""
    record = template.record
    if record is None:
        yield Row("record", MISSING, template.problem)
    elif not digest:
        yield Row("record", SKIPPED, "this machine has no copy of the file, so its digest is the record's word")
    elif digest != record.sha256:
        yield Row("record", FAILED, f"{template.file} has sha256 {digest}, its record has {record.sha256}")
    else:
        yield Row("record", OK, f"sha256 {digest}")
    if template.checksum is not None and digest and template.checksum != _checksum(template.file, digest):
        listed = template.checksum.decode(errors="replace").strip()
        yield Row("checksum", FAILED, f"{template.file}.sha256 has {listed!r:.160}, the file has sha256 {digest}")


def _check_statement(template: Template, digest: str, policy: Policy) -> Iterator[Row]:
    data = template.sidecars.get(STATEMENT_SUFFIX)
    if data is None:
        yield Row("statement", MISSING, "there is no provenance statement")
        return
    try:
        document = parse_statement(data, f"the statement of {template.file}")
    except EvidenceError as error:
        yield Row("statement", FAILED, error.message)
        return
    expected = digest or (template.record.sha256 if template.record else "")
    problems = subject_problems(document, template.file, expected)
    builder, source = statement_builder(document), statement_source(document)
    if not matches(builder, policy.builders):
        problems.append(f"built by {builder or 'an unknown builder'}, expected {' or '.join(policy.builders)}")
    if not matches(source, policy.sources):
        problems.append(f"made from {source}, expected {' or '.join(policy.sources)}")
    if problems:
        yield Row("statement", FAILED, "; ".join(problems))
    else:
        yield Row("statement", OK, f"built by {builder} from {source}")


def _check_signatures(template: Template, digest: str, policy: Policy) -> Iterator[Row]:
    """Verify each signature for which the policy names who may sign."""
    checksum = _checksum(template.file, digest or (template.record.sha256 if template.record else ""))
    present = [each for each in (SSH_SUFFIX, GPG_SUFFIX, ENVELOPE_SUFFIX, BUNDLE_SUFFIX) if each in template.sidecars]
    if not present:
        yield Row("signature", MISSING, "there is no signature")
    for suffix in present:
        data = template.sidecars[suffix]
        trusted: Mapping[str, tuple[str, Path | None, Callable[[bytes, Path], str]]] = {
            SSH_SUFFIX: ("ssh", policy.allowed_signers, lambda data, path: verify_ssh(checksum, data, path)),
            GPG_SUFFIX: ("gpg", policy.keyring, lambda data, path: verify_gpg(checksum, data, path)),
        }
        kind, path, check = trusted.get(suffix, (f"key ({suffix[1:]})", policy.key, _check_envelope(template, suffix)))
        name = "signature"
        if path is None:
            option = {SSH_SUFFIX: "--allowed-signers", GPG_SUFFIX: "--keyring"}.get(suffix, "--key")
            yield Row(name, SKIPPED, f"{kind}: name who may sign: {option} FILE")
            continue
        try:
            signer = check(data, path)
        except EvidenceError as error:
            yield Row(name, FAILED, f"{kind}: {error.message}")
            continue
        if path != policy.key and not matches(signer, policy.signers):
            yield Row(name, FAILED, f"{kind}: signed by {signer}, expected {' or '.join(policy.signers)}")
        else:
            yield Row(name, OK, f"{kind}: signed by {signer}")


def _check_envelope(template: Template, suffix: str) -> Callable[[bytes, Path], str]:
    def check(data: bytes, key: Path) -> str:
        statement = verify_envelope(data, f"{template.file}: {suffix[1:]}", key)
        if statement != template.sidecars.get(STATEMENT_SUFFIX):
            raise EvidenceError(f"{suffix[1:]} holds another statement than the template's {STATEMENT_SUFFIX[1:]}")
        return str(key)

    return check


def _checksum(file: str, sha256: str) -> bytes:
    return f"{sha256}  {file}\n".encode()


def _required(row: Row, policy: Policy) -> Row:
    """Return a row as a failure if the policy requires it and it was not found or could not be checked."""
    is_open = row.state in (MISSING, SKIPPED) and row.name in policy.require
    return Row(row.name, FAILED, f"required, but {row.state}: {row.message}") if is_open else row
