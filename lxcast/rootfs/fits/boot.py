"""What keeps systemd from a clean start in an unprivileged container."""

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits.units import systemd
from lxcast.tar.member import printable

_ETC = b"etc/systemd/system/"

# All static, so no preset reaches them; their conditions pass, for the container's root has the capabilities asked for.
MASKED = (b"sys-kernel-config.mount", b"sys-kernel-debug.mount", b"systemd-modules-load.service")

GETTYS = b"etc/systemd/system/getty.target.wants"


def _container_masks(fitting: Fitting) -> None:
    for name in MASKED:
        path = _ETC + name
        vendor = any(fitting.type(folder + name) for folder in (b"usr/lib/systemd/system/", b"lib/systemd/system/"))
        there = fitting.get(path)
        if vendor and there is None:
            fitting.link(path, b"/dev/null", f"masked {name.decode()}")


def _getty_folder(fitting: Fitting) -> None:
    if systemd(fitting) and fitting.type(GETTYS) is None:
        fitting.folder(GETTYS, 0o755, f"made the folder {printable(GETTYS)}")


FITS = (
    Fit(
        "container-masks",
        True,
        "systemd units masked that fail in an unprivileged container",
        "The kernel's debugfs and configfs cannot be mounted in a user namespace, nor modules loaded: the units fail,"
        " and the container starts as 'degraded'. A unit of the image's own in /etc stays.",
        _container_masks,
        holds=tuple((_ETC + name).decode() for name in MASKED),
    ),
    Fit(
        "getty-folder",
        True,
        "the folder that Proxmox puts the consoles into",
        "Proxmox enables gettys on the container's consoles in getty.target.wants, and only if that folder exists.",
        _getty_folder,
    ),
)
