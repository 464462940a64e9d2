"""The commands that list something: list, operations, settings."""

from dataclasses import asdict

from lxcast.cli.command import ACCESS, Json, command, over_settings
from lxcast.cli.console import Console, columns
from lxcast.model import conceal
from lxcast.progress import amount
from lxcast.settings import SETTINGS, Value, load, show


@command("list", "storage", *ACCESS, example="lxcast list --storage /var/lib/vz")
def list_(console: Console, said: dict[str, Value], json: Json = False) -> None:
    """List the templates of a storage.

    Of a Proxmox storage the records on this machine are shown; what was uploaded elsewhere has no record.
    """
    from lxcast.jobs.listing import look_into

    values = over_settings(said)
    storage = str(values["storage"])
    entries = look_into(storage, {name: values[name] for name in ACCESS}).entries
    for entry in entries:
        if entry.problem:
            console.progress.warn(entry.problem)
    if json:
        told = [asdict(entry.record or entry) for entry in entries]
        console.document({"storage": storage, "templates": told})
    elif entries:
        rows = [("NAME", "VERSION", "FORMAT", "SIZE", "CREATED", "TEMPLATE")]
        for each in entries:
            created = each.record.created if each.record else each.stored or "-"
            format = each.record.format if each.record else "-"
            rows.append((each.name, each.version or "-", format, amount(each.size), created, each.template_id))
        console.out(columns(rows))


@command("operations", example="lxcast operations --json")
def operations(console: Console, json: Json = False) -> None:
    """List the cleanup, fit and check rows.

    They are what `--enable`, `--disable` and `--allow` name.
    """
    from lxcast.cli.tables import operations_as_json, operations_as_text

    if json:
        console.document(operations_as_json())
    else:
        console.out(operations_as_text())


@command("settings", example="LXCAST_POLICY=golden lxcast settings")
def settings(console: Console, json: Json = False) -> None:
    """Show each setting and where it came from."""
    found = load()
    for name in found.ignored:
        console.progress.warn(f"the environment variable {name} is no setting's")
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
