"""What the commands that read and move references share: their options, and how a move is shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import Argument, Option
from lxcast.cli.console import Console

if TYPE_CHECKING:
    from lxcast.references.reference import Move

Name = Annotated[str, Argument(metavar="NAME", help="The template's name.")]
PinFile = Annotated[
    Path, Option("--file", metavar="FILE", help="The pin file: *.tfvars.json, *.pkrvars.json or *.tf.json.")
]
Version = Annotated[str, Option("--version", metavar="vN", help="Default: the newest version in the storage.")]
Variant = Annotated[
    str | None, Option("--variant", metavar="VARIANT", help="One of several variants; '' for the one without.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show the change without making it.")]
Check = Annotated[bool, Option("--check", help="Show the change without making it; exit with 1 if there is one.")]

DEFAULT_FILE = Path("templates.auto.tfvars.json")


def show_move(console: Console, move: "Move", *, check: bool, written: bool, json: bool) -> int:
    """Print what a move changes; return the exit code."""
    change = move.change
    if json:
        facts = {"file": str(change.path), "address": move.address, "old": move.old, "new": move.new}
        console.document({**facts, "changed": change.changed, "written": written and change.changed})
    elif change.changed:
        console.out(change.diff())
    where = f"{change.path}: {move.address}"
    if not change.changed:
        console.progress.say(f"{where} is already {move.new}")
    elif written:
        console.progress.say(f"{where}: {move.old or 'nothing'} -> {move.new}")
    else:
        console.progress.say(f"{where} would change: {move.old or 'nothing'} -> {move.new}")
    return 1 if check and change.changed else 0
