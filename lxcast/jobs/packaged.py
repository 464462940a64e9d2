"""What a build does with the metadata that the builder of its source left."""

from dataclasses import replace

from lxcast.incus.metadata import Metadata
from lxcast.jobs.convert import Rules
from lxcast.naming import Naming, field_value
from lxcast.record import Record
from lxcast.sources import Packaged, Source
from lxcast.storages.storage import METADATA_SUFFIX
from lxcast.tar.member import regular


def metadata(source: Source) -> Metadata:
    """Return the metadata of the source's builder, empty if there is none."""
    return source.metadata if isinstance(source, Packaged) else Metadata()


def naming_of_source(naming: Naming, source: Source) -> Naming:
    """Return the naming with variant and release from the source's metadata, unless they are set."""
    found = metadata(source)
    return replace(
        naming,
        variant=naming.variant or field_value(found.said("variant")),
        release=naming.release or field_value(found.said("release")),
    )


def naming_of_record(naming: Naming, record: Record) -> Naming:
    """Return the naming with digest, release and architecture of the finished template."""
    release, arch = naming.release or field_value(record.release), naming.arch or record.arch
    return replace(naming, digest=record.diff_id, release=release, arch=arch)


def with_rendered_files(rules: Rules, source: Source) -> Rules:
    """Return the rules with the files rendered from the source's own templates."""
    if not isinstance(source, Packaged):
        return rules
    from lxcast.incus.templates import render

    rendered, left_out = render(source.metadata)
    source.warnings.extend(f"{source.origin.reference}: {each}" for each in left_out)
    epoch = rules.fit_options.epoch
    return rules.with_templates(tuple(regular(each.path, each.content, mtime=epoch) for each in rendered))


def metadata_sidecar(source: Source) -> dict[str, bytes]:
    """Return the sidecar with the builder's metadata, by suffix; empty if there is none."""
    if not isinstance(source, Packaged) or not source.metadata.files:
        return {}
    return {METADATA_SUFFIX: source.metadata_archive()}
