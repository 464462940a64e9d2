"""The command `remove`."""

from typing import Annotated

from lxcast.cli.command import Argument, Json, command
from lxcast.cli.console import Console
from lxcast.cli.removal import Apply, PinPaths, carry_out_plan, list_and_pins
from lxcast.settings import Settings, in_groups


@command(
    "remove",
    *in_groups("storage", "access", "nodes"),
    without_option=("pin_file",),
    example="lxcast remove local:vztmpl/debian-12-v1.tar.zst --storage proxmox:pve1/local --apply",
)
def remove(
    console: Console,
    settings: Settings,
    templates: Annotated[list[str], Argument(metavar="TEMPLATE", help="Template ids or file names.")],
    pins: PinPaths = None,
    apply: Apply = False,
    json: Json = False,
) -> None:
    """Remove templates by id (--apply; else show the plan).

    Refuses pinned templates. Existing containers do not need their template. The records are kept, so that no other
    content can get a published name.
    """
    from lxcast.jobs.prune import plan_removal

    storage, listing, known = list_and_pins(console, settings, pins)
    decisions = plan_removal(listing, known, templates)
    carry_out_plan(console, settings, storage, listing, decisions, apply=apply, json=json)
