"""Files that a container engine creates or mounts over, written alike for every kind of source."""

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
        fitting.link(path, _STUB, "linked /etc/resolv.conf to the file of systemd-resolved")
    elif fitting.type(b"etc/resolvconf/update.d") == DIR:
        fitting.link(path, _RESOLVCONF, "linked /etc/resolv.conf to the file of resolvconf")
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
        "empty /etc/hostname",
        "A container engine mounts over it, so an export contains an empty file with mode 0755. With an empty file the"
        " container keeps the name that it was given (hostname(5)). Proxmox writes the file.",
        _hostname,
        holds=("etc/hostname",),
    ),
    Fit(
        "hosts",
        True,
        "write a neutral /etc/hosts",
        "A container engine mounts over it, so an export contains an empty file even if the image has names in it."
        " Proxmox adds the name of the container.",
        _hosts,
        holds=("etc/hosts",),
    ),
    Fit(
        "resolv-conf",
        True,
        "write a neutral /etc/resolv.conf",
        "A container engine mounts over it, so an export does not show whether it was a link. It becomes a link to the"
        " file of systemd-resolved if that is enabled, or of resolvconf if that is installed; otherwise an empty file."
        " Proxmox replaces it.",
        _resolv_conf,
        holds=("etc/resolv.conf",),
    ),
    Fit(
        "mtab",
        True,
        "make /etc/mtab a link to /proc/self/mounts",
        "Docker replaces it with an absolute link to /proc/mounts.",
        _mtab,
        holds=("etc/mtab",),
    ),
    Fit(
        "lxc-name",
        True,
        "replace LXC_NAME placeholders",
        "Root filesystems of distrobuilder contain the literal LXC_NAME in hostname and hosts. LXC replaces it when it"
        " creates a container, but Proxmox does not. This row matters if the rows hostname and hosts are off.",
        _lxc_name,
        holds=("etc/hostname", "etc/hosts"),
    ),
)
