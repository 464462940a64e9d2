"""Writes files to start from into a user's repository: a golden image for Packer, and targets for make.

They are package data in lxcast/starters, which has links to hcl/packer and examples/make in the source tree.
"""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from lxcast.durable import Temporary, explained, link_new
from lxcast.errors import ConflictError, UsageError

MAKEFILE = "lxcast.mk"


def images() -> list[str]:
    """Return the names of the golden images."""
    return sorted(each.name for each in _starters("packer").iterdir() if each.is_dir())


def write_packer(folder: Path, image: str) -> list[Path]:
    """Write a golden image into `folder`/`image` and return the files that are new.

    Raises UsageError where there is no such image, ConflictError as `write` does.
    """
    known = images()
    if image not in known:
        raise UsageError(f"--image {image}: there is no such golden image", hint=f"there are {', '.join(known)}")
    # The output of a build next to the files, such as output/, is in directories.
    found = {each.name: each for each in _starters("packer").joinpath(image).iterdir() if each.is_file()}
    return write(folder / image, found)


def write_make(folder: Path) -> list[Path]:
    """Write the make targets into `folder` and return the file if it is new. Raises ConflictError as `write` does."""
    return write(folder, {MAKEFILE: _starters("make").joinpath(MAKEFILE)})


def write(folder: Path, sources: Mapping[str, Traversable]) -> list[Path]:
    """Write files by name into `folder`, which is created if needed, and return the new ones.

    An existing file with the same content stays. Raises ConflictError, before anything is written, that names
    each file with other content; StorageError where one cannot be written.
    """
    texts = {folder / name: source.read_bytes() for name, source in sorted(sources.items())}
    with explained(folder):
        there = {path: path.read_bytes() for path in texts if path.exists()}
    if other := [path for path, text in there.items() if text != texts[path]]:
        raise ConflictError(
            "\n".join(f"{path} already exists with other content" for path in other),
            hint="nothing was written; name another directory, or move the files away",
        )
    new = [path for path in texts if path not in there]
    try:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for path in new:
            with Temporary(folder) as file:
                file.write(texts[path])
                with explained(path):
                    file.path.chmod(0o755 if path.suffix == ".sh" else 0o644)
                file.sync()
                link_new(file.path, path)
    except FileExistsError as error:
        taken = error.filename2 or error.filename
        raise ConflictError(f"{taken} already exists", hint="name another directory") from error
    return new


def _starters(kind: str) -> Traversable:
    return files("lxcast").joinpath("starters", kind)
