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
    from lxcast.storages.targets import find_targets

    targets = find_targets(_storage(settings))
    published = put(
        file,
        targets,
        select(CheckOptions, settings),
        console.progress,
        check=not no_check,
    )
    rows = [(each.node, each.state, str(each.error or "")) for each in published.outcomes]
    if len(rows) > 1:
        console.progress.say(columns([("NODE", "STATE", "WHY"), *rows]))
    else:
        present = "is there already with these bytes" if rows[0][1] == "present" else "is published"
        console.progress.say(f"{published.volid} {present}")
    if json:
        results = [
            {
                "node": each.node,
                "state": each.state,
                "verified": bool(each.put and each.put.verified),
                **({"error": str(each.error)} if each.error else {}),
            }
            for each in published.outcomes
        ]
        told = {"template_id": published.volid, "storage": targets.storage, "file": published.file.name}
        sizes = {"size": published.file.size, "sha256": published.file.sha256}
        console.document({**told, **sizes, "nodes": results}, published.error)
    if published.error:
        raise published.error
    if not json:
        console.out(published.volid)


@command(
    "doctor", *in_groups("storage", "access", "nodes", "delivery"), example="lxcast doctor --storage proxmox:pve1/local"
)
def doctor(console: Console, settings: Settings, json: Json = False) -> int:
    """Look at everything that an upload needs, and send nothing.

    The exit code is 9 where something forbids an upload.
    """
    from lxcast.errors import ApiError
    from lxcast.storages.targets import diagnose, find_targets

    targets = find_targets(_storage(settings))
    found = diagnose(targets, console.progress)
    if json:
        keys = ("subject", "state", "message", "hint")
        console.document(
            {
                "targets": [
                    {
                        "node": each.ref.node,
                        "storage": each.ref.storage,
                        "rows": [{key: getattr(row, key) for key in keys} for row in each.rows],
                    }
                    for each in found
                ]
            }
        )
    else:
        lines = []
        for each in found:
            lines.append(str(each.ref))
            for row in each.rows:
                lines.append(f"  {row.state:7}  {row.subject:11}  {row.message}")
                lines += [f"{'':24}{line}" for line in row.hint.splitlines()]
        console.out("\n".join(lines))
    return ApiError.exit_code if any(each.errors for each in found) else 0


def _storage(settings: Settings) -> StorageOptions:
    """Return the options of the storage; `proxmox:` takes the place of a directory that no option names."""
    options = select(StorageOptions, settings)
    if "storage" in settings.given or options.storage.startswith("proxmox:"):
        return options
    return replace(options, storage="proxmox:")
