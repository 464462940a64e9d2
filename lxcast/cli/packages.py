"""The command `packages`."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.errors import UsageError
from lxcast.settings import Settings, StorageOptions, select


@command(
    "packages",
    "platform",
    "storage",
    example="lxcast packages debian-12:v4\n"
    "lxcast packages docker-daemon:debian:12 --json\n"
    "lxcast packages debian-12-v4.tar.zst --sbom cyclonedx",
)
def packages(
    console: Console,
    what: Annotated[
        str,
        Argument(metavar="WHAT", help="A template (volid, NAME, NAME:vN or path), or any source of `lxcast build`."),
    ],
    settings: Settings,
    disable: Annotated[
        list[str] | None, Option("--disable", metavar="ROW", help="Reader of packages to skip; repeatable.")
    ] = None,
    sbom: Annotated[
        str,
        Option("--sbom", metavar="FORMAT", help="Print a bill of materials: cyclonedx (1.6) or spdx (2.3)."),
    ] = "",
    sha256: Annotated[str, Option("--sha256", metavar="HEX", help="Checksum that an https source must have.")] = "",
    insecure_no_checksum: Insecure = False,
    json: Json = False,
) -> None:
    """List the packages in a template or source.

    Reads the databases of dpkg, apk, rpm (SQLite) and pacman, Python and Node.js packages, Go programs and Java
    archives. A database that cannot be read is reported as a warning. With --sbom, the list is a bill of materials for
    scanners such as grype and trivy; the same template gives the same bytes.
    """
    from lxcast.evidence.sbom import FORMATS
    from lxcast.jobs.options import expected
    from lxcast.jobs.packages import list_packages
    from lxcast.jobs.packages import sbom as make_sbom
    from lxcast.jobs.resolve import resolve_source
    from lxcast.sources import without_secrets

    if sbom and sbom not in FORMATS:
        raise UsageError(f"--sbom {sbom}: expected cyclonedx or spdx")
    (checksum,) = expected([what], [sha256] if sha256 else [], insecure=insecure_no_checksum)
    source = resolve_source(what, select(StorageOptions, settings))
    inventoried = list_packages(
        source, console.progress, platform=settings.text("platform"), sha256=checksum, disable=disable or ()
    )
    found = inventoried.list
    if sbom:
        console.out(make_sbom(inventoried, sbom).rstrip("\n"))
        return
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
