"""The command `packages`."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.settings import Settings


@command(
    "packages",
    "platform",
    example="lxcast packages debian-12-v4.tar.zst\nlxcast packages docker-daemon:debian:12 --json",
)
def packages(
    console: Console,
    what: Annotated[str, Argument(metavar="WHAT", help="A template, or any source of `lxcast build`.")],
    settings: Settings,
    disable: Annotated[
        list[str] | None, Option("--disable", metavar="ROW", help="Reader of packages to skip; repeatable.")
    ] = None,
    sha256: Annotated[str, Option("--sha256", metavar="HEX", help="Checksum that an https source must have.")] = "",
    insecure_no_checksum: Insecure = False,
    json: Json = False,
) -> None:
    """List the packages in a template or source.

    Reads the databases of dpkg, apk, rpm (SQLite) and pacman, Python and Node.js packages, Go programs and Java
    archives. A database that cannot be read is reported as a warning.
    """
    from lxcast.jobs.options import expected
    from lxcast.jobs.packages import list_packages
    from lxcast.sources import without_secrets

    (checksum,) = expected([what], [sha256] if sha256 else [], insecure=insecure_no_checksum)
    found = list_packages(
        what, console.progress, platform=settings.text("platform"), sha256=checksum, disable=disable or ()
    )
    if json:
        console.document(
            {
                "source": without_secrets(what),
                "packages": [package.as_dict() for package in found.packages],
                "unread": [each.as_dict() for each in found.unread],
            }
        )
        return
    for each in found.unread:
        console.progress.warn(f"{each.as_dict()['path']} was not read: {each.reason}")
    if not found.packages:
        console.progress.say("no packages found")
        return
    rows = [("KIND", "NAME", "VERSION", "SOURCE", "LICENSE")]
    rows += [(each.kind, each.name, each.version, each.source, each.license) for each in found.packages]
    console.out(columns(rows))
