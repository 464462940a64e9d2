"""The command `check`."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console
from lxcast.errors import CheckError
from lxcast.progress import amount
from lxcast.settings import CheckOptions, Settings, SourceOptions, in_groups, select


@command(
    "check",
    *in_groups("checks"),
    "platform",
    "init",
    example="lxcast check debian-12-v4.tar.zst --policy golden\nlxcast check oci-archive:app.tar:v1 --init app",
)
def check(
    console: Console,
    file: Annotated[
        str,
        Argument(
            metavar="FILE",
            help="Archive of a root filesystem, compressed or not; a directory with a root filesystem, a runtime "
            "bundle or an image layout; - for standard input; or a source with a prefix, as for `lxcast build`.",
        ),
    ],
    settings: Settings,
    sha256: Annotated[str, Option("--sha256", metavar="HEX", help="Checksum that an https source must have.")] = "",
    insecure_no_checksum: Insecure = False,
    json: Json = False,
) -> int:
    """Check whether Proxmox would accept and boot FILE.

    Reports every problem at once, on standard output. The exit code is 5 if one of them is an error.
    """
    from lxcast.cli.report import finding_text
    from lxcast.jobs.check import check as check_source
    from lxcast.jobs.options import expected
    from lxcast.sources import without_secrets

    options = select(CheckOptions, settings)
    (checksum,) = expected([file], [sha256] if sha256 else [], insecure=insecure_no_checksum)
    checked = check_source(
        file,
        options,
        console.progress,
        reading=select(SourceOptions, settings, sha256=checksum),
        init=settings.text("init"),
    )
    errors = sum(finding.fails for finding in checked.findings)
    others = len(checked.findings) - errors
    if json:
        console.document(
            {
                "file": without_secrets(file),
                "ostype": checked.ostype,
                "arch": checked.arch,
                "members": checked.members,
                "unpacked_size": checked.unpacked_size,
                "compression": checked.compression,
                "policy": options.policy,
                "errors": errors,
                "warnings": others,
                "findings": [finding.as_dict() for finding in checked.findings],
            }
        )
    else:
        facts = [f"{checked.ostype or 'unknown ostype'} {checked.arch}".rstrip(), checked.compression]
        facts += [f"{checked.members} members", f"{amount(checked.unpacked_size)} unpacked"]
        lines = [f"{without_secrets(file)}: {', '.join(filter(None, facts))}"]
        lines += [finding_text(finding) for finding in checked.findings]
        console.out("\n".join([*lines, f"{_count(errors, 'error')}, {_count(others, 'warning')}"]))
    return CheckError.exit_code if errors else 0


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
