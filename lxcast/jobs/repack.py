"""Converts old archives to templates next to them; nested archives are unwrapped."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import LxcastError
from lxcast.identifiers import stem_of
from lxcast.jobs.build import Built, build
from lxcast.progress import Progress
from lxcast.settings import BuildOptions, Settings, build_options

_VERSIONED = re.compile(r"(.+)-v[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Repacked:
    """What became of one file: a template, or the error that prevented it."""

    file: Path
    built: Built | None = None
    error: LxcastError | None = None


def repack(files: Iterable[Path], settings: Settings, progress: Progress) -> list[Repacked]:
    """Convert each archive to a template in its directory, under its name with the next version; the archive stays.

    The settings apply to all of them; names, storage and pattern follow from the file. One that fails does not stop the
    others.
    """
    done = []
    for file in files:
        try:
            options = _options(file, settings)
            with progress.step(f"repacking {file}"):
                done.append(Repacked(file, build(str(file.absolute()), options, progress)))
        except LxcastError as error:
            done.append(Repacked(file, error=error))
    return done


def _options(file: Path, settings: Settings) -> BuildOptions:
    """Return the options for a file: NAME-v3.tar.xz is a version of NAME, and the template goes next to it."""
    directory = file.absolute().parent
    stem = stem_of(file.name)
    versioned = _VERSIONED.fullmatch(stem)
    name = versioned[1] if versioned else stem
    if directory.name == "cache" and directory.parent.name == "template":
        return build_options(settings.over({"storage": str(directory.parent.parent)}), name=name)
    return build_options(settings, name=name, output=directory)
