"""The command `operations`."""

from lxcast.cli.command import Json, command
from lxcast.cli.console import Console


@command("operations", example="lxcast operations --json")
def operations(console: Console, json: Json = False) -> None:
    """List the cleanup, fit and check rows.

    `--enable` and `--disable` take cleanup and fit rows, `--allow` takes checks.
    """
    from lxcast.cli.tables import operations_as_json, operations_as_text

    if json:
        console.document(operations_as_json())
    else:
        console.out(operations_as_text())
