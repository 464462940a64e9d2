"""The command `rollback`."""

from lxcast.cli.command import ACCESS, Json, command
from lxcast.cli.console import Console
from lxcast.cli.references import DEFAULT_FILE, Check, DryRun, Name, PinFile, Variant, open_place, show_move
from lxcast.settings import Value


@command("rollback", "storage", *ACCESS, example="lxcast rollback debian-12 --storage pve-nfs=/mnt/pve/pve-nfs")
def rollback(
    console: Console,
    name: Name,
    said: dict[str, Value],
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

    storage, access = open_place(said)
    write = not (dry_run or check)
    moved = move(name, file, storage, access, variant=variant, write=write)
    return show_move(console, moved, check=check, written=write, json=json)
