"""`lxcast-data`, also `python3 -m terraform_ext`: what the `program` of data "external" runs."""

import json
import signal
import sys

from lxcast.errors import ApiError, LxcastError, PinError, UsageError, of_system
from lxcast.references.files import MAX_BYTES
from terraform_ext.answer import answer
from terraform_ext.query import parse

HELP = """\
lxcast-data answers Terraform's and OpenTofu's data "external": a query on standard input, the record of one template
on standard output. It only reads, and takes no arguments.

    data "external" "debian_12" {
      program = ["lxcast-data"]
      query = {
        name = "debian-12"
      }
    }

    output "template_id" {
      value = data.external.debian_12.result.template_id
    }

By hand, from the pin file, and from the record in a storage:

    echo '{"name": "debian-12"}' | lxcast-data
    echo '{"name": "debian-12", "version": "v4", "storage": "/mnt/pve/pve-nfs"}' | lxcast-data

name      the name that the template was built with
variant   the variant that it was built with; required if the name has several
pin_file  the file that pins it (templates.auto.tfvars.json where Terraform runs); `lxcast pin write` writes it
version   "vN", which the pin must have; or "latest" of a storage: never assumed, since a new version would replace
          every container made from it
sha256    which the template must have
storage   PATH or ID=PATH, as for `lxcast build --storage`: the record there answers, and the template must be there
          with its size. Without a version, the pin names it and must agree with the record
          proxmox:NODE/STORAGE confirms the pin's name and size by the API, with the token in PM_API_URL,
          PM_API_TOKEN_ID, PM_API_TOKEN_SECRET
node      the node that confirms the pin by the API; storage is then an id (default: that of the pin)
verify    "pin": answer from the pin alone, though a storage is named; "storage": only with one

The result holds the keys of the record and node, ctime, verified, warnings, each as a string; lists and objects are
JSON: jsondecode(data.external.debian_12.result.warnings). What is not known is "" or an empty object.
"""

# Terraform wraps a diagnostic's lines to 78 columns less 3 for its left rule, and leaves a line alone that starts with
# a space (internal/command/format/diagnostic.go). The provider puts "Error Message: " before the first line.
_COLUMNS = 75


def main() -> int:
    """Answer the query on standard input; the exit status is 0, or 1 with every reason on standard error."""
    # Ctrl-C in Terraform reaches this program, too, and Terraform shows what a failed program says: no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(HELP, end="")  # noqa: T201 - what was asked for
        return 0
    if not sys.argv[1:] and sys.stdin and sys.stdin.isatty():
        print(HELP, end="", file=sys.stderr)  # noqa: T201 - no query comes from a terminal
        return 1
    try:
        if sys.argv[1:]:
            raise UsageError(
                "there are arguments, and the query comes on standard input", hint="try: lxcast-data --help"
            )
        result = answer(parse(sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b""))
    except (LxcastError, OSError) as error:
        explained = of_system(error) if isinstance(error, OSError) else error
        print(layout(explained), file=sys.stderr)  # noqa: T201 - the program's voice
        return 1
    print(json.dumps(result, separators=(",", ":")))  # noqa: T201 - the program's voice
    return 0


def layout(error: LxcastError) -> str:
    """Lay out an error for Terraform: a heading, each line of the message as a problem, and the hint."""
    what = {
        UsageError: "the query is refused",
        PinError: "the pin cannot be used",
        ApiError: "Proxmox cannot be asked",
    }
    lines = [f"lxcast-data: {what.get(type(error), 'no such template')}"]
    for problem in error.message.splitlines():
        lines += _wrap(problem, "  - ")
    return "\n".join(lines + _wrap(error.hint, "  "))


def _wrap(text: str, indent: str) -> list[str]:
    import textwrap  # an answer needs none

    # Words stay whole, since paths and HCL are copied from here.
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.exit(main())
