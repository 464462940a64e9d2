"""Files that identify a root filesystem: the release files of the distribution and of lxcast."""

import re
from posixpath import dirname, relpath

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.tar.member import SYM, printable

RELEASE_FILE = b"etc/lxcast-release"

# Proxmox opens them as ROOT/etc/NAME on the node (PVE/LXC/Setup.pm and Setup/*.pm).
_READ_ON_NODE = (
    *("etc/os-release", "etc/lsb-release", "etc/debian_version", "etc/devuan_version", "etc/fedora-release"),
    *("etc/redhat-release", "etc/centos-release", "etc/SuSE-release", "etc/SuSE-brand", "etc/arch-release"),
    *("etc/alpine-release", "etc/gentoo-release", "etc/openEuler-release"),
)


# Within double quotes (os-release(5), which a shell can source).
_SPECIAL, _ESCAPED = re.compile(r'([$`"\\])'), r"\\\1"


def _relative_links(fitting: Fitting) -> None:
    for path in map(str.encode, _READ_ON_NODE):
        member, found = fitting.get(path), fitting.resolve(path)
        if member is None or member.type != SYM or found is None or fitting.resolve(path, chrooted=False) == found:
            continue
        target = relpath(b"/" + found, b"/" + dirname(path))
        fitting.link(path, target, f"made the link {printable(path)} relative: {target.decode(errors='replace')}")


def _release_file(fitting: Fitting) -> None:
    release = fitting.options.release.items()
    text = "".join(f'{key}="{_SPECIAL.sub(_ESCAPED, value)}"\n' for key, value in release)
    fitting.write(RELEASE_FILE, text, f"wrote {printable(RELEASE_FILE)}")


FITS = (
    Fit(
        "relative-release-links",
        True,
        "make links to os-release and version files relative",
        "Proxmox reads these files on the node, where an absolute link leads to a file of the node or to nothing, and"
        " container creation fails.",
        _relative_links,
        holds=_READ_ON_NODE,
    ),
    Fit(
        "release",
        False,
        "write /etc/lxcast-release with name, version and release metadata",
        "A running container then knows its template. Off by default because it makes the content of each version"
        " differ.",
        _release_file,
        holds=(RELEASE_FILE.decode(),),
    ),
)
