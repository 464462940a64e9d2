"""The command `prune`."""

from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console
from lxcast.cli.removal import Apply, PinPaths, carry_out_plan, list_and_pins
from lxcast.settings import Settings, in_groups


@command(
    "prune",
    *in_groups("storage", "access", "nodes"),
    without_option=("pin_file",),
    example="lxcast prune --keep 3 --storage /var/lib/vz\n"
    "lxcast prune --keep 3 --older-than 90d --pins environments --storage proxmox:pve1/local --apply",
)
def prune(
    console: Console,
    settings: Settings,
    names: Annotated[list[str] | None, Argument(metavar="NAME...", help="Names to prune (default: all).")] = None,
    keep: Annotated[int | None, Option("--keep", metavar="N", help="Keep the N newest versions of each name.")] = None,
    older_than: Annotated[
        str, Option("--older-than", metavar="AGE", help="Keep templates that are younger, such as 90d, 12w or 36h.")
    ] = "",
    pins: PinPaths = None,
    apply: Apply = False,
    json: Json = False,
) -> None:
    """Remove old templates (--apply; else show the plan).

    With both --keep and --older-than, a template is removed only if both allow it. Always kept: the newest version of
    each name, templates without a version, pinned templates and, on a Proxmox storage, templates from which a container
    was made according to the task logs of the nodes.
    """
    from lxcast.jobs.prune import parse_age, plan

    seconds = parse_age(older_than) if older_than else None
    storage, listing, known = list_and_pins(console, settings, pins)
    decisions = plan(listing, known, names=names or (), keep=keep, older_than=seconds)
    carry_out_plan(console, settings, storage, listing, decisions, apply=apply, json=json)
