"""Old archives become templates beside them: what is nested is taken out, and all is cleaned, fitted and checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxcast.errors import LxcastError
from lxcast.identifiers import stem_of
from lxcast.jobs.build import Built, build
from lxcast.jobs.options import build_options
from lxcast.progress import Progress
from lxcast.settings import Settings

_VERSIONED = re.compile(r"(.+)-v[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Repacked:
    """What became of one file: a template, or the error that prevented it."""

    file: Path
    built: Built | None = None
    error: LxcastError | None = None


def repack(files: Iterable[Path], settings: Settings, given: Mapping[str, Any], progress: Progress) -> list[Repacked]:
    """Make a template of each archive, in its folder and under its name with the next version; the archive stays.

    `given` is said for all of them, by the names of BuildOptions. One that fails does not stop the others.
    """
    done = []
    for file in files:
        try:
            options = build_options(settings, {**given, **_place(file), "pattern": "{name}-{version}"})
            with progress.step(f"repacking {file}"):
                done.append(Repacked(file, build(str(file.absolute()), options, progress)))
        except LxcastError as error:
            done.append(Repacked(file, error=error))
    return done


def _place(file: Path) -> dict[str, Any]:
    """Return the name and the place that a file's own name and place give: NAME-v3.tar.xz is a version of NAME."""
    folder = file.absolute().parent
    stem = stem_of(file.name)
    versioned = _VERSIONED.fullmatch(stem)
    name = versioned[1] if versioned else stem
    if folder.name == "cache" and folder.parent.name == "template":
        return {"name": name, "storage": str(folder.parent.parent)}
    return {"name": name, "output": folder}
