"""Network configuration: loopback only, because Proxmox adds interfaces, or DHCP for plain LXC."""

import re
from collections.abc import Callable

from lxcast.errors import CheckError
from lxcast.rootfs.distribution import os_release
from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits import init
from lxcast.rootfs.fits.units import enabled
from lxcast.tar.member import DIR

INTERFACES = b"etc/network/interfaces"
NETWORKD = b"etc/systemd/network/80-lxcast-eth0.network"
NETWORK_MANAGER = b"etc/NetworkManager/system-connections/lxcast-eth0.nmconnection"
_NETWORKD_LINK = b"etc/systemd/system/multi-user.target.wants/systemd-networkd.service"

_LOOPBACK = "auto lo\niface lo inet loopback\n"
_SOURCE = "\nsource /etc/network/interfaces.d/*\n"
_ETH0 = "\nauto eth0\niface eth0 inet dhcp\n"

_DEBIAN = frozenset({"debian", "devuan", "ubuntu"})
_UBUNTU_NETWORKD = 17.10  # from this release on Proxmox writes systemd-networkd files (PVE/LXC/Setup/Ubuntu.pm)


def _network(fitting: Fitting) -> None:
    if _has_interfaces_file(fitting) and not (fitting.text(INTERFACES) or "").strip():
        sourced = _is(fitting, _DEBIAN) and _ifupdown(fitting)
        text = _LOOPBACK + (_SOURCE if sourced else "")
        fitting.write(INTERFACES, text, "wrote /etc/network/interfaces with loopback only")
    if fitting.options.network == "dhcp" and (_ifupdown(fitting) or init.init_path(fitting) is None):
        write = next((write for is_installed, write in _DHCP if is_installed(fitting)), None)
        if write is None:
            raise CheckError(
                "--network dhcp: the root filesystem has no ifupdown, systemd-networkd or NetworkManager",
                hint="install one of them with a DHCP client, or use --network loopback and let Proxmox configure it",
            )
        write(fitting)


def _ids(fitting: Fitting) -> dict[str, str]:
    return os_release(fitting.text(b"etc/os-release") or fitting.text(b"usr/lib/os-release") or "")


def _is(fitting: Fitting, ids: frozenset[str]) -> bool:
    values = _ids(fitting)
    return bool(ids & {values.get("ID", ""), *values.get("ID_LIKE", "").split()})


def _has_interfaces_file(fitting: Fitting) -> bool:
    """Return whether Proxmox will write /etc/network/interfaces, or ifupdown will read it."""
    if _ifupdown(fitting):
        return True
    values = _ids(fitting)
    if values.get("ID") == "ubuntu":
        version = re.match(r"\d+(\.\d+)?", values.get("VERSION_ID", ""))
        return version is not None and float(version[0]) < _UBUNTU_NETWORKD
    return _is(fitting, frozenset({"debian", "devuan", "alpine"})) and "ubuntu" not in values.get("ID_LIKE", "").split()


def _installed(fitting: Fitting, *programs: bytes) -> bool:
    parents = (b"usr/sbin/", b"sbin/", b"usr/bin/", b"usr/lib/systemd/", b"lib/systemd/")
    return any(fitting.resolve(parent + program) for program in programs for parent in parents)


def _ifupdown(fitting: Fitting) -> bool:
    return _installed(fitting, b"ifup")


def _ifupdown_dhcp(fitting: Fitting) -> None:
    text = fitting.text(INTERFACES) or ""
    if not re.search(r"^\s*iface\s+eth0\s", text, re.MULTILINE):
        fitting.write(INTERFACES, text + _ETH0, "added eth0 with DHCP to /etc/network/interfaces")
    if not _installed(fitting, b"dhclient", b"dhcpcd", b"udhcpc"):
        fitting.note("ifupdown has no DHCP client: install isc-dhcp-client, dhcpcd or udhcpc")


def _networkd_dhcp(fitting: Fitting) -> None:
    text = "[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n"
    fitting.write(NETWORKD, text, f"wrote /{NETWORKD.decode()}: eth0 with DHCP")
    if not _networkd_enabled(fitting):
        fitting.link(_NETWORKD_LINK, b"/lib/systemd/system/systemd-networkd.service", "enabled systemd-networkd")


def _network_manager_dhcp(fitting: Fitting) -> None:
    text = "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    # NetworkManager ignores a keyfile that other users can read.
    fitting.write(NETWORK_MANAGER, text, f"wrote /{NETWORK_MANAGER.decode()}: eth0 with DHCP", mode=0o600)


def _networkd_enabled(fitting: Fitting) -> bool:
    return b"systemd-networkd.service" in enabled(fitting)


def _network_manager(fitting: Fitting) -> bool:
    return _installed(fitting, b"NetworkManager") and fitting.type(b"etc/NetworkManager") == DIR


def _networkd(fitting: Fitting) -> bool:
    return _installed(fitting, b"systemd-networkd")


# The first installed program configures the network. networkd comes last because most systemd images contain it unused.
_DHCP: tuple[tuple[Callable[[Fitting], bool], Callable[[Fitting], None]], ...] = (
    (_ifupdown, _ifupdown_dhcp),
    (_networkd_enabled, _networkd_dhcp),
    (_network_manager, _network_manager_dhcp),
    (_networkd, _networkd_dhcp),
)

FITS = (
    Fit(
        "network",
        True,
        "write an interfaces file with loopback only, or eth0 with DHCP",
        "Proxmox writes /etc/network/interfaces for Debian, Devuan, Alpine and old Ubuntu, and container creation fails"
        " if it cannot. Docker images lack the file. A file that is not empty stays. With --network dhcp, for plain LXC"
        " and unmanaged containers, eth0 is configured for the network program of the image.",
        _network,
        holds=tuple(map(bytes.decode, (INTERFACES, NETWORKD, NETWORK_MANAGER, _NETWORKD_LINK))),
        reads=("etc/os-release", "usr/lib/os-release"),
    ),
)
