"""The commands that list something: list, operations, settings."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console, columns
from lxcast.model import conceal
from lxcast.progress import age, amount
from lxcast.settings import SETTINGS, Settings, StorageOptions, in_groups, load, select, show

if TYPE_CHECKING:
    from lxcast.proxmox.usage import Uses
    from lxcast.storages.entry import Entry


@command("list", *in_groups("storage", "access", "nodes"), example="lxcast list --storage /var/lib/vz")
def list_(console: Console, settings: Settings, json: Json = False) -> None:
    """List the templates of a storage.

    Of a Proxmox storage the records on this machine tell the digests: those of what was uploaded elsewhere are unknown.
    The containers that were made from a template are what the logs of its nodes still tell.
    """
    from lxcast.jobs.listing import failure, look_everywhere

    options = select(StorageOptions, settings)
    found = look_everywhere(options, console.progress.warn)
    error = failure(found)
    listed = [(each, entry) for each in found for entry in each.entries]
    for _, entry in listed:
        if entry.problem:
            console.progress.warn(entry.problem)
    if json:
        told = []
        for each, entry in listed:
            used = (each.uses or {}).get(entry.file, ())
            told.append(_facts(entry) | {"node": each.node, "used_by": [asdict(use) for use in used] or None})
        console.document({"storage": options.storage, "templates": told}, error)
    elif listed:
        rows: list[tuple[str, ...]] = [
            ("NODE", "NAME", "VERSION", "FORMAT", "SIZE", "AGE", "SHA256", "TEMPLATE", "USED BY")
        ]
        rows += [(each.node, *_row(entry, each.uses)) for each, entry in listed]
        # Of one node, or of a folder, that column says nothing; and a folder knows nothing of containers.
        cut = slice(0 if len(found) > 1 else 1, None if found[0].by_api else -1)
        console.out(columns([row[cut] for row in rows]))
    if error:
        raise error


def _facts(entry: "Entry") -> dict[str, Any]:
    """Return what is known of a template: its record, else what its file tells."""
    plain = {key: getattr(entry, key) for key in ("file", "template_id", "name", "version", "size", "problem")}
    return (asdict(entry.record) if entry.record else plain) | {"ctime": entry.ctime}


def _row(entry: "Entry", uses: "Uses | None") -> tuple[str, ...]:
    used = (uses or {}).get(entry.file)
    return (
        f"{entry.name}/{entry.variant}" if entry.variant else entry.name,
        entry.version or "-",
        entry.record.format if entry.record else "-",
        amount(entry.size),
        age(time.time() - entry.ctime),
        entry.record.sha256[:12] if entry.record else "unknown",
        entry.template_id,
        ", ".join(str(each.vmid) for each in used) if used else "unknown",
    )


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
    for name in found.unknown_variables:
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
