"""`lxcast packer install`: the post-processor put where Packer looks for plugins."""

from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Json, Option, command, group
from lxcast.cli.console import Console

group("packer", "What Packer needs of lxcast.", example="lxcast packer install")


@command("packer install", example="lxcast packer install")
def packer_install(
    console: Console,
    packer: Annotated[str, Option("--packer", metavar="PROGRAM", help="The Packer that is to find it.")] = "packer",
    folder: Annotated[
        Path | None,
        Option("--dir", metavar="DIR", help="Only write it there, for `packer plugins install --path`."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the post-processor "lxcast" where Packer finds it, and print the file's path.

    `packer version` tells where that is. The file names this installation of lxcast: run the command again when that
    has moved or was updated.
    """
    from packer_post.install import install

    file = install(packer, folder)
    console.progress.say(f"written: {file}")
    if json:
        console.document({"file": str(file)})
    else:
        console.out(str(file))
