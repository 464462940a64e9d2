"""What a container of a template should be given: the record's `hints`."""

import re

from lxcast.rootfs.survey import Survey

_SHARED = re.compile(rb"/libsystemd-shared-(\d+)[^/]*\.so$")
_GIB = 1 << 30


def hints(survey: Survey) -> dict[str, int | bool]:
    """Return `disk_gb`, a root disk that fits (GiB, as `--rootfs STORAGE:GB` counts), and `nesting`.

    systemd above 241 sandboxes its services by mounts that a container may only make with features nesting=1; Proxmox
    reads the version from the name of the library too and warns (PVE/LXC/Setup/Base.pm).
    """
    version = systemd_version(survey)
    return {"disk_gb": disk_gb(survey.unpacked_size, survey.members), "nesting": version is not None and version > 241}


def disk_gb(unpacked_size: int, members: int) -> int:
    """Return the GiB of a root disk: the content in blocks of 4 KiB, 30 % for filesystem and growth, and 512 MiB."""
    return -(-((unpacked_size + members * 4096) * 13 // 10 + _GIB // 2) // _GIB)


def systemd_version(survey: Survey) -> int | None:
    """Return systemd's version where it is the init, by the name of its private library."""
    init = survey.resolve(b"sbin/init")
    if init is None or not init.endswith(b"/systemd"):
        return None
    found = (_SHARED.search(path) for path in survey.paths() if b"/libsystemd-shared-" in path)
    return max((int(match[1]) for match in found if match), default=None)
