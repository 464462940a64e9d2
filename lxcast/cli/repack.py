"""The command `repack`."""

import json as js
from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, command
from lxcast.cli.console import Console
from lxcast.settings import Settings, in_groups


@command(
    "repack",
    *in_groups("checks", "content", "output", "limits"),  # the others follow from the file
    example="lxcast repack /var/lib/vz/template/cache/hakim-*.tar.xz",
)
def repack(
    console: Console,
    files: Annotated[list[Path], Argument(metavar="FILE...", help="Archives, also ones that contain another archive.")],
    settings: Settings,
    json: Json = False,
) -> int:
    """Turn old archives into templates next to them.

    FILE.tar.xz becomes FILE-v1.tar.zst in the same directory, FILE-v3.tar.xz the version after the newest. A nested
    archive is unwrapped. The originals are kept. Standard output has the id of each template, or its path outside of a
    storage. A file that fails does not stop the others.
    """
    from lxcast.cli.report import build_report
    from lxcast.jobs.repack import repack as run

    done = run(files, settings, console.progress)
    code = 0
    for each in done:
        if each.built is not None:
            found = [finding.text for finding in each.built.findings if not finding.allowed]
            for warning in (*each.built.warnings, *found):
                console.progress.warn(warning)
            console.progress.say(build_report(each.built))
            if not json:
                console.out(each.built.volid)
        elif each.error is not None:
            code = code or each.error.exit_code
            console.progress.error(f"{each.file}: {each.error.message}")
            if each.error.hint:
                console.progress.hint(each.error.hint)
    failed = sum(each.error is not None for each in done)
    console.progress.say(f"{len(done) - failed} of {len(done)} repacked")
    if json:
        console.document(
            {
                "repacked": [
                    {"from": str(each.file), "record": js.loads(each.built.record.to_json())}
                    for each in done
                    if each.built
                ],
                "failed": [{"from": str(each.file), "message": str(each.error)} for each in done if each.error],
            }
        )
    return code
