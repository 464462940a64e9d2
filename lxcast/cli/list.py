"""The command `list`."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from lxcast.cli.command import Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.progress import age, amount
from lxcast.settings import Settings, StorageOptions, in_groups, select

if TYPE_CHECKING:
    from lxcast.storages.storage import StoredTemplate


@command(
    "list",
    *in_groups("storage", "access", "nodes"),
    example="lxcast list --storage /var/lib/vz\nlxcast list --storage proxmox:pve1/local --all-nodes",
)
def list_(
    console: Console,
    settings: Settings,
    containers: Annotated[
        bool, Option("--containers", help="List the containers that `lxcast create` made from this machine.")
    ] = False,
    json: Json = False,
) -> None:
    """List the templates of a storage.

    For a Proxmox storage, the digests come from the records on this machine; those of templates that were uploaded from
    elsewhere are unknown. The containers made from a template come from the task logs of the nodes.
    """
    if containers:
        _list_containers(console, settings, json)
        return
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


def _list_containers(console: Console, settings: Settings, as_json: bool) -> None:
    from lxcast.jobs.container_list import list_containers

    listed = list_containers(settings, console.progress)
    if as_json:
        facts = [asdict(each.record) | {"running": each.state, "newest": each.newest} for each in listed]
        console.document({"containers": facts})
        return
    rows = [
        (
            record.name,
            record.backend,
            record.node or record.location,
            record.id,
            each.state,
            record.template_id,
            each.newest,
        )
        for each, record in ((each, each.record) for each in listed)
    ]
    if rows:
        console.out(columns([("NAME", "BACKEND", "HOST", "ID", "STATE", "TEMPLATE", "NEWER"), *rows]))


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
