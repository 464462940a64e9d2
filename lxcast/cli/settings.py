"""The command `settings`."""

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console, columns
from lxcast.model import conceal
from lxcast.settings import SETTINGS, load, show


@command("settings", example="LXCAST_POLICY=golden lxcast settings")
def settings(console: Console, json: Json = False) -> None:
    """Show each setting and where it came from."""
    found = load()
    for name in found.unknown_variables:
        console.progress.warn(f"the environment variable {name} is not a setting")
    if json:
        rows = [
            {
                "name": row.name,
                "value": conceal(found.text(row.name)) if row.kind == "url" else found.values[row.name],
                "origin": found.origins[row.name],
                "env": row.env,
            }
            for row in SETTINGS
        ]
        console.document({"settings": rows})
    else:
        console.out(columns([(row.name, show(found.values[row.name]), found.origins[row.name]) for row in SETTINGS]))
