"""The main job: a source becomes a template in a storage."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lxcast import __version__, compression
from lxcast.errors import CheckError, PinError, UsageError
from lxcast.jobs import image
from lxcast.jobs.casting import Cast, Rules, run, what_starts
from lxcast.jobs.hints import container_hints
from lxcast.jobs.options import BuildOptions
from lxcast.jobs.packaged import beside, completed, metadata, named, with_templates
from lxcast.jobs.reuse import find_made, rules_digest, still_holds
from lxcast.model import FORMATS, DirectoryRef, Version, Volid, moment, parse_storage, rfc3339
from lxcast.naming import Naming, naming
from lxcast.oci.platform import Platform
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.rootfs import checks
from lxcast.rootfs.distribution import detect, machine
from lxcast.settings import BY_NAME, TARGETS
from lxcast.sources import Source, open_source, settled
from lxcast.storages.directory import DirectoryStorage

if TYPE_CHECKING:
    from lxcast.jobs.upload import Upload

_DELIVERY = ("nodes", "all_nodes", "put_url", "get_url")
"""The options that say to which nodes a template goes, and how."""


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
    storage, upload = _place(options)
    if not upload:
        _tell_unused(options, progress)
    template = _naming(options)
    asked = None if options.version == "next" else Version.parse(options.version)
    unsaid = "" if options.insecure_no_checksum else None
    found = open_source(source, options.platform, options.sha256 or unsaid)
    with ExitStack() as stack:
        if not options.dry_run:
            if upload:
                upload.prepare(FORMATS[options.format].suffix, progress)
            storage.prepare()
        key = rules_digest(options, rules, found)
        made = _made(found, key, rules, options, upload or storage, progress)
        if made is not None:
            return Built(made, None if upload else storage.folder / made.file, unchanged=True, reused=True)
        archive = settled(found)
        init = what_starts(options.init, archive, rules.fits, options.format)
        rules, template = with_templates(rules.starting(archive, init), archive), named(template, archive)
        id = upload.targets.storage if upload else storage.id
        _require_volid(template, asked or storage.next_version(template), id)
        claim = None
        if options.release_metadata is not None:
            # The version enters the content, so it must be known, and be this build's alone, before the first byte.
            if not options.dry_run:
                claim = stack.enter_context(storage.claimed(template, asked))
            rules = rules.for_version(options, claim.version if claim else asked or storage.next_version(template))
        file = None if options.dry_run else stack.enter_context(storage.open_temporary())
        with progress.step(f"reading {archive.origin.kind} {archive.origin.reference}"):
            cast = run(archive, rules, options, file, progress)
        dhcp = options.network == "dhcp"
        subject = checks.Subject(cast.survey, arch=options.arch, init=init, process=archive.config, dhcp=dhcp)
        try:
            findings = _judged(subject, archive, options, progress)
        except CheckError:
            if claim is not None:
                storage.burn(claim)
            raise
        done = (findings, cast.cleanup, cast.fit, archive.warnings)
        if FORMATS[options.format].layer:
            cast = image.finish(cast, file, archive, options.arch, options.init)
        record = _record(cast, archive, options, subject, findings, key)
        template = completed(template, record)
        known = (upload or storage).newest(template) if options.if_changed else None
        if known is not None and known.has_content_of(record):
            return Built(known, None if upload else storage.folder / known.file, *done, unchanged=True)
        if file is None:
            return Built(record, storage.folder, *done)
        with progress.step("publishing"):
            place = claim or stack.enter_context(storage.claimed(template, asked))
            if upload:
                renumber = claim is None and asked is None and place.version is not None
                record, there = upload.put(file, template, place, record, progress, renumber=renumber)
                return Built(record, None, *done, unchanged=there)
            record = storage.put(file, place, record, beside(archive, options.output))
        return Built(record, storage.folder / record.file, *done, unchanged=place.taken)


def _tell_unused(options: BuildOptions, progress: Progress) -> None:
    unused = [BY_NAME[name].option for name in _DELIVERY if getattr(options, name)]
    if unused:
        place = options.output or options.storage or "./storage"
        progress.warn(f"{', '.join(unused)}: of no use, since {place} is a folder")


def _judged(subject: checks.Subject, source: Source, options: BuildOptions, progress: Progress) -> list[checks.Finding]:
    """Return what the checks found. Raises CheckError where that is too much; the rest was warned of then."""
    with progress.step("checking"):
        findings = checks.judge(subject, options.policy, options.allow)
    failure = checks.failure(findings, source.origin.reference)
    if failure:
        for warning in (*source.warnings, *(one.text for one in findings if not one.fails)):
            progress.warn(warning)
        raise failure
    return findings


def validate(options: BuildOptions) -> None:
    """Raise UsageError with everything that is wrong with the options and shows before a source or storage is asked."""
    errors: list[UsageError | PinError] = []
    looks: tuple[Callable[[], object], ...] = (
        lambda: checks.require(options.policy, options.allow),
        lambda: Rules.chosen(options).for_version(options, None),
        lambda: Platform.parse(options.platform) if options.platform else None,
        lambda: _look_at_folder(options),
        lambda: _look_at_pins(options),
        lambda: _naming(options),
        lambda: _require_volid(_naming(options), Version(1), _id(options)),
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
    storage, upload = _place(options)
    if not upload and storage.root.exists() and not storage.root.is_dir():
        raise UsageError(f"{storage.root}: not a folder", hint="name a folder by --storage or --output")


def _naming(options: BuildOptions) -> Naming:
    return naming(
        options.name,
        options.pattern,
        variant=options.variant,
        release=options.release,
        arch=options.arch,
        for_storage=options.output is None,
    )


def _look_at_pins(options: BuildOptions) -> None:
    """Raise UsageError or PinError where the pin file could not be written after the build."""
    if options.pin_file:
        from lxcast.jobs.promote import check_pin_file  # few builds name one

        check_pin_file(Path(options.pin_file), options.name)


def _place(options: BuildOptions) -> tuple[DirectoryStorage, "Upload | None"]:
    """Return the folder that the template is written to and, for a Proxmox storage, what sends it there."""
    if options.output is not None:
        return DirectoryStorage.plain(options.output), None
    text = options.storage or "./storage"
    if text.startswith("proxmox:"):
        from lxcast.jobs.target import find_targets
        from lxcast.jobs.upload import Upload

        access = {name: getattr(options, name) for name in TARGETS}
        upload = Upload.to(find_targets(text, **access))
        return upload.folder, upload
    ref = parse_storage(text)
    assert isinstance(ref, DirectoryRef)
    return DirectoryStorage(ref), None


def _id(options: BuildOptions) -> str:
    """Return the id that the template's volid will carry, "" outside of a storage."""
    storage, upload = _place(options)
    return upload.targets.storage if upload else storage.id


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
    place: "DirectoryStorage | Upload",
    progress: Progress,
) -> Record | None:
    """Return the record of the template that this build would make again, where there is one and it may be taken."""
    if options.dry_run or not options.reuse or not source.origin.digest:
        return None
    found = find_made(place.records(), source, key, _naming(options), options.version)
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
    survey, form = cast.survey, FORMATS[options.format]
    distribution = detect(survey)
    return Record(
        name=options.name,
        size=cast.size,
        unpacked_size=survey.unpacked_size,
        members=survey.members,
        sha256=cast.sha256,
        diff_id=cast.diff_id,
        format=options.format,
        compressor=compression.describe(form.layer or form.name, small=options.small),
        ostype=distribution.ostype,
        release=options.release or distribution.release,
        arch=options.arch or machine(survey),
        created=rfc3339(moment()),
        lxcast=__version__,
        source=source.origin,
        rules=rules,
        cleanup={row: count for row, count in cast.cleanup.items() if count["members"]},
        fit={row: notes for row, notes in cast.fit.items() if notes},
        checks={"policy": options.policy, "findings": [finding.as_dict() for finding in findings]},
        hints=container_hints(subject),
        metadata=metadata(source).values,
    )
