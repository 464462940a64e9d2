"""The conversion: one source read to the end, through every table, into a file or, for a dry run, into nothing."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from lxcast import compression
from lxcast.durable import Temporary
from lxcast.errors import SourceError
from lxcast.model import FORMATS, ImageConfig, Version, moment
from lxcast.progress import Progress
from lxcast.rootfs.additions import parse_additions
from lxcast.rootfs.checks import CHECKS, SCAN_ROOTS, Init, reads, scan
from lxcast.rootfs.cleanup import Cleanup, Operation
from lxcast.rootfs.container import systemd
from lxcast.rootfs.distribution import LINKED_FILES, machine
from lxcast.rootfs.fit import Fit, FitOptions, Fitting
from lxcast.rootfs.fits import FITS
from lxcast.rootfs.globs import Matcher, literal
from lxcast.rootfs.init import is_written
from lxcast.rootfs.operations import OPERATIONS
from lxcast.rootfs.pipeline import Pipeline, Repairs
from lxcast.rootfs.rows import select
from lxcast.rootfs.survey import Survey
from lxcast.settings import BuildOptions
from lxcast.sources import Source
from lxcast.tar.member import Member
from lxcast.tar.reader import Limits
from lxcast.tar.writer import Writer

_RELEASE = "release"
"""The fit row that writes the release file; it runs if there is something to write."""

_INIT = "/sbin/init"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rows that work on a source, and their options."""

    operations: tuple[Operation, ...]
    remove: tuple[str, ...]
    fits: tuple[Fit, ...]
    fit_options: FitOptions
    clamp: int | None
    """The latest modification time of a member, in seconds since 1970; None leaves times unchanged."""
    limits: Limits

    @classmethod
    def chosen(cls, options: BuildOptions) -> "Rules":
        """Return the rules that a build's options choose.

        Raises UsageError for unknown rows, invalid patterns, and an invalid SOURCE_DATE_EPOCH.
        """
        content = options.content
        Matcher(dict.fromkeys(content.remove, True))  # a wrong pattern is an error before any work
        enable = content.enable if content.release_metadata is None else (*content.enable, _RELEASE)
        operations, fits = select(OPERATIONS, FITS, enable=enable, disable=content.disable)
        epoch = moment() if os.environ.get("SOURCE_DATE_EPOCH") else None
        fit_options = FitOptions(
            epoch=epoch or 0,
            network="dhcp" if content.network == "dhcp" else "loopback",
            additions=parse_additions(content.add),
        )
        limits = Limits(options.source.max_members, options.source.max_size)
        return cls(operations, content.remove, fits, fit_options, epoch, limits)

    def for_version(self, options: BuildOptions, version: Version | None) -> "Rules":
        """Return these rules with the content of the release file, if one is written."""
        metadata = options.content.release_metadata
        if metadata is None:
            return self
        release = {"NAME": options.naming.name, "VERSION": str(version or ""), **metadata}
        return replace(self, fit_options=replace(self.fit_options, release=release))

    def starting(self, source: Source, init: Init) -> "Rules":
        """Return these rules with the source's process if an init is written for it."""
        process = source.config if init == "auto" else None
        return replace(self, fit_options=replace(self.fit_options, process=process))

    def with_templates(self, made: tuple[Member, ...]) -> "Rules":
        """Return these rules with the files rendered from the source's own templates."""
        return replace(self, fit_options=replace(self.fit_options, templates=made))

    def interests(self) -> list[str]:
        """Return every pattern that any row reads."""
        return [
            *self.remove,
            *(pattern for row in self.operations for pattern in (*row.drop, *row.truncate)),
            *(pattern for row in self.fits for pattern in (*row.holds, *row.reads)),
            *(added.path.decode("utf-8", "surrogateescape") for added in self.fit_options.additions if added.path),
            *(made.path.decode() for made in self.fit_options.templates),
            *reads(CHECKS),
            *(root.decode().rstrip("/") for root in SCAN_ROOTS),
        ]


