"""The work that the shim and the plugin share: a source becomes a template, and its record a file of the user's."""

import json
from collections.abc import Callable
from pathlib import Path

from lxcast import durable
from lxcast.jobs.build import Built, build
from lxcast.progress import Progress
from lxcast.settings import BuildOptions


def make_template(
    source: str,
    options: Callable[[], BuildOptions],
    record_file: Path | None,
    progress: Progress,
    *,
    keep_file: bool = False,
) -> Built:
    """Build the template, write the record file, and say what the user should look at; raises what these raise.

    The options are asked for after an old record file is gone: what an earlier build wrote must not be taken for
    this one's, whatever is wrong with them. With `keep_file` the file of a template in a remote storage stays on this
    machine until this process ends.
    """
    if record_file:
        with durable.explained(record_file):
            record_file.unlink(missing_ok=True)
    built = build(source, options(), progress, keep_file=keep_file)
    if record_file:
        _write_record(record_file, built)
    for warning in built.warnings:
        progress.warn(warning)
    for finding in built.findings:
        if not finding.allowed:
            progress.warn(finding.sentence)
    if built.unchanged:
        progress.say("the content is that of a template that is there: nothing was published")
    return built


def _write_record(file: Path, built: Built) -> None:
    """Write the record, and `path`, the template on this machine, as JSON; completely or not at all."""
    with durable.explained(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    with durable.Temporary(file.parent) as temporary:
        content = json.loads(built.record.to_json()) | {"path": str(built.path or "")}
        temporary.write(json.dumps(content, indent=2).encode() + b"\n")
        temporary.sync()
        durable.replace(temporary.path, file)
