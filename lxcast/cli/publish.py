"""The commands that speak to Proxmox: publish, doctor."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.settings import CheckOptions, Settings, StorageOptions, in_groups, select


@command(
    "publish",
    *in_groups("storage", "checks", "access", "nodes", "delivery"),
    example="lxcast publish debian-12-v4.tar.zst --storage proxmox:pve1/local",
)
def publish(
    console: Console,
    file: Annotated[Path, Argument(metavar="FILE", help="A template; its name is what the storage lists.")],
    settings: Settings,
    no_check: Annotated[
        bool, Option("--no-check", help="Send it without asking whether Proxmox would take it.")
    ] = False,
    json: Json = False,
) -> None:
    """Upload a built template to a Proxmox storage and print its id.

    Where no storage is named it is `proxmox:`, which PM_NODE and PM_STORAGE name. The token is in the environment or in
    the profile file. A name that is there with the same bytes is a success, with others a conflict: nothing is ever
    replaced.
    """
    from lxcast.jobs.publish import publish as put
    from lxcast.storages.open import open_storage

    storage = open_storage(_storage(settings))
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
        present = "is there already with these bytes" if rows[0][1] == "present" else "is published"
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


@command(
    "doctor", *in_groups("storage", "access", "nodes", "delivery"), example="lxcast doctor --storage proxmox:pve1/local"
)
def doctor(console: Console, settings: Settings, json: Json = False) -> int:
    """Look at everything that an upload needs, and send nothing.

    The exit code is 9 where something forbids an upload.
    """
    from lxcast.errors import ApiError
    from lxcast.storages.open import open_storage

    found = open_storage(_storage(settings)).diagnose(console.progress)
    if json:
        keys = ("subject", "state", "message", "hint")
        console.document(
            {
                "targets": [
                    {
                        "node": each.node,
                        "storage": each.storage,
                        "rows": [dict(zip(keys, row, strict=True)) for row in each.rows],
                    }
                    for each in found
                ]
            }
        )
    else:
        lines = []
        for each in found:
            lines.append(each.location)
            for subject, state, message, hint in each.rows:
                lines.append(f"  {state:7}  {subject:11}  {message}")
                lines += [f"{'':24}{line}" for line in hint.splitlines()]
        console.out("\n".join(lines))
    return ApiError.exit_code if any(each.failed for each in found) else 0


def _storage(settings: Settings) -> StorageOptions:
    """Return the options of the storage; `proxmox:` takes the place of a directory that no option names."""
    from lxcast.storages.open import is_remote

    options = select(StorageOptions, settings)
    if "storage" in settings.given or is_remote(options.storage):
        return options
    return replace(options, storage="proxmox:")
