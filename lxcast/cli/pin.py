"""The commands that read and move pins: pin, promote, rollback."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import ACCESS, Argument, Json, Option, command, group, over_settings
from lxcast.cli.console import Console, columns
from lxcast.settings import Value

if TYPE_CHECKING:
    from lxcast.jobs.pin import Moved

Name = Annotated[str, Argument(metavar="NAME", help="What the template is called.")]
File = Annotated[Path, Argument(metavar="FILE", help="An HCL file: .tf, .tfvars, .pkr.hcl, .pkrvars.hcl.")]
Address = Annotated[
    str, Argument(metavar="ADDRESS", help="Such as local.lxc_rootfs_version, variable.NAME.default or module.NAME.ARG.")
]
PinFile = Annotated[
    Path, Option("--file", metavar="FILE", help="The pin file: *.tfvars.json, *.pkrvars.json or *.tf.json.")
]
Version = Annotated[str, Option("--version", metavar="vN", help="Unsaid: the newest that the storage has.")]
DryRun = Annotated[bool, Option("--dry-run", help="Show the difference, but change nothing.")]
Check = Annotated[bool, Option("--check", help="Change nothing; exit with 1 where there is a difference.")]

DEFAULT_FILE = Path("templates.auto.tfvars.json")

group("pin", "Read and write pins, the values that name the template in use.", example="lxcast pin list .")


@command(
    "pin write",
    "storage",
    *ACCESS,
    example="lxcast pin write debian-12 --version v4 --storage pve-nfs=/mnt/pve/pve-nfs",
)
def write(
    console: Console,
    name: Name,
    said: dict[str, Value],
    version: Version = "",
    file: PinFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Set a template's entry in a pin file.

    The file is made where it is new. What the entry held becomes its `previous`; other entries and keys stay.
    """
    from lxcast.jobs.promote import write_pin

    storage, access = _place(said)
    moved = write_pin(name, version, storage, file, access, write=not (dry_run or check))
    return _tell(console, moved, check=check, written=not (dry_run or check), json=json)


@command("pin set", example="lxcast pin set main.tf module.web.template_version v4")
def set_(
    console: Console,
    file: File,
    address: Address,
    value: Annotated[str, Argument(metavar="VALUE", help="What the literal shall say, without quotes.")],
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Replace one literal in an HCL file.

    No other byte changes. A text stays a text, a number a number; what Terraform computes is refused.
    """
    from lxcast.jobs.pin import set_value

    moved = set_value(file, address, lambda _: value, write=not (dry_run or check))
    return _tell(console, moved, check=check, written=not (dry_run or check), json=json)


@command("pin get", example="lxcast pin get main.tf module.web.template_version")
def get(console: Console, file: File, address: Address, json: Json = False) -> None:
    """Print the literal at an address of an HCL file."""
    from lxcast.jobs.pin import get_value

    slot = get_value(file, address)
    if json:
        console.document({"file": str(file), "line": slot.line, "address": slot.address, "value": slot.value})
    else:
        console.out(slot.value)


@command("pin list", "storage", *ACCESS, example="lxcast pin list environments --storage pve-nfs=/mnt/pve/pve-nfs")
def list_(
    console: Console,
    said: dict[str, Value],
    folder: Annotated[Path, Argument(metavar="DIR", help="Where the configurations lie.")] = Path(),
    json: Json = False,
) -> None:
    """List pins, and whether the storage has the templates.

    They are found in the HCL and pin files below DIR: volids, file names with a version, versions that make up one of
    them, and queries of the data source.
    """
    from lxcast.jobs.pin import list_pins

    storage, access = _place(said)
    pins = list_pins(folder, storage, console.progress, access)
    if json:
        console.document({"pins": [asdict(each) | {"file": str(each.file)} for each in pins]})
    elif pins:
        rows = [("FILE", "ADDRESS", "VALUE", "TEMPLATE", "STATE")]
        for each in pins:
            place = f"{each.file}:{each.line}" if each.line else str(each.file)
            rows.append((place, each.address, each.value, each.template, each.state))
        console.out(columns(rows))


@command(
    "promote",
    "storage",
    *ACCESS,
    example="lxcast promote debian-12 --version v4 --to env/prod/main.tf:local.lxc_rootfs_version",
)
def promote(
    console: Console,
    name: Name,
    said: dict[str, Value],
    version: Version = "",
    to: Annotated[
        str, Option("--to", metavar="FILE[:ADDRESS]", help="A value in an HCL file, or a pin file.")
    ] = DEFAULT_FILE.name,
    field: Annotated[
        str, Option("--field", metavar="FIELD", help="What belongs there, such as sha256. Unsaid: what stands there.")
    ] = "",
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Move a pin to a version that the storage has.

    In an HCL file the new value is of the kind that stands there: a version, a volid, a file name or a digest. The
    change is a local edit, for people to commit.
    """
    from lxcast.jobs.promote import promote as move

    storage, access = _place(said)
    moved = move(name, version, to, storage, console.progress, field, access, write=not (dry_run or check))
    return _tell(console, moved, check=check, written=not (dry_run or check), json=json)


@command("rollback", "storage", *ACCESS, example="lxcast rollback debian-12 --storage pve-nfs=/mnt/pve/pve-nfs")
def rollback(
    console: Console,
    name: Name,
    said: dict[str, Value],
    file: PinFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Set a pin file's entry to its previous value.

    The storage must still have it, with the same sha256. A second rollback takes the first one back.
    """
    from lxcast.jobs.promote import rollback as move

    storage, access = _place(said)
    moved = move(name, file, storage, access, write=not (dry_run or check))
    return _tell(console, moved, check=check, written=not (dry_run or check), json=json)


def _place(said: dict[str, Value]) -> tuple[str, dict[str, Value]]:
    """Return the storage, and how it is reached where it is one of Proxmox."""
    values = over_settings(said)
    return str(values["storage"]), {name: values[name] for name in ACCESS}


def _tell(console: Console, moved: "Moved", *, check: bool, written: bool, json: bool) -> int:
    """Print the difference; return the exit code."""
    change = moved.change
    if json:
        told = {"file": str(change.path), "address": moved.address, "old": moved.old, "new": moved.new}
        console.document({**told, "changed": change.changed, "written": written and change.changed})
    elif change.changed:
        console.out(change.diff())
    where = f"{change.path}: {moved.address}"
    if not change.changed:
        console.progress.say(f"{where} is {moved.new} already")
    elif written:
        console.progress.say(f"{where}: {moved.old or 'nothing'} -> {moved.new}")
    else:
        console.progress.say(f"{where} would change: {moved.old or 'nothing'} -> {moved.new}")
    return 1 if check and change.changed else 0
