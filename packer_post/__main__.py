"""`lxcast-packer`, also `python3 -m packer_post`: the command of a shell-local post-processor."""

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

from lxcast import durable
from lxcast.errors import LxcastError
from lxcast.interrupt import Interrupted, raise_on_signals
from lxcast.jobs.build import Built, build
from lxcast.progress import NORMAL, Lines, Progress
from packer_post.keep import kept
from packer_post.parent import end_with_parents
from packer_post.request import Request, read_request


def main() -> int:
    """Build what Packer asks for; standard output gets the template's id, standard error plain lines.

    The exit status is that of `lxcast build`: 0, the error's class, or 128 and the signal.
    """
    raise_on_signals()
    end_with_parents()
    # Packer shows of a line only what follows the last carriage return: no moving lines, whatever the terminal.
    with Progress(Lines(sys.stderr, NORMAL)) as progress:
        held = ""
        request = read_request(sys.argv[1:], os.environ)
        try:
            with kept(request.source, progress.warn) as held:
                built = cast(request, progress)
        except Interrupted as error:
            return error.exit_code
        except Exception as error:
            code = tell(error, progress)
            if held:
                progress.say(f"kept, so that another try needs no packer build: {held}\n  {request.command(held)}")
            return code
    print(built.volid, flush=True)  # noqa: T201 - the program's answer
    return 0


def cast(request: Request, progress: Progress) -> Built:
    """Build the template, write the receipt, and say what the user should look at."""
    if request.receipt:
        # What an earlier build wrote must not be taken for this one's.
        request.receipt.unlink(missing_ok=True)
    built = build(request.source, request.options(), progress)
    if request.receipt:
        write_receipt(request.receipt, built)
    for warning in built.warnings:
        progress.warn(warning)
    for finding in built.findings:
        progress.warn(f"{finding.check}: {finding.message}")
    if built.unchanged:
        progress.say("the content is that of a template that is there: nothing was published")
    return built


def tell(error: Exception, progress: Progress) -> int:
    """Say why the build failed, and return the exit status."""
    if not isinstance(error, LxcastError):
        progress.error("".join(traceback.format_exception(error)))
        return 1
    progress.error(error.message)
    if error.hint:
        progress.hint(error.hint)
    return error.exit_code


def write_receipt(file: Path, built: Built) -> None:
    """Write the record, and `path`, where the template lies on this machine, as JSON; whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with durable.Temporary(file.parent) as temporary:
        receipt = asdict(built.record) | {"path": str(built.path)}
        temporary.write(json.dumps(receipt, indent=2).encode() + b"\n")
        temporary.sync()
        durable.replace(temporary.path, file)


if __name__ == "__main__":
    sys.exit(main())
