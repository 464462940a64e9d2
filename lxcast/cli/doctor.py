"""The command `doctor`."""

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console
from lxcast.cli.remote import remote_storage
from lxcast.settings import Settings, in_groups


@command(
    "doctor", *in_groups("storage", "access", "nodes", "delivery"), example="lxcast doctor --storage proxmox:pve1/local"
)
def doctor(console: Console, settings: Settings, json: Json = False) -> int:
    """Check everything that an upload needs.

    Nothing is uploaded. The exit code is 9 if an upload would fail.
    """
    from lxcast.errors import ApiError
    from lxcast.storages.open import open_storage

    found = open_storage(remote_storage(settings)).diagnose(console.progress)
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
