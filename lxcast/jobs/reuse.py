"""A build that was done already: its template is found by the digest of the source and that of the rules.

The records in the storage are all that is asked. So every machine that sees the storage finds the same, and a template
that was removed, or whose record is damaged, is not found.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import lxcast
from lxcast.identifiers import stem_of
from lxcast.jobs.convert import Rules, resolve_init, run
from lxcast.jobs.options import BuildOptions
from lxcast.jobs.packaged import metadata
from lxcast.model import Version
from lxcast.naming import Naming
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.rootfs.additions import read
from lxcast.settings import TARGETS
from lxcast.sources import Source
from lxcast.tar.writer import Writer

# What decides where a template goes, what it is called, how fast it is made and what is refused, but not what it holds.
# An option that is not named here counts, so that a new one is never forgotten.
_NOT_CONTENT = {
    *("name", "storage", "output", "version", "pattern", "variant", "platform", "if_changed", "reuse", "dry_run"),
    *("max_members", "max_size", "threads", "pin_file", "add", "sha256", "insecure_no_checksum", *TARGETS),
}

_ROOMS = ("incus", "jobs", "oci", "rootfs", "sources", "tar")
"""The packages whose code decides what a template holds."""

_IMAGE_NAMES = ("org.opencontainers.image.ref.name", "org.opencontainers.image.title")
"""Annotations that name the image which a bundle was unpacked from (OCI image specification, annotations.md)."""


def rules_digest(options: BuildOptions, rules: Rules, source: Source) -> str:
    """Return the digest of everything but the source's content that decides a template's.

    That are the options, the files that they add, SOURCE_DATE_EPOCH, the kind of source, its architecture and what its
    builder said of it, and lxcast's own tables and code. Raises UsageError where a file to add cannot be read.
    """
    said = {
        key: sorted(set(value)) if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
        if key not in _NOT_CONTENT
    }
    if options.release_metadata is not None:  # then name and version stand in the template
        said |= {"name": options.name, "version": options.version}
    added = hashlib.sha256()
    writer = Writer(added.update)
    for member in read(rules.fit_options.additions, 0):
        writer.add(member)
    writer.finish()
    facts = {
        "options": said,
        "added": added.hexdigest(),
        "metadata": sorted((name, content.hex()) for name, content in metadata(source).files.items()),
        "clamp": rules.clamp,
        "kind": source.origin.kind,
        "architecture": _architecture(source, options),
        "lxcast": (lxcast.__version__, _code()),
    }
    return f"sha256:{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"


def _architecture(source: Source, options: BuildOptions) -> str:
    """Return what chooses from several images that one digest may name; most digests name one."""
    if source.origin.kind == "docker-daemon":
        return source.config.architecture if source.config else ""
    return f"{options.platform} on {os.uname().machine}" if source.origin.kind == "https" else ""


@cache
def _code() -> str:
    """Return the digest of the code that decides what a template holds: in a checkout the version stays the same."""
    digest = hashlib.sha256()
    house = Path(lxcast.__file__).parent
    for path in sorted(path for room in _ROOMS for path in (house / room).rglob("*.py")):
        digest.update(f"{path.relative_to(house)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def find_made(records: Iterable[Record], source: Source, rules: str, template: Naming, version: str) -> Record | None:
    """Return the newest record of this source and these rules; None where there is none.

    A template of the same name comes before one of the name that a bundle's image has. `version` is "next", or the one
    that the template must have.
    """
    same = [each for each in records if (each.source.digest, each.rules) == (source.origin.digest, rules)]
    series = template.series()
    named = [each for each in same if each.name == template.name and series.fullmatch(stem_of(each.file))]
    for name in _image_names(source):
        named = named or [each for each in same if each.name == name]
    found = [each for each in named if version in ("next", each.version)]
    return max(found, key=lambda each: (each.created, each.file), default=None)


def _image_names(source: Source) -> list[str]:
    """Return the template names of the image that a bundle says it was unpacked from, the more telling one first.

    Each run of characters that no file name of a template may have becomes one "-": `ubuntu:22.04` is `ubuntu-22.04`.
    """
    if source.origin.kind != "bundle" or source.config is None:
        return []
    said = (source.config.labels.get(key, "") for key in _IMAGE_NAMES)
    names = (re.sub(r"[^A-Za-z0-9_.-]+", "-", each).strip("-.") for each in said)
    return [each for each in dict.fromkeys(names) if each]


def still_holds(record: Record, source: Source, rules: Rules, options: BuildOptions, progress: Progress) -> bool:
    """Tell whether a template holds what the source would give now.

    An image's digest names its content. That of a bundle names its config.json, and the files beside it can change: so
    they are read, and nothing is written.
    """
    if source.origin.kind != "bundle":
        return True
    rules = rules.starting(source, resolve_init(options.init, source, rules.fits, options.format))
    rules = rules.for_version(options, Version.parse(record.version) if record.version else None)
    with progress.step(f"comparing {source.origin.reference} with {record.file}"):
        return run(source, rules, options, None, progress).diff_id == record.diff_id
