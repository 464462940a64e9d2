"""The main job: a source becomes a template in a storage."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from lxcast import __version__, compression
from lxcast.errors import CheckError, PinError, UsageError
from lxcast.jobs import image
from lxcast.jobs.convert import Cast, Rules, resolve_init, run
from lxcast.jobs.packaged import beside, completed, metadata, named, with_templates
from lxcast.jobs.place import Place
from lxcast.jobs.reuse import find_made, rules_digest, still_holds
from lxcast.model import FORMATS, Version, Volid, moment, rfc3339
from lxcast.naming import Naming, naming
from lxcast.oci.platform import Platform
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.rootfs import checks
from lxcast.rootfs.distribution import detect, machine
from lxcast.rootfs.hints import container_hints
from lxcast.settings import BuildOptions
from lxcast.sources import DeferredSource, Source, open_source


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build: the template's record, where it lies, and what was done and found."""

    record: Record
    path: Path | None
    """None on a Proxmox storage."""
    findings: list[checks.Finding] = field(default_factory=list)
    cleanup: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    fit: Mapping[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unchanged: bool = False
    """Whether the template was there before this build."""
    reused: bool = False
    """Whether it was found by the digests, and the source needed no conversion."""

    @property
    def volid(self) -> str:
        """The template's id; outside of a storage its path."""
        return self.record.template_id or str(self.path)


def build(source: str, options: BuildOptions, progress: Progress) -> Built:
    """Make a template of a source and publish it.

    The pin file is only looked at: `promote.pin_built` sets the pin. Raises UsageError, PinError, SourceError,
    CheckError, StorageError, ApiError and their children. The source stays as it was,
    and a failure leaves nothing in the storage but, where the version had entered the content, its burnt number.
    """
    validate(options)
    rules = Rules.chosen(options)
    place = Place.of(options)
    place.warn_of_unused(options, progress)
    template = _naming(options)
    asked = options.version
    found = open_source(source, options.source.platform, options.source.sha256)
    with ExitStack() as stack:
        if not options.dry_run:
            place.prepare(options.output.format, progress)
        key = rules_digest(options, rules, found)
        if made := _made(found, key, rules, options, place, progress):
            return Built(made, place.path(made), unchanged=True, reused=True)
        archive = _awaited(found, progress)
        init = resolve_init(options.content.init, archive, rules.fits, options.output.format)
        rules, template = with_templates(rules.starting(archive, init), archive), named(template, archive)
        _require_volid(template, asked or place.folder.next_version(template), place.id)
        claim = None
        if options.content.release_metadata is not None:
            # The version enters the content, so it must be known, and be this build's alone, before the first byte.
            if not options.dry_run:
                claim = stack.enter_context(place.folder.claimed(template, asked))
            version = claim.version if claim else asked or place.folder.next_version(template)
            rules = rules.for_version(options, version)
        file = None if options.dry_run else stack.enter_context(place.folder.open_temporary())
        with progress.step(f"reading {archive.origin.kind} {archive.origin.reference}"):
            cast = run(archive, rules, options, file, progress)
        subject = _subject(cast, archive, options, init)
        try:
            findings = _judged(subject, archive, options, progress)
        except CheckError:
            if claim is not None:
                place.folder.burn(claim)
            raise
        if FORMATS[options.output.format].layer:
            cast = image.finish(cast, file, archive, options.checks.arch, options.content.init)
        record = _record(cast, archive, options, subject, findings, key)
        # A variant that only the source's metadata names tells templates apart if the file's name holds it.
        has_variant = options.naming.variant or "variant" in template.pattern.fields
        record = replace(record, variant=template.variant if has_variant else "")
        built = Built(record, place.folder.folder, findings, cast.cleanup, cast.fit, archive.warnings)
        template = completed(template, record)
        known = place.listing.newest(template) if options.if_changed else None
        if known is not None and known.has_content_of(record):
            return replace(built, record=known, path=place.path(known), unchanged=True)
        if file is None:
            return built
        with progress.step("publishing"):
            renumber = claim is None and asked is None
            claim = claim or stack.enter_context(place.folder.claimed(template, asked))
            further = beside(archive, options.directory)
            record, there = place.put(file, template, claim, record, further, progress, renumber=renumber)
        return replace(built, record=record, path=place.path(record), unchanged=there)


def _awaited(source: Source, progress: Progress) -> Source:
    if not isinstance(source, DeferredSource):
        return source
    with progress.step(f"waiting for {source.origin.reference}"):
        return source.resolve()


def _subject(cast: Cast, source: Source, options: BuildOptions, init: checks.Init) -> checks.Subject:
    """Return what the checks are to judge."""
    dhcp = options.content.network == "dhcp"
    return checks.Subject(cast.survey, arch=options.checks.arch, init=init, process=source.config, dhcp=dhcp)


def _judged(subject: checks.Subject, source: Source, options: BuildOptions, progress: Progress) -> list[checks.Finding]:
    """Return what the checks found. Raises CheckError where that is too much; the rest was warned of then."""
    with progress.step("checking"):
        findings = checks.run_checks(subject, options.checks.policy, options.checks.allow)
    failure = checks.to_error(findings, source.origin.reference)
    if failure:
        for warning in (*source.warnings, *(one.text for one in findings if not one.fails)):
            progress.warn(warning)
        raise failure
    return findings


def validate(options: BuildOptions) -> None:
    """Raise UsageError with everything that is wrong with the options and shows before a source or storage is asked."""
    errors: list[UsageError | PinError] = []
    looks: tuple[Callable[[], object], ...] = (
        lambda: checks.validate(options.checks.policy, options.checks.allow),
        lambda: Rules.chosen(options).for_version(options, None),
        lambda: Platform.parse(options.source.platform) if options.source.platform else None,
        lambda: _look_at_folder(options),
        lambda: _look_at_pins(options),
        lambda: _naming(options),
        lambda: _require_short_name(options),
    )
    for look in looks:
        try:
            look()
        except (UsageError, PinError) as error:
            errors.append(error)
    problems, hints = (dict.fromkeys(getattr(error, name) for error in errors) for name in ("message", "hint"))
    if len(problems) == 1:
        raise errors[0]
    if problems:
        raise UsageError("\n".join(problems), hint="\n".join(filter(None, hints)))


def _look_at_folder(options: BuildOptions) -> None:
    """Raise UsageError where the template can go nowhere; a folder that is not there yet may come until the build."""
    place = Place.of(options)
    root = place.folder.root
    if not place.upload and root.exists() and not root.is_dir():
        raise UsageError(f"{root}: not a folder", hint="name a folder by --storage or --output")


def _naming(options: BuildOptions) -> Naming:
    return naming(
        options.naming.name,
        options.naming.pattern,
        variant=options.naming.variant,
        release=options.naming.release,
        arch=options.checks.arch,
        for_storage=options.directory is None,
    )


def _look_at_pins(options: BuildOptions) -> None:
    """Raise UsageError or PinError where the pin file could not be written after the build."""
    if options.pin_file:
        from lxcast.jobs.promote import check_pin_file  # few builds name one

        check_pin_file(options.pin_file, options.naming.name)


def _require_short_name(options: BuildOptions) -> None:
    """Raise UsageError where the volid would be too long whatever the source tells, which may tell the variant, too."""
    template = _naming(options)
    _require_volid(replace(template, variant=template.variant or "0"), Version(1), Place.of(options).id)


def _require_volid(template: Naming, version: Version, id: str) -> None:
    """Raise UsageError where the template's volid, at its shortest, would be longer than Proxmox takes."""
    shortest = replace(
        template,
        digest=template.digest or "sha256:" + "0" * 64,
        release=template.release or "0",
        arch=template.arch or "i386",
    )
    try:
        # As at the claim, the longest suffix decides, so that a name's legality does not depend on the format.
        Volid.make(id or "local", f"{shortest.render(version)}.tar.zst")
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint or "take a shorter --name, --variant or --pattern") from error


