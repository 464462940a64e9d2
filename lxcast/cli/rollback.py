"""The command `rollback`."""

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console
from lxcast.cli.references import DEFAULT_FILE, Check, DryRun, Name, PinFile, Variant, show_move
from lxcast.settings import Settings, StorageOptions, in_groups, select


@command(
    "rollback", *in_groups("storage", "access"), example="lxcast rollback debian-12 --storage pve-nfs=/mnt/pve/pve-nfs"
)
def rollback(
    console: Console,
    name: Name,
    settings: Settings,
    variant: Variant = None,
    file: PinFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Set a pin file's entry to its previous value.

    The storage must still have that template with the same sha256. A second rollback undoes the first.
    """
    from lxcast.jobs.promote import rollback as move

    storage = select(StorageOptions, settings)
    write = not (dry_run or check)
    moved = move(name, file, storage, variant=variant, write=write)
    return show_move(console, moved, check=check, written=write, json=json)
