"""Changes that let systemd start without failed units in an unprivileged container."""

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits.units import systemd
from lxcast.tar.member import printable

_ETC = b"etc/systemd/system/"

# These units are static, so presets do not apply to them. Their conditions hold: root in a container has the required
# capabilities.
MASKED = (b"sys-kernel-config.mount", b"sys-kernel-debug.mount", b"systemd-modules-load.service")

GETTYS = b"etc/systemd/system/getty.target.wants"


def _container_masks(fitting: Fitting) -> None:
    for name in MASKED:
        path = _ETC + name
        shipped = any(fitting.type(parent + name) for parent in (b"usr/lib/systemd/system/", b"lib/systemd/system/"))
        if shipped and fitting.get(path) is None:
            fitting.link(path, b"/dev/null", f"masked {name.decode()}")


def _getty_directory(fitting: Fitting) -> None:
    if systemd(fitting) and fitting.type(GETTYS) is None:
        fitting.directory(GETTYS, 0o755, f"created the directory {printable(GETTYS)}")


FITS = (
    Fit(
        "container-masks",
        True,
        "mask systemd units that fail in an unprivileged container",
        "A user namespace can neither mount debugfs and configfs nor load kernel modules. The units fail, and systemd"
        " reports the container as 'degraded'. A unit file of the image in /etc stays.",
        _container_masks,
        holds=tuple((_ETC + name).decode() for name in MASKED),
    ),
    Fit(
        "getty-folder",
        True,
        "create the directory for console logins",
        "Proxmox enables gettys for the consoles of a container in getty.target.wants, but only if that directory"
        " exists.",
        _getty_directory,
    ),
)
