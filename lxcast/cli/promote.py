"""The command `promote`."""

from typing import Annotated

from lxcast.cli.command import Json, Option, command
from lxcast.cli.console import Console
from lxcast.cli.references import DEFAULT_FILE, Check, DryRun, Name, Variant, Version, show_move
from lxcast.settings import Settings, StorageOptions, in_groups, select


@command(
    "promote",
    *in_groups("storage", "access"),
    example="lxcast promote debian-12 --version v4 --to env/prod/main.tf:local.lxc_rootfs_version",
)
def promote(
    console: Console,
    name: Name,
    settings: Settings,
    version: Version = "",
    variant: Variant = None,
    to: Annotated[
        str, Option("--to", metavar="FILE[:ADDRESS]", help="A literal in an HCL file, or a pin file.")
    ] = DEFAULT_FILE.name,
    field: Annotated[
        str,
        Option("--field", metavar="FIELD", help="The value to write, such as sha256. Default: the kind already there."),
    ] = "",
    force_name: Annotated[
        bool, Option("--force-name", help="Overwrite a literal that names another template.")
    ] = False,
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Move a pin to a version in the storage.

    In an HCL file the literal keeps its kind: a version, a volid, a file name or a digest. The change is a local edit
    to review and commit.
    """
    from lxcast.jobs.promote import promote as move

    storage = select(StorageOptions, settings)
    write = not (dry_run or check)
    moved = move(name, version, to, storage, field, variant=variant, force_name=force_name, write=write)
    return show_move(console, moved, check=check, written=write, json=json)
