"""An init where there is none, for the process that an image or a bundle names."""

from posixpath import basename

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.init import PLACES, READS, write_init
from lxcast.tar.member import SYM, printable


def place(fitting: Fitting) -> bytes | None:
    """Return where an init is to be written; None where nobody asks for one, or something is there.

    A link that leads nowhere is no init: it gives way.
    """
    config = fitting.options.process
    if config is None or not config.process:
        return None
    path = (fitting.survey.resolve(b"sbin") or b"sbin") + b"/init"
    there = fitting.get(path)
    if fitting.resolve(path) is not None or (there.type != SYM if there else fitting.type(path) is not None):
        return None
    return path


def _init(fitting: Fitting) -> None:
    path, config = place(fitting), fitting.options.process
    if path is None or config is None:
        return
    script, problems = write_init(fitting.survey, config, dhcp=fitting.options.network == "dhcp")
    if problems:
        return  # the check `init` tells them, with all others
    program = basename(config.process[0])
    # Its variables are the process's own business, and what reads them all is root.
    fitting.write(path, script, f"wrote {printable(path)}, which starts {program}: no init was there", mode=0o700)


FITS = (
    Fit(
        "written-init",
        True,
        "an init that starts the process which the image or bundle names",
        "LXC starts /sbin/init, which images for engines lack. With --init auto, the default for a runtime bundle, a"
        " script takes its place that mounts what a program needs, brings the network up, starts the program with its"
        " arguments, environment, user and folder, hands signals on and reaps. An init that is there stays.",
        _init,
        links=tuple(map(bytes.decode, PLACES)),
        reads=READS,
    ),
)
