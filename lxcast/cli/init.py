"""The commands `init packer` and `init make`."""

from pathlib import Path
from typing import Annotated

from lxcast.cli.command import Argument, Json, Option, command, group
from lxcast.cli.console import Console

group("init", "Create starter files in your repository.", example="lxcast init packer images")

Folder = Annotated[Path, Argument(metavar="DIR", help="Directory for the files; created if it does not exist.")]


def _complete(incomplete: str) -> list[str]:
    from lxcast.jobs.starter import images

    return [each for each in images() if each.startswith(incomplete)]


@command("init packer", example="lxcast init packer images --image debian-12")
def packer(
    console: Console,
    folder: Folder,
    image: Annotated[
        str,
        Option(
            "--image",
            metavar="IMAGE",
            help="debian-12, debian-13, ubuntu-24.04, alpine or rocky-9.",
            autocompletion=_complete,
        ),
    ] = "debian-12",
    json: Json = False,
) -> None:
    """Write the files of a golden image for Packer to DIR/IMAGE.

    Existing files are never replaced: if one has other content, nothing is written and the exit code is 7. Standard
    output lists the new files.
    """
    from lxcast.jobs.starter import write_packer

    _tell(console, write_packer(folder, image), folder / image, json)
    console.progress.say(
        f"read {folder / image / 'README.md'}, then: lxcast packer install && packer build {folder / image}"
    )


@command("init make", example="lxcast init make .")
def make(console: Console, folder: Folder, json: Json = False) -> None:
    """Write lxcast.mk, make targets that build, check and list images, to DIR.

    An existing file is never replaced: if it has other content, nothing is written and the exit code is 7. Standard
    output has the file if it is new.
    """
    from lxcast.jobs.starter import MAKEFILE, write_make

    _tell(console, write_make(folder), folder / MAKEFILE, json)
    console.progress.say(
        f"add `include {folder / MAKEFILE}` to your Makefile. IMAGES is the directory of the images (default: images)"
    )


def _tell(console: Console, new: list[Path], what: Path, json: bool) -> None:
    if not new:
        console.progress.say(f"{what} already exists with the same content")
    if json:
        console.document({"files": [str(path) for path in new]})
    else:
        for path in new:
            console.out(str(path))
