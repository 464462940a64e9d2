"""The command `destroy`."""

from dataclasses import asdict
from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console
from lxcast.settings import Settings, in_groups


@command("destroy", *in_groups("access"), example="lxcast destroy web --apply")
def destroy(
    console: Console,
    settings: Settings,
    name: Annotated[str, Argument(metavar="NAME", help="Name of a container that `lxcast create` made.")],
    backend: Annotated[str, Option("--backend", metavar="NAME", help="The backend, if several have the name.")] = "",
    apply: Annotated[bool, Option("--apply", help="Remove it. Default: only show what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove a container that lxcast created (--apply; else show it).

    Its record here and its notes on the node must agree.
    """
    from lxcast.jobs.destroy import destroy as run

    removal = run(name, settings, console.progress, backend=backend, apply=apply)
    record = removal.record
    what = f"container {record.id} ({name}) from {record.template_id} on {record.node or record.location}"
    if json:
        console.document({"record": asdict(record), "exists": removal.existing is not None, "removed": apply})
    elif removal.existing is None:
        console.progress.say(f"{what} is gone already" + ("" if apply else "; --apply removes its record"))
    else:
        console.progress.say(f"removed {what}" if apply else f"would remove {what}; --apply does it")
