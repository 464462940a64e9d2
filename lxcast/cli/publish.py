"""The command `publish`."""

from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.cli.remote import remote_storage
from lxcast.settings import CheckOptions, Settings, in_groups, select


@command(
    "publish",
    *in_groups("storage", "checks", "access", "nodes", "delivery"),
    example="lxcast publish debian-12-v4.tar.zst --storage proxmox:pve1/local\n"
    "lxcast publish debian-12-v4.tar.zst --storage proxmox:pve1/local --all-nodes",
)
def publish(
    console: Console,
    file: Annotated[Path, Argument(metavar="FILE", help="The template file. It keeps its name.")],
    settings: Settings,
    no_check: Annotated[
        bool, Option("--no-check", help="Upload it without checking whether Proxmox would accept it.")
    ] = False,
    json: Json = False,
) -> None:
    """Upload a template to a Proxmox storage and print its id.

    The default storage is `proxmox:`, which PM_NODE and PM_STORAGE specify. The token comes from the environment or the
    profile file. Nothing is ever replaced: an existing template of that name with the same content is a success, with
    other content a conflict.
    """
    from lxcast.jobs.publish import publish as put
    from lxcast.storages.open import open_storage

    storage = open_storage(remote_storage(settings))
    published = put(
        file,
        storage,
        select(CheckOptions, settings),
        console.progress,
        check=not no_check,
    )
    template = published.template_id or str(published.path)
    rows = [(each.node, each.state, str(each.error or "")) for each in published.outcomes]
    if len(rows) > 1:
        console.progress.say(columns([("NODE", "STATE", "WHY"), *rows]))
    else:
        present = "already exists with the same content" if rows[0][1] == "present" else "is published"
        console.progress.say(f"{template} {present}")
    if json:
        results = [
            {
                "node": each.node,
                "state": each.state,
                "verified": each.verified,
                **({"error": str(each.error)} if each.error else {}),
            }
            for each in published.outcomes
        ]
        names = {"template_id": published.template_id, "storage": storage.id, "file": published.file}
        facts = {**names, "size": published.size, "sha256": published.sha256}
        console.document({**facts, "nodes": results}, published.error)
    if published.error:
        raise published.error
    if not json:
        console.out(template)
