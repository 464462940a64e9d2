"""One source read to the end: through every table, into an open file or, for a trial, into nothing."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from lxcast import compression
from lxcast.durable import Temporary
from lxcast.errors import SourceError
from lxcast.jobs import image
from lxcast.model import FORMATS, Version, moment
from lxcast.progress import Progress
from lxcast.rootfs.additions import parse_additions
from lxcast.rootfs.checks import CHECKS, SCAN_ROOTS, Init, reads, scan
from lxcast.rootfs.cleanup import Cleanup, Operation
from lxcast.rootfs.fit import Fit, FitOptions, Fitting
from lxcast.rootfs.fits import FITS
from lxcast.rootfs.globs import Matcher
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
"""The fit row that writes the release file; it runs where there is something to write."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rows that work on a source, and what they are told."""

    operations: tuple[Operation, ...]
    remove: tuple[str, ...]
    fits: tuple[Fit, ...]
    fit_options: FitOptions
    clamp: int | None
    """The latest time that a member may have, in seconds; None leaves times alone."""
    limits: Limits

    @classmethod
    def chosen(cls, options: BuildOptions) -> "Rules":
        """Return the rules that a build's options choose.

        Raises UsageError for unknown rows, patterns that are no paths, and a SOURCE_DATE_EPOCH that is no number.
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
        """Return these rules with what the release file shall say, where one is wanted."""
        metadata = options.content.release_metadata
        if metadata is None:
            return self
        release = {"NAME": options.naming.name, "VERSION": str(version or ""), **metadata}
        return replace(self, fit_options=replace(self.fit_options, release=release))

    def starting(self, source: Source, init: Init) -> "Rules":
        """Return these rules with the process of a source, where an init is to be written for it."""
        process = source.config if init == "auto" else None
        return replace(self, fit_options=replace(self.fit_options, process=process))

    def with_templates(self, made: tuple[Member, ...]) -> "Rules":
        """Return these rules with the files that the image's own templates make."""
        return replace(self, fit_options=replace(self.fit_options, templates=made))

    def interests(self) -> list[str]:
        """Return every pattern that any row names."""
        return [
            *self.remove,
            *(pattern for row in self.operations for pattern in (*row.drop, *row.truncate)),
            *(pattern for row in self.fits for pattern in (*row.holds, *row.reads)),
            *(added.path.decode("utf-8", "surrogateescape") for added in self.fit_options.additions if added.path),
            *(made.path.decode() for made in self.fit_options.templates),
            *reads(CHECKS),
            *(root.decode().rstrip("/") for root in SCAN_ROOTS),
        ]


def resolve_init(asked: str, source: Source, fits: Iterable[Fit] = FITS, format: str = "") -> Init:
    """Return what is to start a container where the source has no init; `asked` is the setting, "" where it is silent.

    A bundle is made to be run as it is, and an image often to be a base. Of an OCI archive Proxmox starts the process.
    """
    usual = "auto" if source.origin.kind == "bundle" else "none"
    if format and FORMATS[format].layer and source.config and source.config.process:
        usual = "app"
    init = cast(Init, asked or usual)
    return "none" if init == "auto" and all(row.id != "written-init" for row in fits) else init


@dataclass(frozen=True, slots=True)
class Cast:
    """What one reading gave."""

    survey: Survey
    cleanup: Mapping[str, Mapping[str, int]]
    fit: Mapping[str, list[str]]
    diff_id: str
    """Of the uncompressed archive, "sha256:HEX"."""
    sha256: str
    """Of the file; "" in a trial."""
    size: int
    """Bytes of the file; 0 in a trial."""


class _Output:
    """Hashes the archive, compresses it, and hashes the file that this gives."""

    def __init__(self, file: Temporary | None, options: BuildOptions, archive: Source, progress: Progress) -> None:
        self.diff_id = hashlib.sha256()
        self.sha256 = hashlib.sha256()
        self.size = 0
        self._file, self._archive, self._progress, self._told = file, archive, progress, 0
        form = FORMATS[options.output.format]
        if file and form.layer:
            image.begin(file)
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
        self._progress.advance(self._archive.read - self._told)
        self._told = self._archive.read

    def write(self, data: bytes) -> int:
        """Take what the compressor gives."""
        assert self._file is not None
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Do nothing: the file is forced to the disk when it is published."""

    def finish(self) -> None:
        """Compress what is left."""
        if self._compressor:
            self._compressor.finish()


def run(archive: Source, rules: Rules, options: BuildOptions, file: Temporary | None, progress: Progress) -> Cast:
    """Read a source into `file` (None: a trial that compresses and keeps nothing).

    Where the first reading meets what only a second one can put right, the source is read again; SourceError where it
    cannot be.
    """
    repairs = Repairs()
    for attempt in (1, 2):
        survey = Survey(reads(CHECKS) + _fit_reads(rules), scan, SCAN_ROOTS)
        cleanup, fitting = Cleanup(rules.operations, rules.remove), Fitting(rules.fits, rules.fit_options)
        output = _Output(file, options, archive, progress)
        pipeline = Pipeline(
            cleanup,
            fitting,
            survey,
            Writer(output.take),
            interests=rules.interests(),
            made=rules.fit_options.epoch,
            clamp=rules.clamp,
            repairs=repairs,
            name=archive.origin.reference,
        )
        progress.total(archive.size)
        with archive.members(rules.limits) as members:
            found = pipeline.run(members)
        output.finish()
        if not found:
            digest = f"sha256:{output.diff_id.hexdigest()}"
            sha256 = output.sha256.hexdigest() if file else ""
            return Cast(survey, cleanup.report(), fitting.report(), digest, sha256, output.size)
        if attempt == 2 or not archive.rereadable:
            break
        repairs = found
        progress.say("reading the source again: it repeats paths, or links to what cleanup drops")
        if file:
            file.clear()
    if archive.rereadable:
        raise SourceError(f"{archive.origin.reference} changed while it was read", hint="build it again")
    raise found.refuse(archive.origin.reference)


def _fit_reads(rules: Rules) -> tuple[str, ...]:
    return tuple(pattern for row in rules.fits for pattern in row.reads)
