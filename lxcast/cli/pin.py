"""The commands of the group `pin`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, command, group
from lxcast.cli.console import Console, columns
from lxcast.cli.references import (
    DEFAULT_FILE,
    Check,
    DryRun,
    Name,
    PinFile,
    Variant,
    Version,
    show_move,
)
from lxcast.settings import Settings, StorageOptions, in_groups, select

File = Annotated[Path, Argument(metavar="FILE", help="A configuration, such as main.tf, prod.tfvars or web.tf.json.")]
Address = Annotated[
    str, Argument(metavar="ADDRESS", help="Such as local.lxc_rootfs_version, var.NAME or module.NAME.ARGUMENT.")
]

group("pin", "Read and write pins.", example="lxcast pin list .")


@command(
    "pin write",
    *in_groups("storage", "access"),
    example="lxcast pin write debian-12 --version v4 --storage pve-nfs=/mnt/pve/pve-nfs",
)
def write(
    console: Console,
    name: Name,
    settings: Settings,
    version: Version = "",
    variant: Variant = None,
    file: PinFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Set a template's entry in a pin file.

    Creates the file if it does not exist. The old value of the entry becomes its `previous`; other entries and keys
    stay.
    """
    from lxcast.jobs.promote import write_pin

    storage = select(StorageOptions, settings)
    written = not (dry_run or check)
    move = write_pin(name, version, storage, file, variant=variant, write=written)
    return show_move(console, move, check=check, written=written, json=json)


@command("pin set", example="lxcast pin set main.tf module.web.template_version v4")
def set_(
    console: Console,
    file: File,
    address: Address,
    value: Annotated[str, Argument(metavar="VALUE", help="The new value, without quotes.")],
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Replace one literal in a configuration.

    No other byte changes. A string stays a string, a number a number; computed values are refused.
    """
    from lxcast.jobs.pin import set_value

    written = not (dry_run or check)
    move = set_value(file, address, value, write=written)
    return show_move(console, move, check=check, written=written, json=json)


@command("pin get", example="lxcast pin get main.tf module.web.template_version")
def get(console: Console, file: File, address: Address, json: Json = False) -> None:
    """Print the literal at an address of a configuration."""
    from lxcast.jobs.pin import get_value

    slot = get_value(file, address)
    if json:
        console.document({"file": str(file), "line": slot.line, "address": slot.address, "value": slot.value})
    else:
        console.out(slot.value)


@command(
    "pin list",
    *in_groups("storage", "access"),
    example="lxcast pin list environments --storage pve-nfs=/mnt/pve/pve-nfs",
)
def list_(
    console: Console,
    settings: Settings,
    folder: Annotated[Path, Argument(metavar="DIR", help="The directory of the configurations.")] = Path(),
    json: Json = False,
) -> None:
    """List pins, and whether the storage has their templates.

    Finds template ids, file names with a version, versions that are part of one, and queries of the data source in the
    configurations and pin files below DIR.
    """
    from lxcast.jobs.pin import list_pins

    storage = select(StorageOptions, settings)
    pins = list_pins(folder, storage, console.progress)
    if json:
        console.document({"pins": [asdict(each) | {"file": str(each.file)} for each in pins]})
    elif pins:
        rows = [("FILE", "ADDRESS", "VALUE", "TEMPLATE", "STATE")]
        for each in pins:
            place = f"{each.file}:{each.line}" if each.line else str(each.file)
            rows.append((place, each.address, each.value, each.template, each.state))
        console.out(columns(rows))
