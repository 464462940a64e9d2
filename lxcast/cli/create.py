"""The command `create`."""

import json as json_module
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.containers.options import BY_NAME
from lxcast.errors import UsageError
from lxcast.settings import SETTINGS, Settings, Value, in_groups

if TYPE_CHECKING:
    from lxcast.jobs.create import Created

_SHOWN = in_groups("storage", "access", "nodes")


@command(
    "create",
    *_SHOWN,
    without_option=tuple(row.name for row in SETTINGS if row.name not in _SHOWN),
    rows=BY_NAME,
    example="lxcast create debian-12:v4 --name web --storage proxmox:pve1/local --rootfs local-lvm:8",
)
def create(
    console: Console,
    settings: Settings,
    values: dict[str, Value],
    name: Annotated[str, Option("--name", metavar="NAME", help="Name of the container.")],
    what: Annotated[
        str,
        Argument(
            metavar="[WHAT]",
            help="Template id, NAME or NAME:vN of a template, pin:FILE#NAME, or any source of `lxcast build`, which is "
            "built and published first unless it has a template.",
        ),
    ] = "",
    image: Annotated[str, Option("--image", metavar="WHAT", help="The same as WHAT.")] = "",
    backend: Annotated[
        str, Option("--backend", metavar="NAME", help="proxmox, pct, lxc, runc or crun. Default: what is possible.")
    ] = "",
    container_profile: Annotated[
        str, Option("--container-profile", metavar="NAME", help="Table [containers.NAME] of the settings file.")
    ] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Show the plan and its checks, and create nothing.")] = False,
    explain: Annotated[bool, Option("--explain", help="Show where the value of each option comes from.")] = False,
    keep: Annotated[bool, Option("--keep", help="Leave a container that failed, for inspection.")] = False,
    timeout: Annotated[
        float, Option("--timeout", metavar="SECONDS", help="How long to wait for an address and the port.")
    ] = 60.0,
    port: Annotated[int, Option("--port", metavar="PORT", min=0, max=65535, help="TCP port that must answer.")] = 0,
    json: Json = False,
) -> None:
    """Create a container from a template and verify that it runs.

    Standard output holds the container's id. A container of this name from the same template is a success; from another
    template it is a conflict. After a failure nothing is left, except with --keep.
    """
    from lxcast.jobs.create import CreateOptions, refuse
    from lxcast.jobs.create import create as run

    if bool(what) == bool(image):
        raise UsageError("name WHAT to create the container from, once", hint="`lxcast create --help` lists the kinds")
    options = CreateOptions(
        name=name,
        backend=backend,
        profile=container_profile,
        values=values,
        keep=keep,
        timeout=timeout,
        port=port,
        dry_run=dry_run,
    )
    created = run(what or image, options, settings, console.progress)
    if explain:
        rows = [(each.option, each.value, each.origin) for each in created.explained]
        console.progress.say(columns([("OPTION", "VALUE", "FROM"), *rows]))
    if dry_run:
        console.out(_plan_as_json(created) if json else _plan_as_text(created))
        if created.plan:
            refuse(created.plan, created.record.backend)
        return
    if created.unchanged:
        console.progress.say(f"{name} exists already (container {created.record.id}) from {created.record.template_id}")
    else:
        addresses = ", ".join(created.record.addresses)
        console.progress.say(f"{name} runs as container {created.record.id}{f' at {addresses}' if addresses else ''}")
    console.out(created.record.to_json().rstrip() if json else created.record.id)


def _plan_as_text(created: "Created") -> str:
    plan = created.plan
    assert plan is not None
    lines = [f"backend: {created.record.backend} ({created.reason})", *(f"  {each}" for each in plan.steps)]
    if plan.privileges:
        lines += ["privileges:", columns([(f"  {path}", name) for path, name in plan.privileges])]
    if plan.root_only:
        lines += ["only root@pam can set:", columns([(f"  {what}", command) for what, command in plan.root_only])]
    lines += ["checks:", columns([(f"  {each.state}", each.subject, each.message) for each in plan.findings])]
    return "\n".join(lines)


def _plan_as_json(created: "Created") -> str:
    assert created.plan is not None
    document = {"record": asdict(created.record), "backend": created.reason} | asdict(created.plan)
    return json_module.dumps(document | {"options": [asdict(each) for each in created.explained]}, indent=2)
