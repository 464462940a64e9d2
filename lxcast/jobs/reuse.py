"""A build that was done already: its template is found by the digest of the source and that of the rules.

The records in the storage are all that is asked. So every machine that sees the storage finds the same, and a template
that was removed, or whose record is damaged, is not found.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable

import lxcast
from lxcast.identifiers import stem_of
from lxcast.jobs.convert import Rules, resolve_init, run
from lxcast.jobs.packaged import metadata
from lxcast.model import Version
from lxcast.naming import Naming
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.rootfs.additions import read
from lxcast.settings import BuildOptions
from lxcast.sources import Source
from lxcast.tar.writer import Writer

_IMAGE_NAMES = ("org.opencontainers.image.ref.name", "org.opencontainers.image.title")
"""Annotations that name the image which a bundle was unpacked from (OCI image specification, annotations.md)."""


def rules_digest(options: BuildOptions, rules: Rules, source: Source) -> str:
    """Return the digest of everything but the source's content that decides a template's.

    These are the settings that affect the content, the files that they add, SOURCE_DATE_EPOCH, the kind of source, its
    architecture and its metadata, and lxcast's version. Raises UsageError if a file to add cannot be read.
    """
    values = {
        key: sorted(set(value)) if isinstance(value, tuple) else value
        for key, value in options.content_values().items()
    }
    if options.content.release_metadata is not None:  # the release file contains name and version
        values |= {"name": options.naming.name, "version": str(options.version or "next")}
    added = hashlib.sha256()
    writer = Writer(added.update)
    for member in read(rules.fit_options.additions, 0):
        writer.add(member)
    writer.finish()
    facts = {
        "settings": values | {"add": added.hexdigest()},
        "metadata": sorted((name, content.hex()) for name, content in metadata(source).files.items()),
        "clamp": rules.clamp,
        "kind": source.origin.kind,
        "architecture": _architecture(source, options),
        "lxcast": lxcast.__version__,
    }
    return f"sha256:{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"


def _architecture(source: Source, options: BuildOptions) -> str:
    """Return what chooses from several images that one digest may name; most digests name one."""
    if source.origin.kind == "docker-daemon":
        return source.config.architecture if source.config else ""
    return f"{options.source.platform} on {os.uname().machine}" if source.origin.kind == "https" else ""


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
    rules = rules.starting(source, resolve_init(options.content.init, source, rules.fits, options.output.format))
    rules = rules.for_version(options, Version.parse(record.version) if record.version else None)
    with progress.step(f"comparing {source.origin.reference} with {record.file}"):
        return run(source, rules, options, None, progress).diff_id == record.diff_id