def resolve_init(setting: str, source: Source, fits: Iterable[Fit] = FITS, format: str = "") -> Init:
    """Return how a container starts if the source has no init. `setting` is "" for the source's default.

    A bundle is made to run as it is, an image is often a base. In an OCI archive Proxmox starts the image's process.
    """
    default = "auto" if source.origin.kind == "bundle" else "none"
    if format and FORMATS[format].layer and source.config and source.config.process:
        default = "app"
    init = cast(Init, setting or default)
    return "none" if init == "auto" and all(row.id != "written-init" for row in fits) else init


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of reading a source once."""

    survey: Survey
    cleanup: Mapping[str, Mapping[str, int]]
    fit: Mapping[str, list[str]]
    diff_id: str
    """Digest of the uncompressed archive, "sha256:HEX"."""
    sha256: str
    """Digest of the file; "" in a dry run."""
    size: int
    """Bytes of the file; 0 in a dry run."""


class _Output:
    """Hashes the archive, compresses it, and hashes the resulting file."""

    def __init__(self, file: Temporary | None, options: BuildOptions, archive: Source, progress: Progress) -> None:
        self.diff_id = hashlib.sha256()
        self.sha256 = hashlib.sha256()
        self.size = 0
        self._file, self._archive, self._progress, self._reported = file, archive, progress, 0
        form = FORMATS[options.output.format]
        if file and form.layer:
            from lxcast.oci.archive import FRONT  # few builds write an image

            file.write(bytes(FRONT))  # filled by finish_image
        self._compressor = (
            compression.compress(
                cast(BinaryIO, self),
                form.layer or form.name,
                small=options.output.small,
                threads=options.output.threads,
            )
            if file
            else None
        )

    def take(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the archive."""
        self.diff_id.update(data)
        if self._compressor:
            self._compressor.write(data)
        self._progress.advance(self._archive.read - self._reported)
        self._reported = self._archive.read

    def write(self, data: bytes) -> int:
        """Take compressed bytes."""
        assert self._file is not None
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Do nothing: the file is forced to the disk when it is published."""

    def finish(self) -> None:
        """Compress the rest."""
        if self._compressor:
            self._compressor.finish()


def convert(
    archive: Source, rules: Rules, options: BuildOptions, file: Temporary | None, progress: Progress
) -> Conversion:
    """Read a source into `file` (None: a dry run that compresses nothing).

    If a later member requires changes to an earlier one the source is read again. Raises SourceError if it cannot be.
    """
    repairs = Repairs()
    linked: tuple[str, ...] = ()
    for attempt in (1, 2):
        survey = Survey((*reads(CHECKS), *_fit_reads(rules), *linked), scan, SCAN_ROOTS)
        cleanup, fitting = Cleanup(rules.operations, rules.remove), Fitting(rules.fits, rules.fit_options)
        output = _Output(file, options, archive, progress)
        pipeline = Pipeline(
            cleanup,
            fitting,
            survey,
            Writer(output.take),
            interests=[*rules.interests(), *linked],
            made=rules.fit_options.epoch,
            clamp=rules.clamp,
            repairs=repairs,
            name=archive.origin.reference,
        )
        progress.total(archive.size)
        with archive.members(rules.limits) as members:
            found = pipeline.run(members)
        output.finish()
        linked = tuple(map(literal, survey.unread_texts(LINKED_FILES))) if attempt == 1 and archive.rereadable else ()
        if not found and not linked:
            digest = f"sha256:{output.diff_id.hexdigest()}"
            sha256 = output.sha256.hexdigest() if file else ""
            return Conversion(survey, cleanup.report(), fitting.report(), digest, sha256, output.size)
        if attempt == 2 or not archive.rereadable:
            break
        repairs = found
        progress.say("reading the source again: links lead to files that came before them, or paths are repeated")
        if file:
            file.clear()
    if archive.rereadable:
        raise SourceError(f"{archive.origin.reference} changed while it was read", hint="build it again")
    raise found.refuse(archive.origin.reference)


def _fit_reads(rules: Rules) -> tuple[str, ...]:
    return tuple(pattern for row in rules.fits for pattern in row.reads)


def finish_image(
    conversion: Conversion, file: Temporary | None, source: Source, options: BuildOptions
) -> tuple[Conversion, list[str]]:
    """Make the converted archive the one layer of an image if the format is an image; return it with warnings.

    `file` None only validates. Raises SourceError for a config that Proxmox would refuse.
    """
    if not FORMATS[options.output.format].layer:
        return conversion, []
    from lxcast.oci.archive import Blob, front, image_config, rest

    survey, warnings = conversion.survey, []
    config = source.config or ImageConfig()
    starts_init = (
        is_written(survey) or not config.process or options.content.init == "none" or config.process[0] == _INIT
    )
    if starts_init:
        config = _config_of_init(survey, config)
    elif survey.executable(b"sbin/init") is not None:
        warnings.append(
            f"{source.origin.reference}: Proxmox will start the image's command {config.process[0]} instead of its "
            "init: use `--init none` to start the init"
        )
    blob = image_config(config, options.checks.arch or machine(survey), conversion.diff_id, init=starts_init)
    if file is None:
        return conversion, warnings
    layer = Blob(conversion.sha256, conversion.size)
    file.fill(0, front(layer))
    file.write(rest(layer, blob))
    return replace(conversion, sha256=file.sha256(), size=file.size), warnings


def _config_of_init(survey: Survey, config: ImageConfig) -> ImageConfig:
    """Return the config for an init, which runs as root and gets the signal that it stops at.

    Proxmox sends SIGTERM by default (PVE/LXC/Create.pm), at which systemd only re-executes itself (systemd(1)).
    """
    own = replace(config, user="", working_dir="")
    if is_written(survey):
        return replace(own, env=(), stop_signal="")  # it sets the variables, and passes SIGTERM on
    default = "SIGRTMIN+3" if systemd(survey) is not None else "SIGPWR"
    return replace(own, stop_signal=config.stop_signal or default)


def image_problems(path: Path) -> list[str]:
    """Return why Proxmox would refuse the image in an archive. Raises ArchiveError if the archive is damaged."""
    from lxcast.oci import archive
    from lxcast.sources.blobs import list_archive

    blobs = list_archive(path)
    return archive.refused(blobs) if blobs else []
