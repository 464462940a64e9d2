"""What a container made from a root filesystem runs and needs, derived from the survey."""

import re

from lxcast.rootfs.survey import Survey
from lxcast.tar.member import LNK, REG

NESTING_SINCE = 242
"""The first systemd version for which Proxmox recommends nesting=1 (PVE/LXC/Setup/Base.pm, check_systemd_nesting)."""

_SHARED_LIBRARY = re.compile(rb"(?:^|/)libsystemd-shared-(\d{1,5})[^/]*\.so$")

_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n\0]*)")
"""The interpreter as the kernel parses it (binfmt_script.c): a carriage return is part of the name."""

GIB = 1 << 30


def systemd(survey: Survey) -> bytes | None:
    """Return the path of the program that Proxmox treats as systemd; None if init is a different program.

    Proxmox checks the name alone: /sbin/init is a link whose target, read relative to the root, ends in /systemd.
    """
    sbin = survey.resolve(b"sbin")
    link = None if sbin is None else survey.links.get(sbin + b"/init")
    found = None if link is None else survey.resolve(link)
    return found if found is not None and (b"/" + found).endswith(b"/systemd") else None


def systemd_version(survey: Survey) -> int:
    """Return the systemd version; 0 without systemd and for versions before 230, which have no shared library.

    Proxmox reads the name of the library from the program. lxcast reads it from the name of the library file.
    """
    if systemd(survey) is None:
        return 0
    names = (_SHARED_LIBRARY.search(path) for path in survey.paths_with(b"libsystemd-shared-"))
    return max((int(match[1]) for match in names if match), default=0)


def needs_nesting(survey: Survey) -> bool:
    """Whether Proxmox recommends the feature nesting=1: sandboxed systemd units mount filesystems."""
    return systemd_version(survey) >= NESTING_SINCE


def root_disk(survey: Survey) -> int:
    """Return the size in GiB of a root disk that holds the filesystem with some free space.

    The estimate adds a block of 4 KiB for each member, 10 % for ext4 metadata and reserve, and half a GiB free.
    """
    needed = (survey.unpacked_size + 4096 * survey.members) * 11 // 10 + GIB // 2
    return -(-needed // GIB)


def start_problem(survey: Survey, path: bytes) -> str:
    """Return why the kernel cannot execute the program at `path`; "" if it can."""
    found = survey.resolve(path)
    if found is None:
        return "is missing"
    if survey.type(found) not in (REG, LNK):
        return "is not a file"
    program = survey.executable(found)
    if program is None:
        return "is not executable"
    interpreter = _INTERPRETER.match(program.head)
    if interpreter and (not interpreter[1] or survey.executable(interpreter[1]) is None):
        name = interpreter[1].decode("utf-8", "backslashreplace")
        return f"is a script for the interpreter {name!r}, which is missing or not executable"
    return ""
