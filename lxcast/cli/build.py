"""The command `build`."""

from typing import Annotated

from lxcast.cli.command import Argument, Insecure, Json, Option, command
from lxcast.cli.console import Console
from lxcast.settings import SETTINGS, Settings, build_options

Source = Annotated[
    str,
    Argument(
        metavar="SOURCE",
        help="docker-container:NAME, docker-daemon:IMAGE, docker-archive:FILE[:REF], oci:PATH[:REF], "
        "oci-archive:FILE[:REF], bundle:DIR, rootfs:DIR, https://HOST/PATH with --sha256, a path (detected by its "
        "content: an archive of `docker export` or `docker save`, an image layout, a runtime bundle, a root "
        "filesystem, output of distrobuilder, Incus or LXD; compressed or not), - for standard input, or the NAME of a "
        "container or image.",
    ),
]


@command(
    "build",
    *(row.name for row in SETTINGS),
    example="lxcast build docker-daemon:my-image --name debian-12 --storage pve-nfs=/mnt/pve/pve-nfs\n"
    "lxcast build rootfs.tar --name debian-12 --storage proxmox:pve1/local\n"
    "docker export web | lxcast build - --name web --output out",
)
def build(
    console: Console,
    source: Source,
    name: Annotated[str, Option("--name", metavar="NAME", help="Name of the template.")],
    settings: Settings,
    output: Annotated[
        str | None, Option("--output", metavar="DIR", help="Directory for the template, in place of a storage.")
    ] = None,
    version: Annotated[str, Option("--version", metavar="next|vN", help="Version of the template.")] = "next",
    sha256: Annotated[str, Option("--sha256", metavar="HEX", help="Checksum that an https source must have.")] = "",
    insecure_no_checksum: Insecure = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Convert, check and report, but keep nothing.")] = False,
    json: Json = False,
) -> None:
    """Turn a source into a template and print its id.

    Standard output is the template's id (with --output its path, with --json its record); everything else goes to
    standard error. If a check finds an error, nothing is published. --pin-file sets a pin to the published template.
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
