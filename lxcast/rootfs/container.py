"""What a container of a root filesystem will run and need, as far as the survey tells."""

import re

from lxcast.rootfs.survey import Survey

NESTING_SINCE = 242
"""The first systemd that Proxmox asks for nesting=1 with (PVE/LXC/Setup/Base.pm, check_systemd_nesting)."""

_SHARED_LIBRARY = re.compile(rb"(?:^|/)libsystemd-shared-(\d{1,5})[^/]*\.so$")

GIB = 1 << 30


def systemd(survey: Survey) -> bytes | None:
    """Return the path of the program that Proxmox takes for systemd; None where init is something else.

    Proxmox goes by the name alone: /sbin/init is a link whose end, its text read from the root, is called systemd.
    """
    folder = survey.resolve(b"sbin")
    link = None if folder is None else survey.links.get(folder + b"/init")
    found = None if link is None else survey.resolve(link)
    return found if found is not None and (b"/" + found).endswith(b"/systemd") else None


def systemd_version(survey: Survey) -> int:
    """Return systemd's version; 0 without systemd, and for one from before 230, which has no shared library.

    Proxmox reads the name of the library from the program; here it is read from the library's own file name.
    """
    if systemd(survey) is None:
        return 0
    names = (_SHARED_LIBRARY.search(path) for path in survey.paths_with(b"libsystemd-shared-"))
    return max((int(match[1]) for match in names if match), default=0)


def needs_nesting(survey: Survey) -> bool:
    """Whether Proxmox will ask for the feature nesting=1: systemd's sandboxed units mount file systems."""
    return systemd_version(survey) >= NESTING_SINCE


def root_disk(survey: Survey) -> int:
    """Return the size of a root disk, in GiB, that the filesystem fits on with some room to work.

    A block of 4 KiB is allowed for each member, a tenth for ext4's own needs and reserve, and half a GiB of room.
    """
    needed = (survey.unpacked_size + 4096 * survey.members) * 11 // 10 + GIB // 2
    return -(-needed // GIB)
