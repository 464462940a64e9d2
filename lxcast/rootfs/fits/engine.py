"""The files that a container engine mounts over or makes: written the same for every kind of source."""

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits.units import enabled
from lxcast.tar.member import DIR

HOSTS = """\
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""

_STUB = b"../run/systemd/resolve/stub-resolv.conf"
_RESOLVCONF = b"../run/resolvconf/resolv.conf"


def _hostname(fitting: Fitting) -> None:
    fitting.write(b"etc/hostname", "", "emptied /etc/hostname")


def _hosts(fitting: Fitting) -> None:
    fitting.write(b"etc/hosts", HOSTS, "wrote a neutral /etc/hosts")


def _resolv_conf(fitting: Fitting) -> None:
    path = b"etc/resolv.conf"
    if b"systemd-resolved.service" in enabled(fitting):
        fitting.link(path, _STUB, "linked /etc/resolv.conf to systemd-resolved's")
    elif fitting.type(b"etc/resolvconf/update.d") == DIR:
        fitting.link(path, _RESOLVCONF, "linked /etc/resolv.conf to resolvconf's")
    else:
        fitting.write(path, "", "emptied /etc/resolv.conf")


def _mtab(fitting: Fitting) -> None:
    fitting.link(b"etc/mtab", b"../proc/self/mounts", "linked /etc/mtab to /proc/self/mounts")


def _lxc_name(fitting: Fitting) -> None:
    for path in (b"etc/hostname", b"etc/hosts"):
        text = fitting.text(path) or ""
        if "LXC_NAME" in text:
            fitting.write(path, text.replace("LXC_NAME", "localhost"), f"replaced LXC_NAME in /{path.decode()}")


FITS = (
    Fit(
        "hostname",
        True,
        "an empty /etc/hostname",
        "An engine mounts its own over it, which leaves an empty file of mode 0755 in an export. Empty means: keep the"
        " name that the container was given (hostname(5)); Proxmox writes it anew.",
        _hostname,
        holds=("etc/hostname",),
    ),
    Fit(
        "hosts",
        True,
        "a neutral /etc/hosts",
        "An engine mounts its own over it, so an export has an empty file where the image may have names. Proxmox adds"
        " the container's.",
        _hosts,
        holds=("etc/hosts",),
    ),
    Fit(
        "resolv-conf",
        True,
        "a neutral /etc/resolv.conf",
        "An engine mounts its own over it, so whether it was a link is lost. It becomes systemd-resolved's where that"
        " is enabled, resolvconf's where that is installed, else an empty file; Proxmox replaces it.",
        _resolv_conf,
        holds=("etc/resolv.conf",),
    ),
    Fit(
        "mtab",
        True,
        "/etc/mtab as a link to the kernel's list",
        "Docker replaces it by an absolute link to /proc/mounts.",
        _mtab,
        holds=("etc/mtab",),
    ),
    Fit(
        "lxc-name",
        True,
        "LXC_NAME placeholders",
        "Root filesystems of distrobuilder carry the literal LXC_NAME in hostname and hosts, for LXC's create to"
        " replace, which Proxmox does not. It matters where the rows hostname and hosts are off.",
        _lxc_name,
        holds=("etc/hostname", "etc/hosts"),
    ),
)
