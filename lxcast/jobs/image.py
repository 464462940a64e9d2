"""A template that is an image: what was cast becomes its one layer, and its config says what Proxmox is to start."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lxcast.durable import Temporary
from lxcast.model import ImageConfig
from lxcast.rootfs.container import systemd
from lxcast.rootfs.distribution import machine
from lxcast.rootfs.init import is_written
from lxcast.rootfs.survey import Survey
from lxcast.sources import Source

if TYPE_CHECKING:
    from lxcast.jobs.convert import Cast

_INIT = "/sbin/init"


def begin(file: Temporary) -> None:
    """Leave room in an empty file for what comes before the layer."""
    from lxcast.oci.archive import FRONT

    file.write(bytes(FRONT))


def finish(cast: "Cast", file: Temporary | None, source: Source, arch: str, init: str) -> "Cast":
    """Make what was written to `file`, behind its room, the layer of an image; None: only see that it could be.

    `arch` is the architecture that was asked for, `init` the setting. Raises SourceError for a config that Proxmox
    would refuse.
    """
    from lxcast.oci.archive import Blob, front, image_config, rest

    survey = cast.survey
    said = source.config or ImageConfig()
    starts_init = _starts_init(survey, said, init)
    if starts_init:
        said = _of_init(survey, said)
    elif survey.executable(b"sbin/init") is not None:
        source.warnings.append(
            f"{source.origin.reference}: Proxmox will start {said.process[0]}, which the image names, and not its "
            "init: `--init none` starts that"
        )
    config = image_config(said, arch or machine(survey), cast.diff_id, init=starts_init)
    if file is None:
        return cast
    layer = Blob(cast.sha256, cast.size)
    file.fill(0, front(layer))
    file.write(rest(layer, config))
    return replace(cast, sha256=file.sha256(), size=file.size)


def refused(path: Path) -> list[str]:
    """Say why Proxmox would not take the image in an archive; ArchiveError where that is damaged."""
    from lxcast.oci import archive
    from lxcast.sources.blobs import list_archive

    blobs = list_archive(path)
    return archive.refused(blobs) if blobs else []


def _starts_init(survey: Survey, said: ImageConfig, init: str) -> bool:
    return is_written(survey) or not said.process or init == "none" or said.process[0] == _INIT


def _of_init(survey: Survey, said: ImageConfig) -> ImageConfig:
    """Return the config for an init, which runs as root and gets the signal that it knows to stop at.

    Proxmox sends SIGTERM where none is said (PVE/LXC/Create.pm), at which systemd only starts itself anew (systemd(1)).
    """
    own = replace(said, user="", working_dir="")
    if is_written(survey):
        return replace(own, env=(), stop_signal="")  # it sets the variables, and hands SIGTERM on
    return replace(own, stop_signal=said.stop_signal or ("SIGRTMIN+3" if systemd(survey) is not None else "SIGPWR"))
