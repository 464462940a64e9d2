"""The commands whose exit code is a verdict: check, diff."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console
from lxcast.errors import CheckError
from lxcast.progress import amount
from lxcast.settings import CheckOptions, Settings, SourceOptions, select


@command(
    "check", "policy", "allow", "arch", "platform", "init", example="lxcast check debian-12-v4.tar.zst --policy golden"
)
def check(
    console: Console,
    file: Annotated[
        str,
        Argument(
            metavar="FILE",
            help="An archive of a root filesystem, compressed or not; or a folder: a "
            "root filesystem, a runtime bundle, an image layout; or - for standard input, or what `lxcast build` takes "
            "by a prefix, such as oci-archive:FILE:REF or https://HOST/PATH.",
        ),
    ],
    settings: Settings,
    sha256: Annotated[str, Option("--sha256", metavar="HEX", help="What an https source must have.")] = "",
    insecure_no_checksum: Insecure = False,
    json: Json = False,
) -> int:
    """Tell every reason why Proxmox would not take FILE.

    The findings go to standard output. The exit code is 5 where one is an error.
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
        told = [f"{checked.ostype or 'unknown ostype'} {checked.arch}".rstrip(), checked.compression]
        told += [f"{checked.members} members", f"{amount(checked.unpacked_size)} unpacked"]
        lines = [f"{without_secrets(file)}: {', '.join(filter(None, told))}"]
        lines += [finding_text(finding) for finding in checked.findings]
        console.out("\n".join([*lines, f"{_count(errors, 'error')}, {_count(others, 'warning')}"]))
    return CheckError.exit_code if errors else 0


@command("diff", "platform", example="lxcast diff debian-12-v3.tar.zst debian-12-v4.tar.zst")
def diff(
    console: Console,
    a: Annotated[str, Argument(metavar="A", help="A template, or any source that `lxcast build` takes.")],
    b: Annotated[str, Argument(metavar="B", help="What it is compared with.")],
    settings: Settings,
    sha256: Annotated[
        list[str] | None,
        Option("--sha256", metavar="HEX", help="What an https source must have; twice where both are one."),
    ] = None,
    insecure_no_checksum: Insecure = False,
    json: Json = False,
) -> int:
    """Compare two templates member by member.

    Type, mode, owner, time, size, content, link and extended attributes count, the order of the members does not. The
    exit code is 0 where there is no difference, and 1 where there is one.
    """
    from lxcast.jobs.diff import diff as compare
    from lxcast.jobs.options import expected
    from lxcast.sources import without_secrets

    checksums = expected([a, b], sha256 or [], insecure=insecure_no_checksum)
    differences = compare(a, b, console.progress, platform=settings.text("platform"), sha256=checksums)
    if json:
        console.document(
            {"a": without_secrets(a), "b": without_secrets(b), "differences": [each.as_dict() for each in differences]}
        )
    elif differences:
        console.out("\n".join(map(str, differences)))
    else:
        console.progress.say("no difference")
    return 1 if differences else 0


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
