"""What a build does with the metadata of its source, where the source's builder left some."""

from dataclasses import replace
from pathlib import Path

from lxcast.incus.metadata import Metadata
from lxcast.jobs.convert import Rules
from lxcast.naming import Naming, field_value
from lxcast.record import Record
from lxcast.sources import Packaged, Source
from lxcast.storages.directory import METADATA_SUFFIX
from lxcast.tar.member import regular


def metadata(source: Source) -> Metadata:
    """Return what the source's builder said about it, nothing where it said nothing."""
    return source.metadata if isinstance(source, Packaged) else Metadata()


def named(template: Naming, source: Source) -> Naming:
    """Return the naming with what the source's builder said, where nobody else said it."""
    told = metadata(source)
    return replace(
        template,
        variant=template.variant or field_value(told.said("variant")),
        release=template.release or field_value(told.said("release")),
    )


def completed(template: Naming, record: Record) -> Naming:
    """Return the naming with what the template itself tells."""
    release, arch = template.release or field_value(record.release), template.arch or record.arch
    return replace(template, digest=record.diff_id, release=release, arch=arch)


def with_templates(rules: Rules, source: Source) -> Rules:
    """Return the rules with the files that the source's own templates make."""
    if not isinstance(source, Packaged):
        return rules
    from lxcast.incus.templates import render

    rendered, left_out = render(source.metadata)
    source.warnings.extend(f"{source.origin.reference}: {each}" for each in left_out)
    epoch = rules.fit_options.epoch
    return rules.with_templates(tuple(regular(each.path, each.content, mtime=epoch) for each in rendered))


def beside(source: Source, output: Path | None) -> dict[str, bytes]:
    """Return what a plain folder keeps beside the template, by suffix.

    In a storage the record alone holds the metadata: Proxmox would list a second archive as a template.
    """
    if output is None or not isinstance(source, Packaged) or not source.metadata.files:
        return {}
    return {METADATA_SUFFIX: source.metadata_archive()}
