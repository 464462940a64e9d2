"""The commands that remove templates: prune, remove."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.progress import age, amount
from lxcast.settings import Settings, StorageOptions, in_groups, select

if TYPE_CHECKING:
    from lxcast.jobs.listing import Contents
    from lxcast.jobs.prune import Pins, Verdict

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
    storage, places, known = _look(console, settings, pins)
    verdicts = plan(places, known, names=names or (), keep=keep, older_than=seconds)
    _carry_out(console, storage, places, verdicts, apply=apply, json=json)


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

    storage, places, known = _look(console, settings, pins)
    _carry_out(console, storage, places, plan_removal(places, known, templates), apply=apply, json=json)


def _look(console: Console, settings: Settings, paths: list[Path] | None) -> "tuple[str, list[Contents], Pins]":
    """Return the storage, what it holds, node by node, and what the pins name."""
    from lxcast.jobs.listing import look_everywhere
    from lxcast.jobs.prune import Pins

    own = settings.text("pin_file")  # that builds keep
    files = [*(paths or ()), *([Path(own)] if own and Path(own).exists() else [])]
    pins = Pins.read(files)
    if files and not pins.named:
        console.progress.warn(f"no pin in {', '.join(map(str, files))}: it keeps nothing")
    options = select(StorageOptions, settings)
    return options.storage, look_everywhere(options, console.progress.warn), pins


def _carry_out(
    console: Console, storage: str, places: "list[Contents]", verdicts: "list[Verdict]", *, apply: bool, json: bool
) -> None:
    """Show the plan, carried out where `apply` says so; then raise one error of all that failed."""
    from lxcast.jobs.listing import failure
    from lxcast.jobs.prune import apply as carry_out

    if apply:
        verdicts = carry_out(verdicts, console.progress)
    going = [each for each in verdicts if each.removed and not each.error]
    what = f"{len(going)} of {len(verdicts)} templates, {amount(sum(each.entry.size for each in going))}"
    # The first of each node; the table has all.
    error = failure(places, {each.place.node: each.error for each in reversed(verdicts) if each.error})
    if verdicts and not json:
        console.out(_table(verdicts))
    console.progress.say(f"removed {what}" if apply else f"would remove {what}; --apply removes them")
    if json:
        told = [
            {
                "node": each.place.node,
                **{key: getattr(each.entry, key) for key in ("template_id", "file", "size", "ctime")},
                "action": each.action,
                "reasons": list(each.reasons),
                **({"error": str(each.error)} if each.error else {}),
            }
            for each in verdicts
        ]
        console.document({"storage": storage, "applied": apply, "templates": told}, error)
    if error:
        raise error


def _table(verdicts: "list[Verdict]") -> str:
    several = len({each.place.node for each in verdicts}) > 1
    rows = [("ACTION", *(["NODE"] if several else []), "TEMPLATE", "SIZE", "AGE", "WHY")]
    for each in verdicts:
        node = [each.place.node] if several else []
        when = age(time.time() - each.entry.ctime)
        why = "; ".join((*each.reasons, *([str(each.error)] if each.error else [])))
        rows.append((each.action, *node, each.entry.template_id, amount(each.entry.size), when, why))
    return columns(rows)
