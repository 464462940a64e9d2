"""The command `verify`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command
from lxcast.cli.console import Console, columns
from lxcast.errors import EvidenceError
from lxcast.settings import Settings, StorageOptions, in_groups, select


@command(
    "verify",
    *in_groups("storage", "access"),
    without_option=in_groups("nodes", "delivery"),
    example="lxcast verify debian-12:v4 --allowed-signers allowed_signers --require signature\n"
    "lxcast verify debian-12-v4.tar.zst --policy policy.toml",
)
def verify(
    console: Console,
    settings: Settings,
    template: Annotated[str, Argument(metavar="TEMPLATE", help="Template id, NAME, NAME:vN or a path.")],
    policy: Annotated[Path | None, Option("--policy", metavar="FILE", help="Policy file (TOML).")] = None,
    require: Annotated[
        list[str] | None, Option("--require", metavar="WHAT", help="record, statement or signature; repeatable.")
    ] = None,
    allowed_signers: Annotated[
        Path | None, Option("--allowed-signers", metavar="FILE", help="Who may sign with ssh (see ssh-keygen(1)).")
    ] = None,
    keyring: Annotated[
        Path | None, Option("--keyring", metavar="FILE", help="Public gpg keys of those who may sign.")
    ] = None,
    key: Annotated[Path | None, Option("--key", metavar="PEM", help="Public key of the statement's signature.")] = None,
    builder: Annotated[
        list[str] | None, Option("--builder", metavar="ID", help="Expected builder id, or a pattern; repeatable.")
    ] = None,
    json: Json = False,
) -> int:
    """Verify digest, statement and signatures of a template.

    The exit code is 13 if a check fails. What the template lacks, or what nobody is named for to sign, fails only if it
    is required.
    """
    from lxcast.evidence.policy import Policy, require_known
    from lxcast.jobs.verify import FAILED
    from lxcast.jobs.verify import verify as verify_template

    rules = Policy.read(policy) if policy else Policy()
    require_known(require or [])
    rules = replace(
        rules,
        allowed_signers=allowed_signers or rules.allowed_signers,
        keyring=keyring or rules.keyring,
        key=key or rules.key,
        require=(*rules.require, *(require or ())),
        builders=(*rules.builders, *(builder or ())),
    )
    rows = verify_template(template, select(StorageOptions, settings), rules, console.progress)
    if json:
        console.document({"template": template, "rows": [asdict(row) for row in rows]})
    else:
        console.out(columns([(row.name, row.state, row.message) for row in rows]))
    return EvidenceError.exit_code if any(row.state == FAILED for row in rows) else 0
