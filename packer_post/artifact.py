"""The artifact that comes in, as a source; the template that goes out, as an artifact."""

from pathlib import Path
from typing import Any

from lxcast.errors import SourceError
from lxcast.identifiers import stem_of
from lxcast.jobs.build import Built
from packer_post.protocol.rpc import CallError, Client
from packer_post.protocol.server import Artifact

BUILDER_ID = "packer.post-processor.lxcast"

# The BuilderId that each declares in its own source, and what its artifact holds.
FILES = {
    "packer.docker": "docker builder with export_path",
    "packer.file": "file builder",
    "packer.post-processor.artifice": "artifice",
    "packer.post-processor.compress": "compress",
    "packer.post-processor.docker-save": "docker-save",
}
IMAGES = {
    "packer.post-processor.docker-import": "docker builder with commit, docker-import",
    "packer.post-processor.docker-tag": "docker-tag",
}


def source_of(host: Client) -> str:
    """Return the source that Packer's artifact is: a file's path, or docker-daemon:IMAGE.

    Raises SourceError for an artifact of another kind, and for one of no file or of several.
    """
    kind = str(host.call("Artifact.BuilderId"))
    if kind in IMAGES:
        return f"docker-daemon:{host.call('Artifact.Id')}"
    if kind not in FILES:
        raise SourceError(
            f"the artifact is of {kind or 'no known kind'}, which lxcast cannot read",
            hint=f"it reads those of: {'; '.join((*FILES.values(), *IMAGES.values()))}. artifice names any file",
        )
    # The docker builder with `discard` has an artifact without a file: no empty name may become a path.
    files = [str(file) for file in host.call("Artifact.Files") or [] if file]
    if len(files) != 1:
        raise SourceError(
            f"the artifact of {kind} has {len(files)} files, where one is wanted: {', '.join(files) or 'none'}",
            hint="set export_path or commit in the docker builder, or name one file by artifice",
        )
    return str(Path(files[0]).absolute())


def generated_data(host: Client) -> dict[str, Any]:
    """Return what the steps before say of themselves: build.* of the post-processors behind."""
    try:
        found = host.call("Artifact.State", "generated_data")
    except CallError:
        return {}
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def template_artifact(built: Built, record_file: Path | None, inherited: dict[str, Any]) -> Artifact:
    """Return the template as Packer's artifact; its id is the volid, outside of a storage the file's path.

    Its file is on this machine also for a template in a Proxmox storage: Packer's `checksum`, `manifest` and
    `provenance` read it. Only a template that was reused without a conversion has none there.
    """
    record, path = built.record, built.path.absolute() if built.path else None
    beside = path.with_name(stem_of(record.file) + ".json") if path else None
    wrote = record_file.absolute() if record_file else beside if beside and beside.is_file() else ""
    generated = {
        **inherited,
        "TemplateId": built.volid,
        "TemplateFile": str(path or ""),
        "TemplateVersion": record.version,
        "TemplateSha256": record.sha256,
        "RecordFile": str(wrote),
    }
    text = f"Proxmox container template {built.volid}" + (f" ({path})" if path and record.template_id else "")
    return Artifact(BUILDER_ID, built.volid, [str(path)] if path else [], text, {"generated_data": generated})
