"""Checks that an archive holds a root filesystem, and not something that a root filesystem is wrapped in."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lxcast.rootfs.checks.rows import Check, Finding, Level, Subject
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, SYM, printable

FEWEST_MEMBERS = 10
"""Proxmox's own test of foreign archives asks for as many (PVE/LXC/Create.pm, check_tar_archive)."""

_ROOT = re.compile(rb"rootfs\.(tar(\..+)?|tgz|txz|squashfs)$")
_ARCHIVE = re.compile(rb"\.(tar(\.[a-z0-9]+)?|tgz|txz|tzst)$")
_COMPANION = re.compile(rb"(rootfs|meta|metadata|lxd|incus|config|templates|create-message|SHA256SUMS)(\..+)?$")


class Wrapping(NamedTuple):
    """What a root filesystem is wrapped in, and the member that tells."""

    kind: Literal["archive", "folder", "oci", "docker"]
    path: bytes


def wrapping(survey: Survey) -> Wrapping | None:
    """Return what the archive holds in place of a root filesystem; None where it may be one.

    Judged is what the source has: with the folders that fit puts in anything would look like a root filesystem.
    """
    if any(survey.type(path) is not None and path not in survey.made for path in (b"etc", b"usr", b"sbin", b"bin")):
        return None
    tops = dict.fromkeys(path.partition(b"/")[0] for path in survey.paths() if path not in survey.made)
    tops.pop(b"", None)
    if b"oci-layout" in tops and b"index.json" in tops:
        return Wrapping("oci", b"oci-layout")
    if b"manifest.json" in tops:
        return Wrapping("docker", b"manifest.json")
    folder = next(
        (top for top in tops if any(survey.type(top + below) for below in (b"/etc", b"/usr", b"/sbin"))), None
    )
    if folder is not None:
        return Wrapping("folder", folder)
    inner = next((top for top in tops if _ROOT.match(top)), None)
    if inner is not None and all(_COMPANION.match(top) for top in tops):
        return Wrapping("archive", inner)
    if len(tops) == 1 and _ARCHIVE.search(alone := next(iter(tops))):
        return Wrapping("archive", alone)
    return None


def is_proxmox_image(survey: Survey) -> bool:
    """Tell whether Proxmox takes the archive for an OCI image."""
    found, quirks = wrapping(survey), survey.quirks
    plain = (
        quirks.compression in ("", "tar") and (quirks.file_name or ".tar").endswith(".tar") and quirks.unprefixed > 0
    )
    return found is not None and found.kind == "oci" and plain


def _nested(subject: Subject) -> Iterator[Finding]:
    found = wrapping(subject.survey)
    if found is None:
        return
    if found.kind == "archive":
        yield Finding("holds the root filesystem as an archive within the archive", found.path)
    elif found.kind == "folder":
        unified = subject.survey.type(b"metadata.yaml") is not None  # as Incus and LXD have it
        hint = (
            "`lxcast repack FILE`, which takes it out; what comes by a pipe has to be saved to a file first"
            if unified
            else ""
        )
        yield Finding("holds the root filesystem, which should begin at the top of the archive", found.path, hint=hint)


def _image(subject: Subject) -> Iterator[Finding]:
    found = wrapping(subject.survey)
    if found is None or found.kind not in ("docker", "oci"):
        return
    if is_proxmox_image(subject.survey):
        message = "an OCI image: Proxmox VE 9.1 and later unpack it, older ones do as if it were a filesystem"
        yield Finding(message, found.path, "warning")
        yield from (Finding(problem, found.path) for problem in subject.survey.quirks.refused)
    else:
        kind = "an OCI image layout" if found.kind == "oci" else "an image as `docker save` writes it"
        yield Finding(f"{kind}: Proxmox would unpack the blobs as files of the container", found.path)


def _few_members(subject: Subject) -> Iterator[Finding]:
    members = subject.survey.members - len(subject.survey.made)
    if members < FEWEST_MEMBERS:
        level: Level = "warning" if members > 1 and subject.starts_program else "error"
        yield Finding(f"{members} members, where a root filesystem has {FEWEST_MEMBERS} and more", level=level)


def _no_sbin(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.type(b"sbin") not in (DIR, SYM, LNK) and not subject.starts_program:
        yield Finding("there is no folder or link 'sbin', where Proxmox starts sbin/init")


def _whiteouts(subject: Subject) -> Iterator[Finding]:
    for path in subject.survey.paths_with(b".wh."):
        folder, _, name = path.rpartition(b"/")
        if name.startswith(b".wh."):
            if name == b".wh..wh..opq":
                message = f"marks that {printable(folder)} hides what lower layers hold there"
            else:
                message = f"marks that {name[4:].decode('utf-8', 'backslashreplace')!r} was deleted"
            yield Finding(f"{message}: one layer of an image, or several merged by hand", path)


WRAPPING = (
    Check(
        id="nested-archive",
        group="proxmox",
        heading="Root filesystem inside another archive or folder",
        why=(
            "Proxmox unpacks an archive once, as the root of the container, and looks no further: distrobuilder's pair "
            "of rootfs.tar.xz and meta.tar.xz in one archive becomes a container with two files in it."
        ),
        find=_nested,
        archive=True,
        hint="an archive in it: `lxcast repack FILE`; a folder in it: unpack it, then `lxcast build FOLDER`",
    ),
    Check(
        id="image-archive",
        group="proxmox",
        heading="Container image in place of a root filesystem",
        why=(
            "Proxmox VE 9.1 and later take an archive for an OCI image only if its volume ends in .tar and tar lists "
            "oci-layout, index.json and blobs/ by just these names (PVE/LXC/Create.pm, archive_is_oci_format). Any "
            "other image, one of `docker save` or a compressed one, is unpacked as a filesystem, and the task says OK."
        ),
        find=_image,
        archive=True,
        hint="build from the image, which merges its layers: `lxcast build FILE`",
    ),
    Check(
        id="whiteouts",
        group="proxmox",
        heading="Whiteout files left by image layers",
        why=(
            "A layer marks a deleted file by one called .wh.NAME (OCI image specification, layer.md). Nothing but a "
            "merge of layers understands that: in a container the deleted files are there again, and the marks too."
        ),
        find=_whiteouts,
        archive=True,
        hint="build from the image or from a container's export, which merge the layers",
    ),
    Check(
        id="few-members",
        group="proxmox",
        heading="Fewer than 10 members",
        why=(
            "An archive so small is a failed export or not a root filesystem. Proxmox refuses it when it restores a "
            "foreign archive (PVE/LXC/Create.pm, check_tar_archive), but takes it as a template without a word."
        ),
        find=_few_members,
        hint="look into it with `tar -t`; a `docker export` of an empty or wrong container gives such a file",
    ),
    Check(
        id="no-sbin",
        group="proxmox",
        heading="No sbin",
        why=(
            "A container starts /sbin/init, and Proxmox's own test of foreign archives asks for sbin as a folder or "
            "link (PVE/LXC/Create.pm, check_tar_archive)."
        ),
        find=_no_sbin,
        hint="install an init system (systemd-sysv, openrc); where /usr/sbin is there, make /sbin a link to it",
    ),
)
