"""The command `operations`."""

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console


@command("operations", example="lxcast operations --json")
def operations(console: Console, json: Json = False) -> None:
    """List the cleanup, fit, check and package rows.

    `lxcast build` takes cleanup and fit rows for `--enable` and `--disable`, and checks for `--allow`.
    `lxcast packages` takes package rows for `--disable`.
    """
    from lxcast.cli.tables import operations_as_json, operations_as_text

    if json:
        console.document(operations_as_json())
    else:
        console.out(operations_as_text())