def _made(
    source: Source,
    key: str,
    rules: Rules,
    options: BuildOptions,
    place: Place,
    progress: Progress,
) -> Record | None:
    """Return the record of the template that this build would make again, where there is one and it may be taken."""
    if options.dry_run or not options.reuse or not source.origin.digest:
        return None
    found = find_made(place.listing.records(), source, key, _naming(options), str(options.version or "next"))
    return found if found and still_holds(found, source, rules, options, progress) else None


def _record(
    cast: Cast,
    source: Source,
    options: BuildOptions,
    subject: checks.Subject,
    findings: list[checks.Finding],
    rules: str,
) -> Record:
    """Return what is known of the template before it has a name."""
    survey, form = cast.survey, FORMATS[options.output.format]
    distribution = detect(survey)
    return Record(
        name=options.naming.name,
        size=cast.size,
        unpacked_size=survey.unpacked_size,
        members=survey.members,
        sha256=cast.sha256,
        diff_id=cast.diff_id,
        format=options.output.format,
        compressor=compression.describe(form.layer or form.name, small=options.output.small),
        ostype=distribution.ostype,
        release=options.naming.release or distribution.release,
        arch=options.checks.arch or machine(survey),
        created=rfc3339(moment()),
        lxcast=__version__,
        source=source.origin,
        rules=rules,
        cleanup={row: count for row, count in cast.cleanup.items() if count["members"]},
        fit={row: notes for row, notes in cast.fit.items() if notes},
        checks={"policy": options.checks.policy, "findings": [finding.as_dict() for finding in findings]},
        hints=container_hints(subject),
        metadata=metadata(source).values,
    )
