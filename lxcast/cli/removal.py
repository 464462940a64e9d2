"""What `prune` and `remove` share: their options, what they read, and how a plan is carried out."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import Option
from lxcast.cli.console import Console, columns
from lxcast.progress import age, amount
from lxcast.settings import Settings, StorageOptions, select

if TYPE_CHECKING:
    from lxcast.jobs.prune import Decision, Pins
    from lxcast.storages.storage import Listing, Storage

PinPaths = Annotated[
    list[Path] | None,
    Option(
        "--pins",
        metavar="PATH",
        help="Pin file, HCL file, or directory of both: templates that are pinned there are kept. Repeatable. The pin "
        "file of the settings is always read.",
    ),
]
Apply = Annotated[bool, Option("--apply", help="Remove the templates (default: show the plan only).")]


def list_and_pins(console: Console, settings: Settings, paths: list[Path] | None) -> "tuple[Storage, Listing, Pins]":
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


def carry_out_plan(
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
        console.out(_make_table(decisions))
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


def _make_table(decisions: "list[Decision]") -> str:
    several = len({each.template.node for each in decisions}) > 1
    rows = [("ACTION", *(["NODE"] if several else []), "TEMPLATE", "SIZE", "AGE", "WHY")]
    for each in decisions:
        node = [each.template.node] if several else []
        when = age(time.time() - each.template.ctime)
        why = "; ".join((*each.reasons, *([str(each.error)] if each.error else [])))
        rows.append((each.action, *node, each.template.template_id, amount(each.template.size), when, why))
    return columns(rows)
