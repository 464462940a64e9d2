"""The main job: a source becomes a template in a storage."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from lxcast import __version__, compression
from lxcast.durable import Temporary
from lxcast.errors import PinError, UsageError
from lxcast.jobs.convert import Conversion, Rules, convert, finish_image, resolve_init
from lxcast.jobs.packaged import metadata, metadata_sidecar, naming_of_record, naming_of_source, with_rendered_files
from lxcast.jobs.reuse import find_made, rules_digest, still_holds
from lxcast.model import FORMATS, Version, Volid, moment, rfc3339
from lxcast.naming import Naming, naming
from lxcast.oci.platform import Platform
from lxcast.progress import Progress
from lxcast.proxmox.upload_body import stamp
from lxcast.record import Record
from lxcast.rootfs import checks
from lxcast.rootfs.distribution import detect, machine
from lxcast.rootfs.hints import container_hints
from lxcast.settings import BuildOptions
from lxcast.sources import DeferredSource, Source, open_source
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Artifact, Claim, Storage

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build: the template's record, its file, and what was changed and found."""

    record: Record
    path: Path | None = None
    """The file on this machine; None in a dry run and if the storage is remote and nothing was kept."""
    findings: list[checks.Finding] = field(default_factory=list)
    cleanup: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    fit: Mapping[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unchanged: bool = False
    """Whether the template existed before this build."""
    reused: bool = False
    """Whether it was found by digests, so that the source was not converted."""

    @property
    def volid(self) -> str:
        """The template's id; its path in a plain directory."""
        return self.record.template_id or str(self.path or "")


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a build will do: under which rules, where the template goes and what it is called."""

    options: BuildOptions
    rules: Rules
    naming: Naming
    storage: Storage
    version: Version | None
    """The requested version; None for the next one."""

    def open_file(self) -> AbstractContextManager[Temporary | None]:
        """Create the file that the template is written to; None in a dry run."""
        return nullcontext() if self.options.dry_run else Temporary(self.storage.workspace)


@dataclass(frozen=True, slots=True)
class SourcePlan(BuildPlan):
    """The plan for one source, which can name variant, release and process."""

    source: Source
    init: checks.Init
    digest: str
    """Digest of the rules."""
    claim: Claim | None = None
    """Claimed before the conversion, if the content holds the version."""


def build(source: str, options: BuildOptions, progress: Progress, *, keep_file: bool = False) -> Built:
    """Make a template of a source and publish it.

    The pin file is only checked: `promote.pin_built` sets the pin. With `keep_file` the file stays at
    `Built.path` until this process ends if the storage is remote. Raises UsageError, PinError, SourceError, CheckError,
    StorageError, ApiError, EvidenceError and their children. The source is never changed, and a failure leaves nothing
    in the storage except a burnt version number if the content holds the version; EvidenceError states that the
    template is published.
    """
    plan = plan_build(options, progress.warn)
    found = open_source(source, options.source.platform, options.source.sha256)
    if not options.dry_run:
        plan.storage.prepare(FORMATS[options.output.format].suffix, 0, progress)
    digest = rules_digest(options, plan.rules, found)
    if existing := _find_existing(plan, found, digest, progress):
        return existing
    with ExitStack() as stack:
        job = _claim_early(_plan_source(plan, _resolve(found, progress), digest), stack)
        file = stack.enter_context(job.open_file())
        with progress.step(f"reading {job.source.origin.kind} {job.source.origin.reference}"):
            conversion = convert(job.source, job.rules, options, file, progress)
        findings = _check(job, conversion, progress)
        conversion, warnings = finish_image(conversion, file, job.source, options)
        built = Built(
            _make_record(job, conversion, findings),
            findings=findings,
            cleanup=conversion.cleanup,
            fit=conversion.fit,
            warnings=[*job.source.warnings, *warnings],
        )
        return _publish(job, built, file, stack, progress, keep_file=keep_file)


def plan_build(options: BuildOptions, warn: Callable[[str], None] | None = None) -> BuildPlan:
    """Make the plan of a build, before a source or a storage is asked.

    Raises UsageError or PinError with everything that is wrong with the options.
    """
    errors: list[UsageError | PinError] = []

    def attempt(step: Callable[[], Value]) -> Value | None:
        try:
            return step()
        except (UsageError, PinError) as error:
            errors.append(error)
            return None

    attempt(lambda: checks.validate(options.checks.policy, options.checks.allow))
    attempt(lambda: _parse_signers(options))
    rules = attempt(lambda: Rules.chosen(options).for_version(options, None))
    attempt(lambda: Platform.parse(options.source.platform) if options.source.platform else None)
    storage = attempt(lambda: _open_storage(options, warn))
    attempt(lambda: _check_pin_file(options))
    name = attempt(lambda: _naming(options))
    if name and storage:
        # The source may name the variant.
        shortest = replace(name, variant=name.variant or "0")
        attempt(lambda: _require_short_volid(shortest, Version(1), storage.id))
    if rules and storage and name and not errors:
        return BuildPlan(options, rules, name, storage, options.version)
    messages, hints = (list(dict.fromkeys(getattr(error, key) for error in errors)) for key in ("message", "hint"))
    if len(messages) == 1:
        raise errors[0]
    raise UsageError("\n".join(messages), hint="\n".join(filter(None, hints)))


def _open_storage(options: BuildOptions, warn: Callable[[str], None] | None) -> Storage:
    storage = open_storage(options.storage, output=options.directory, warn=warn)
    storage.validate()
    return storage


def _naming(options: BuildOptions) -> Naming:
    given = options.naming
    return naming(
        given.name,
        given.pattern,
        variant=given.variant,
        release=given.release,
        arch=given.arch,
        for_storage=options.directory is None,
    )


def _check_pin_file(options: BuildOptions) -> None:
    """Raise UsageError or PinError if the pin file could not be written after the build."""
    if options.pin_file:
        from lxcast.jobs.promote import check_pin_file  # few builds name one

        check_pin_file(options.pin_file, options.naming.name, options.naming.variant)


def _parse_signers(options: BuildOptions) -> None:
    if options.evidence.sign:
        from lxcast.evidence.signatures import Signer  # few builds name one

        for each in options.evidence.sign:
            Signer.parse(each)


def _require_short_volid(name: Naming, version: Version, id: str) -> None:
    """Raise UsageError if the template's volid, at its shortest, is longer than Proxmox accepts."""
    shortest = replace(
        name,
        digest=name.digest or "sha256:" + "0" * 64,
        release=name.release or "0",
        arch=name.arch or "i386",
    )
    try:
        # As for a claim, the longest suffix decides, so that whether a name is valid does not depend on the format.
        Volid.make(id or "local", f"{shortest.render(version)}.tar.zst")
    except UsageError as error:
        raise error.with_hint(error.hint or "use a shorter --name, --variant or --pattern") from error


def _find_existing(plan: BuildPlan, source: Source, digest: str, progress: Progress) -> Built | None:
    """Return the template that this build would make again, if the storage has it and it may be reused."""
    options = plan.options
    if options.dry_run or not options.reuse or not source.origin.digest:
        return None
    stored = plan.storage.templates().complete()
    records = [each.record for each in stored if each.record]
    made = find_made(records, source, digest, plan.naming, plan.version)
    if made is None or not still_holds(made, source, plan.rules, options, progress):
        return None
    path = next(each.path for each in stored if each.record is made)
    _vouch(plan, made, progress)
    return Built(made, path, unchanged=True, reused=True)


def _resolve(source: Source, progress: Progress) -> Source:
    """Return the source itself, downloaded if it is deferred."""
    if not isinstance(source, DeferredSource):
        return source
    with progress.step(f"waiting for {source.origin.reference}"):
        return source.resolve()


def _plan_source(plan: BuildPlan, source: Source, digest: str) -> SourcePlan:
    init = resolve_init(plan.options.content.init, source, plan.rules.fits, plan.options.output.format)
    rules = with_rendered_files(plan.rules.starting(source, init), source)
    name = naming_of_source(plan.naming, source)
    _require_short_volid(name, plan.version or plan.storage.next_version(name), plan.storage.id)
    return SourcePlan(plan.options, rules, name, plan.storage, plan.version, source, init, digest)


def _claim_early(plan: SourcePlan, stack: ExitStack) -> SourcePlan:
    """Claim the version before the first byte is read if the content holds it; `stack` gives the claim up."""
    if plan.options.content.release_metadata is None:
        return plan
    claim = None if plan.options.dry_run else stack.enter_context(plan.storage.claim(plan.naming, plan.version))
    version = claim.version if claim else plan.version or plan.storage.next_version(plan.naming)
    return replace(plan, rules=plan.rules.for_version(plan.options, version), claim=claim)


def _check(plan: SourcePlan, conversion: Conversion, progress: Progress) -> list[checks.Finding]:
    """Return the findings. If they are a failure, warn of the others, burn an early claim and raise CheckError."""
    options, source = plan.options, plan.source
    with progress.step("checking"):
        findings = checks.run_checks(_subject(plan, conversion), options.checks.policy, options.checks.allow)
    failure = checks.to_error(findings, source.origin.reference)
    if failure:
        for warning in (*source.warnings, *(each.text for each in findings if not each.fails)):
            progress.warn(warning)
        if plan.claim:
            plan.claim.burn()
        raise failure
    return findings


def _subject(plan: SourcePlan, conversion: Conversion) -> checks.Subject:
    dhcp = plan.options.content.network == "dhcp"
    return checks.Subject(
        conversion.survey,
        arch=plan.options.checks.arch,
        init=plan.init,
        process=plan.source.config,
        dhcp=dhcp,
        image=FORMATS[plan.options.output.format].layer != "",
    )


def _publish(
    plan: SourcePlan, built: Built, file: Temporary | None, stack: ExitStack, progress: Progress, *, keep_file: bool
) -> Built:
    """Publish the file, unless it is a dry run or the newest version has the same content."""
    options, storage, record = plan.options, plan.storage, built.record
    name = naming_of_record(plan.naming, record)
    if options.if_changed:
        listing = storage.templates()
        newest = listing.newest(name)
        if newest and newest.has_content_of(record):
            stored = listing.find(newest.file)
            _vouch(plan, newest, progress)
            return replace(built, record=newest, path=stored.path if stored else None, unchanged=True)
    if file is None:
        return built
    with progress.step("publishing"):
        claim = plan.claim or stack.enter_context(storage.claim(name, plan.version))
        artifact = Artifact(
            path=file.path,
            suffix=FORMATS[record.format].suffix,
            size=record.size,
            sha256=record.sha256,
            stamp=stamp(file.fileno()),
            record=record,
            sidecars=metadata_sidecar(plan.source),
            temporary=True,
            numbered=plan.claim is not None,
            keep=keep_file,
            descriptor=file.fileno(),
        )
        published = storage.put(artifact, claim, progress)
    _vouch(plan, published.record or record, progress)
    return replace(built, record=published.record or record, path=published.path, unchanged=published.unchanged)


def _vouch(plan: BuildPlan, record: Record, progress: Progress) -> None:
    """Add the statement and the signatures that the options name to a published template."""
    if plan.options.evidence.provenance or plan.options.evidence.sign:
        from lxcast.jobs.sign import vouch  # few builds do

        vouch(record, plan.storage, plan.options, progress)


def _make_record(plan: SourcePlan, conversion: Conversion, findings: list[checks.Finding]) -> Record:
    """Return what is known of the template before it is published."""
    options, survey, form = plan.options, conversion.survey, FORMATS[plan.options.output.format]
    distribution = detect(survey)
    # A variant that only the source's metadata names tells templates apart if the file's name holds it.
    has_variant = options.naming.variant or "variant" in plan.naming.pattern.fields
    return Record(
        name=options.naming.name,
        variant=plan.naming.variant if has_variant else "",
        size=conversion.size,
        unpacked_size=survey.unpacked_size,
        members=survey.members,
        sha256=conversion.sha256,
        diff_id=conversion.diff_id,
        format=options.output.format,
        compressor=compression.describe(form.layer or form.name, small=options.output.small),
        ostype=distribution.ostype,
        release=options.naming.release or distribution.release,
        arch=options.naming.arch or machine(survey),
        created=rfc3339(moment()),
        lxcast=__version__,
        source=plan.source.origin,
        rules=plan.digest,
        cleanup={row: count for row, count in conversion.cleanup.items() if count["members"]},
        fit={row: notes for row, notes in conversion.fit.items() if notes},
        checks={"policy": options.checks.policy, "findings": [finding.as_dict() for finding in findings]},
        hints=container_hints(_subject(plan, conversion)),
        metadata=metadata(plan.source).values,
    )
