"""`lxcast build`, its report, and what the user does next."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console
from lxcast.settings import SETTINGS, Settings, build_options

Source = Annotated[
    str,
    Argument(
        metavar="SOURCE",
        help="docker-container:NAME, docker-daemon:IMAGE, docker-archive:FILE[:REF], oci:PATH[:REF], "
        "oci-archive:FILE[:REF], bundle:DIR, rootfs:DIR, https://HOST/PATH with --sha256, a path (told by its content: "
        "a tar archive such as that of `docker export`, an image layout, an archive of `docker save`, a runtime "
        "bundle, a folder, what distrobuilder, Incus or LXD wrote; archives compressed or not), - for standard input, "
        "or a bare NAME of a container or image.",
    ),
]


@command(
    "build",
    *(row.name for row in SETTINGS),
    example="lxcast build docker-daemon:my-image --name debian-12 --storage pve-nfs=/mnt/pve/pve-nfs",
)
def build(
    console: Console,
    source: Source,
    name: Annotated[str, Option("--name", metavar="NAME", help="What the template is called.")],
    settings: Settings,
    output: Annotated[
        str | None, Option("--output", metavar="DIR", help="A plain folder in place of a storage.")
    ] = None,
    version: Annotated[str, Option("--version", metavar="next|vN", help="The number it gets.")] = "next",
    sha256: Annotated[
        str, Option("--sha256", metavar="HEX", help="What an https source must have; nothing else is published.")
    ] = "",
    insecure_no_checksum: Insecure = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Read, judge and report, but keep nothing.")] = False,
    json: Json = False,
) -> None:
    """Make a template from SOURCE and print its id.

    Standard output holds the template's id alone (with --output its path), with --json its record; everything else
    goes to standard error. Where checks find errors nothing is published. --pin-file moves a pin once it is.
    """
    from lxcast.cli.report import build_report
    from lxcast.jobs.build import build as cast

    options = build_options(
        settings,
        name=name,
        version=version,
        output=output,
        sha256=sha256,
        insecure_no_checksum=insecure_no_checksum,
        dry_run=dry_run,
    )
    built = cast(source, options, console.progress)
    found = [finding.text for finding in built.findings if not finding.allowed]
    for warning in (*built.warnings, *found):
        console.progress.warn(warning)
    console.progress.say(build_report(built, published=not dry_run))
    if options.pin_file:
        from lxcast.jobs.promote import pin_built

        pin_built(built.record, options, console.progress)
    if json:
        console.out(built.record.to_json().rstrip())
    elif not dry_run:
        console.out(built.volid)
    if console.interactive and not dry_run:
        from lxcast.containers.render import next_step

        console.progress.say(next_step(built.record, built.path))
