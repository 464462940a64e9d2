"""Writes an init that starts the process of an image or bundle if the root filesystem has no init."""

from posixpath import basename

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.init import PLACES, READS, write_init
from lxcast.tar.member import SYM, printable


def init_path(fitting: Fitting) -> bytes | None:
    """Return the path of the init to write; None if none is requested or an init exists.

    A dangling link does not count as an init and is replaced.
    """
    config = fitting.options.process
    if config is None or not config.process:
        return None
    path = (fitting.survey.resolve(b"sbin") or b"sbin") + b"/init"
    held = fitting.get(path)
    if fitting.resolve(path) is not None or (held.type != SYM if held else fitting.type(path) is not None):
        return None
    return path


def _init(fitting: Fitting) -> None:
    path, config = init_path(fitting), fitting.options.process
    if path is None or config is None:
        return
    script, problems = write_init(fitting.survey, config, dhcp=fitting.options.network == "dhcp")
    if problems:
        return  # the check `init` reports them together with all other findings
    program = basename(config.process[0])
    # Mode 0700: the script contains the environment of the process, which other users must not read.
    fitting.write(path, script, f"wrote {printable(path)}, which starts {program}: there was no init", mode=0o700)


FITS = (
    Fit(
        "written-init",
        True,
        "write an init that starts the command of the image or bundle",
        "LXC starts /sbin/init, which container images usually lack. With --init auto, the default for a runtime"
        " bundle, lxcast writes a script to /sbin/init. It mounts the filesystems that programs need, brings the"
        " network up, starts the program with its arguments, environment, user and working directory, forwards signals"
        " and reaps child processes. An existing init stays.",
        _init,
        links=tuple(map(bytes.decode, PLACES)),
        reads=READS,
    ),
)
