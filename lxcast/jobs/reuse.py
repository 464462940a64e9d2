"""Reuse: the template of an earlier build is found by the digest of its source and the digest of the rules.

Only the records of the storage are read. So every machine that sees the storage finds the same template, and one that
was removed, or whose record is damaged, is not found.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable

import lxcast
from lxcast.identifiers import stem_of
from lxcast.jobs.convert import Rules, convert, resolve_init
from lxcast.jobs.packaged import metadata
from lxcast.model import Version
from lxcast.naming import Naming
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.rootfs.additions import read_additions
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
    for member in read_additions(rules.fit_options.additions, 0):
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
    """Return what selects one of several images with the same digest; most digests name one image."""
    if source.origin.kind == "docker-daemon":
        return source.config.architecture if source.config else ""
    return f"{options.source.platform} on {os.uname().machine}" if source.origin.kind == "https" else ""


def find_made(
    records: Iterable[Record], source: Source, rules: str, naming: Naming, version: Version | None
) -> Record | None:
    """Return the newest record of this source and these rules, with the version if one is given, else None.

    A template of the same name takes precedence over one named after a bundle's image.
    """
    same = [each for each in records if (each.source.digest, each.rules) == (source.origin.digest, rules)]
    series = naming.series()
    named = [each for each in same if each.name == naming.name and series.fullmatch(stem_of(each.file))]
    for name in _image_names(source):
        named = named or [each for each in same if each.name == name]
    found = [each for each in named if version is None or each.version == str(version)]
    return max(found, key=lambda each: (each.created, each.file), default=None)


def _image_names(source: Source) -> list[str]:
    """Return the template names of the image that a bundle was unpacked from, the more specific one first.

    Each run of characters that are invalid in a template's file name becomes one "-": `ubuntu:22.04` is `ubuntu-22.04`.
    """
    if source.origin.kind != "bundle" or source.config is None:
        return []
    labels = (source.config.labels.get(key, "") for key in _IMAGE_NAMES)
    names = (re.sub(r"[^A-Za-z0-9_.-]+", "-", each).strip("-.") for each in labels)
    return [each for each in dict.fromkeys(names) if each]


def still_holds(record: Record, source: Source, rules: Rules, options: BuildOptions, progress: Progress) -> bool:
    """Return whether a template has the content that the source would give now.

    An image's digest identifies its content. A bundle's digest identifies its config.json alone, and the files next to
    it can change: so they are read, and nothing is written.
    """
    if source.origin.kind != "bundle":
        return True
    rules = rules.starting(source, resolve_init(options.content.init, source, rules.fits, options.output.format))
    rules = rules.for_version(options, Version.parse(record.version) if record.version else None)
    with progress.step(f"comparing {source.origin.reference} with {record.file}"):
        return convert(source, rules, options, None, progress).diff_id == record.diff_id
