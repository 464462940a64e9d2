"""The commands that remove templates: prune, remove."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.progress import age, amount
from lxcast.settings import Settings, StorageOptions, in_groups, select

if TYPE_CHECKING:
    from lxcast.jobs.prune import Decision, Pins
    from lxcast.storages.storage import Listing, Storage

PinPaths = Annotated[
    list[Path] | None,
    Option(
        "--pins",
        metavar="PATH",
        help="A pin file, an HCL file, or a folder of both: what is pinned there stays; again for more. The "
        "settings' pin file always counts.",
    ),
]
Apply = Annotated[bool, Option("--apply", help="Remove them; unsaid, only the plan is shown.")]


@command(
    "prune",
    *in_groups("storage", "access", "nodes"),
    without_option=("pin_file",),
    example="lxcast prune --keep 3 --older-than 90d --pins environments --storage proxmox:pve1/local",
)
def prune(
    console: Console,
    settings: Settings,
    names: Annotated[list[str] | None, Argument(metavar="NAME", help="Only these; unsaid, every name.")] = None,
    keep: Annotated[int | None, Option("--keep", metavar="N", help="The N newest of each name stay.")] = None,
    older_than: Annotated[
        str, Option("--older-than", metavar="AGE", help="What is younger stays: 90d, 12w, 36h.")
    ] = "",
    pins: PinPaths = None,
    apply: Apply = False,
    json: Json = False,
) -> None:
    """Tell which templates are needed no longer.

    With --apply they are removed.

    With both --keep and --older-than a template goes where both let it. What pins name stays, and on a Proxmox storage
    what the nodes' logs show a container to be made from; the newest one of a name and what has no version always do.
    """
    from lxcast.jobs.prune import parse_age, plan

    seconds = parse_age(older_than) if older_than else None
    storage, listing, known = _list(console, settings, pins)
    decisions = plan(listing, known, names=names or (), keep=keep, older_than=seconds)
    _carry_out(console, settings, storage, listing, decisions, apply=apply, json=json)


@command(
    "remove",
    *in_groups("storage", "access", "nodes"),
    without_option=("pin_file",),
    example="lxcast remove local:vztmpl/debian-12-v1.tar.zst --storage proxmox:pve1/local --apply",
)
def remove(
    console: Console,
    settings: Settings,
    templates: Annotated[list[str], Argument(metavar="TEMPLATE", help="Ids or file names.")],
    pins: PinPaths = None,
    apply: Apply = False,
    json: Json = False,
) -> None:
    """Tell whether single templates may be removed.

    With --apply they are.

    What pins name is refused. Containers that were made from a template do not need it. The records stay: a name that
    was published is not given to other bytes.
    """
    from lxcast.jobs.prune import plan_removal

    storage, listing, known = _list(console, settings, pins)
    decisions = plan_removal(listing, known, templates)
    _carry_out(console, settings, storage, listing, decisions, apply=apply, json=json)


def _list(console: Console, settings: Settings, paths: list[Path] | None) -> "tuple[Storage, Listing, Pins]":
    """Return the storage, what each node lists, and what the pins name."""
    from lxcast.jobs.prune import Pins
    from lxcast.storages.open import open_storage

    own = settings.text("pin_file")  # that builds keep
    files = [*(paths or ()), *([Path(own)] if own and Path(own).exists() else [])]
    pins = Pins.read(files)
    if files and not pins.found:
        console.progress.warn(f"no pin found in {', '.join(map(str, files))}")
    storage = open_storage(select(StorageOptions, settings))
    listing = storage.templates(usage=True)
    for warning in listing.warnings:
        console.progress.warn(warning)
    return storage, listing, pins


def _carry_out(
    console: Console,
    settings: Settings,
    storage: "Storage",
    listing: "Listing",
    decisions: "list[Decision]",
    *,
    apply: bool,
    json: bool,
) -> None:
    """Show the plan, carried out with `apply`; then raise one error for all failures."""
    from lxcast.jobs.prune import apply as carry_out

    if apply:
        decisions = carry_out(decisions, storage, console.progress)
    removed = [each for each in decisions if each.removes and not each.error]
    what = f"{len(removed)} of {len(decisions)} templates, {amount(sum(each.template.size for each in removed))}"
    # The first of each node; the table has all.
    error = listing.error({each.template.node: each.error for each in reversed(decisions) if each.error})
    if decisions and not json:
        console.out(_table(decisions))
    console.progress.say(f"removed {what}" if apply else f"would remove {what}; --apply removes them")
    if json:
        document = [
            {
                **{key: getattr(each.template, key) for key in ("node", "template_id", "file", "size", "ctime")},
                "action": each.action,
                "reasons": list(each.reasons),
                **({"error": str(each.error)} if each.error else {}),
            }
            for each in decisions
        ]
        console.document({"storage": settings.text("storage"), "applied": apply, "templates": document}, error)
    if error:
        raise error


def _table(decisions: "list[Decision]") -> str:
    several = len({each.template.node for each in decisions}) > 1
    rows = [("ACTION", *(["NODE"] if several else []), "TEMPLATE", "SIZE", "AGE", "WHY")]
    for each in decisions:
        node = [each.template.node] if several else []
        when = age(time.time() - each.template.ctime)
        why = "; ".join((*each.reasons, *([str(each.error)] if each.error else [])))
        rows.append((each.action, *node, each.template.template_id, amount(each.template.size), when, why))
    return columns(rows)
