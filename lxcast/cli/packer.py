"""The command `packer install`."""

from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Json, Option, command, group
from lxcast.cli.console import Console

group("packer", "Install the Packer plugin.", example="lxcast packer install")


@command("packer install", example="lxcast packer install")
def packer_install(
    console: Console,
    packer: Annotated[str, Option("--packer", metavar="PROGRAM", help="Packer program to use.")] = "packer",
    folder: Annotated[
        Path | None,
        Option("--dir", metavar="DIR", help="Write the plugin to DIR, for `packer plugins install --path`."),
    ] = None,
    json: Json = False,
) -> None:
    """Install the post-processor "lxcast" for Packer and print its path.

    The plugin refers to this installation of lxcast: run the command again after moving or updating lxcast.
    """
    from packer_post.install import install

    file = install(packer, folder)
    console.progress.say(f"written: {file}")
    if json:
        console.document({"file": str(file)})
    else:
        console.out(str(file))
