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
    from lxcast.storages.storage import StoredTemplate


@command("list", *in_groups("storage", "access", "nodes"), example="lxcast list --storage /var/lib/vz")
def list_(console: Console, settings: Settings, json: Json = False) -> None:
    """List the templates of a storage.

    Of a Proxmox storage the records on this machine tell the digests: those of what was uploaded elsewhere are unknown.
    The containers that were made from a template are what the logs of its nodes still tell.
    """
    from lxcast.storages.open import open_storage

    options = select(StorageOptions, settings)
    listing = open_storage(options).templates(usage=True)
    error = listing.error()
    for warning in (*listing.warnings, *(each.problem for each in listing.templates if each.problem)):
        console.progress.warn(warning)
    if json:
        console.document({"storage": options.storage, "templates": [_facts(each) for each in listing.templates]}, error)
    elif listing.templates:
        rows: list[tuple[str, ...]] = [
            ("NODE", "NAME", "VERSION", "FORMAT", "SIZE", "AGE", "SHA256", "TEMPLATE", "USED BY")
        ]
        rows += [_row(each) for each in listing.templates]
        # Columns that only some storages fill.
        several = len(listing.nodes) > 1
        knows_usage = any(each.containers is not None for each in listing.templates)
        shown = slice(0 if several else 1, None if knows_usage else -1)
        console.out(columns([row[shown] for row in rows]))
    if error:
        raise error


def _facts(template: "StoredTemplate") -> dict[str, Any]:
    """Return what is known of a template: its record, else what its file name tells."""
    plain = {key: getattr(template, key) for key in ("file", "template_id", "name", "version", "size", "problem")}
    used = [asdict(use) for use in template.containers or ()]
    own = {"ctime": template.ctime, "node": template.node, "used_by": used or None}
    return (asdict(template.record) if template.record else plain) | own


def _row(template: "StoredTemplate") -> tuple[str, ...]:
    return (
        template.node,
        f"{template.name}/{template.variant}" if template.variant else template.name,
        template.version or "-",
        template.record.format if template.record else "-",
        amount(template.size),
        age(time.time() - template.ctime),
        template.record.sha256[:12] if template.record else "unknown",
        template.template_id,
        ", ".join(str(each.vmid) for each in template.containers or ()) or "unknown",
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
