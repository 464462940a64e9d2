"""The command `sign`."""

from typing import Annotated

from lxcast.cli.command import Argument, command
from lxcast.cli.console import Console
from lxcast.errors import UsageError
from lxcast.settings import EvidenceOptions, Settings, StorageOptions, in_groups, select


@command(
    "sign",
    *in_groups("storage", "access"),
    "sign",
    without_option=("provenance", *in_groups("nodes", "delivery")),
    example="lxcast sign debian-12:v4 --sign ssh:~/.ssh/id_ed25519",
)
def sign(
    console: Console,
    settings: Settings,
    template: Annotated[str, Argument(metavar="TEMPLATE", help="Template id, NAME, NAME:vN or a path.")],
) -> None:
    """Sign a template in a storage.

    The signature is written next to the template, or to the ledger of a Proxmox storage, and travels with it. A
    passphrase comes from an agent or from LXCAST_SIGN_PASSPHRASE.
    """
    from lxcast.jobs.sign import open_signed
    from lxcast.jobs.sign import sign as sign_template

    signers = select(EvidenceOptions, settings).sign
    if not signers:
        raise UsageError("--sign is missing", hint="for example --sign ssh:~/.ssh/id_ed25519")
    storage, name = open_signed(template, select(StorageOptions, settings))
    for suffix in sign_template(name, storage, signers, console.progress):
        console.progress.say(f"added {suffix}")
