"""The command `diff`."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console
from lxcast.settings import Settings


@command(
    "diff",
    "platform",
    example="lxcast diff debian-12-v3.tar.zst debian-12-v4.tar.zst\n"
    "lxcast diff debian-12-v3.tar.zst debian-12-v4.tar.zst --packages",
)
def diff(
    console: Console,
    a: Annotated[str, Argument(metavar="A", help="A template, or any source of `lxcast build`.")],
    b: Annotated[str, Argument(metavar="B", help="The template or source to compare it with.")],
    settings: Settings,
    sha256: Annotated[
        list[str] | None,
        Option("--sha256", metavar="HEX", help="Checksum of an https source; twice if both are one."),
    ] = None,
    insecure_no_checksum: Insecure = False,
    packages: Annotated[
        bool, Option("--packages", help="Compare the packages: added, removed, upgraded, downgraded.")
    ] = False,
    json: Json = False,
) -> int:
    """Compare two templates member by member, or their packages.

    Compares type, mode, owner, time, size, content, link target and extended attributes, not the order of the members.
    The exit code is 1 if the templates differ, 0 if not.
    """
    from lxcast.jobs.diff import Difference
    from lxcast.jobs.diff import diff as compare
    from lxcast.jobs.options import expected
    from lxcast.jobs.packages import PackageChange, compare_packages, list_packages
    from lxcast.sources import without_secrets

    checksums = expected([a, b], sha256 or [], insecure=insecure_no_checksum)
    platform = settings.text("platform")
    differences: list[Difference] | list[PackageChange]
    if packages:
        found = [
            list_packages(each, console.progress, platform=platform, sha256=checksum)
            for each, checksum in zip((a, b), checksums, strict=True)
        ]
        for name, side in zip((a, b), found, strict=True):
            for each in side.list.unread:
                console.progress.warn(f"{without_secrets(name)}: {each.as_dict()['path']} was not read: {each.reason}")
        differences = compare_packages(found[0].list.packages, found[1].list.packages)
    else:
        differences = compare(a, b, console.progress, platform=platform, sha256=checksums)
    if json:
        console.document(
            {"a": without_secrets(a), "b": without_secrets(b), "differences": [each.as_dict() for each in differences]}
        )
    elif differences:
        console.out("\n".join(map(str, differences)))
    else:
        console.progress.say("no difference")
    return 1 if differences else 0
