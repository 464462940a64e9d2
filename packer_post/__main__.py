"""`lxcast-packer`, also `python3 -m packer_post`: the command of a shell-local post-processor."""

import os
import sys
import traceback

from lxcast.errors import LxcastError, of_system
from lxcast.interrupt import Interrupted, raise_on_signals
from lxcast.jobs.promote import pin_built
from lxcast.progress import NORMAL, Lines, Progress
from packer_post.keep import kept
from packer_post.parent import end_with_parents
from packer_post.request import read_request
from packer_post.template import make_template


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
                built = make_template(request.source, request.options, request.receipt, progress)
            held = ""
            pin_built(built.record, request.options(), progress)
        except Interrupted as error:
            if error.hint:
                progress.hint(error.hint)
            return error.exit_code
        except Exception as error:
            code = tell(error, progress)
            if held:
                progress.say(request.resumption(held))
            return code
    print(built.volid, flush=True)  # noqa: T201 - the program's answer
    return 0


def tell(error: Exception, progress: Progress) -> int:
    """Report why the build failed, and return the exit status."""
    if isinstance(error, OSError):
        error = of_system(error)
    if not isinstance(error, LxcastError):
        progress.error("".join(traceback.format_exception(error)))
        return 1
    progress.error(error.message)
    if error.hint:
        progress.hint(error.hint)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
