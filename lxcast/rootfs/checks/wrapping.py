"""Checks that an archive is a root filesystem and not another container format with a root filesystem inside."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lxcast.rootfs.checks.rows import Check, Finding, Level, Subject
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, SYM, printable

FEWEST_MEMBERS = 10
"""Proxmox requires this number when it restores a foreign archive (PVE/LXC/Create.pm, check_tar_archive)."""

_ROOT = re.compile(rb"rootfs\.(tar(\..+)?|tgz|txz|squashfs)$")
_ARCHIVE = re.compile(rb"\.(tar(\.[a-z0-9]+)?|tgz|txz|tzst)$")
_COMPANION = re.compile(rb"(rootfs|meta|metadata|lxd|incus|config|templates|create-message|SHA256SUMS)(\..+)?$")


class Wrapping(NamedTuple):
    """The format around a root filesystem, and the member by which it was detected."""

    kind: Literal["archive", "directory", "oci", "docker"]
    path: bytes


def wrapping(survey: Survey) -> Wrapping | None:
    """Return the format around the root filesystem; None if the archive may be a root filesystem itself.

    Members that fit created do not count: with them every archive would look like a root filesystem.
    """
    if any(survey.type(path) is not None and path not in survey.made for path in (b"etc", b"usr", b"sbin", b"bin")):
        return None
    tops = dict.fromkeys(path.partition(b"/")[0] for path in survey.paths() if path not in survey.made)
    tops.pop(b"", None)
    if b"oci-layout" in tops and b"index.json" in tops:
        return Wrapping("oci", b"oci-layout")
    if b"manifest.json" in tops:
        return Wrapping("docker", b"manifest.json")
    parent = next(
        (top for top in tops if any(survey.type(top + below) for below in (b"/etc", b"/usr", b"/sbin"))), None
    )
    if parent is not None:
        return Wrapping("directory", parent)
    inner = next((top for top in tops if _ROOT.match(top)), None)
    if inner is not None and all(_COMPANION.match(top) for top in tops):
        return Wrapping("archive", inner)
    if len(tops) == 1 and _ARCHIVE.search(alone := next(iter(tops))):
        return Wrapping("archive", alone)
    return None


def is_proxmox_image(survey: Survey) -> bool:
    """Return whether Proxmox treats the archive as an OCI image."""
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
        yield Finding("contains the root filesystem as an archive inside the archive", found.path)
    elif found.kind == "directory":
        unified = subject.survey.type(b"metadata.yaml") is not None  # the unified image format of Incus and LXD
        hint = "run `lxcast repack FILE`, which extracts it; save a piped archive to a file first" if unified else ""
        message = "contains the root filesystem, which must be at the top level of the archive"
        yield Finding(message, found.path, hint=hint)


def _image(subject: Subject) -> Iterator[Finding]:
    found = wrapping(subject.survey)
    if found is None or found.kind not in ("docker", "oci"):
        return
    if is_proxmox_image(subject.survey):
        message = "is an OCI image: Proxmox VE 9.1 and later unpack it, older versions treat it as a root filesystem"
        yield Finding(message, found.path, "warning")
        yield from (Finding(problem, found.path) for problem in subject.survey.quirks.refused)
    else:
        kind = "an OCI image layout" if found.kind == "oci" else "an image archive of `docker save`"
        yield Finding(f"is {kind}: Proxmox would unpack its blobs as files of the container", found.path)


def _few_members(subject: Subject) -> Iterator[Finding]:
    members = subject.survey.members - len(subject.survey.made)
    if members < FEWEST_MEMBERS:
        level: Level = "warning" if members > 1 and subject.starts_program else "error"
        yield Finding(
            f"the archive has {members} members; a root filesystem has at least {FEWEST_MEMBERS}", level=level
        )


def _no_sbin(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if survey.type(b"sbin") not in (DIR, SYM, LNK) and not subject.starts_program:
        yield Finding("the directory /sbin with the init is missing", hint=subject.init_hint)


def _whiteouts(subject: Subject) -> Iterator[Finding]:
    for path in subject.survey.paths_with(b".wh."):
        parent, _, name = path.rpartition(b"/")
        if name.startswith(b".wh."):
            if name == b".wh..wh..opq":
                message = f"marks {printable(parent)} as opaque"
            else:
                message = f"marks {name[4:].decode('utf-8', 'backslashreplace')!r} as deleted"
            yield Finding(f"{message}: the archive is a layer of an image, or layers unpacked over each other", path)


WRAPPING = (
    Check(
        id="nested-archive",
        group="proxmox",
        heading="Root filesystem inside another archive or directory",
        why=(
            "Proxmox unpacks an archive once, as the root of the container. An archive with distrobuilder's "
            "rootfs.tar.xz and meta.tar.xz becomes a container with two files in it."
        ),
        find=_nested,
        archive=True,
        hint=(
            "for an archive in it run `lxcast repack FILE`; for a directory unpack it and run `lxcast build rootfs:DIR`"
        ),
    ),
    Check(
        id="image-archive",
        group="proxmox",
        heading="Container image instead of a root filesystem",
        why=(
            "Proxmox VE 9.1 and later treat an archive as an OCI image only if its name ends in .tar and tar lists "
            "oci-layout, index.json and blobs/ by exactly these names (PVE/LXC/Create.pm, archive_is_oci_format). "
            "Other images, such as compressed ones or those of `docker save`, are unpacked as a root filesystem, and "
            "the task succeeds."
        ),
        find=_image,
        archive=True,
        hint="run `lxcast build FILE`, which merges the layers of the image",
    ),
    Check(
        id="whiteouts",
        group="proxmox",
        heading="Whiteout files left by image layers",
        why=(
            "A layer marks a deleted file with a file named .wh.NAME (OCI image specification, layer.md). Only "
            "programs that merge layers handle these files. In a container the deleted files reappear, together with "
            "the markers."
        ),
        find=_whiteouts,
        archive=True,
        hint="build from the image or from the export of a container, which merge the layers",
    ),
    Check(
        id="few-members",
        group="proxmox",
        heading="Fewer than 10 members",
        why=(
            "Such a small archive is a failed export or not a root filesystem. Proxmox rejects it as a foreign archive "
            "to restore (PVE/LXC/Create.pm, check_tar_archive) but accepts it as a template."
        ),
        find=_few_members,
        hint="list it with `tar -t`; `docker export` of an empty or wrong container creates such a file",
    ),
    Check(
        id="no-sbin",
        group="proxmox",
        heading="No sbin",
        why=(
            "A container starts /sbin/init. Proxmox's test of foreign archives requires sbin as a directory or link "
            "(PVE/LXC/Create.pm, check_tar_archive)."
        ),
        find=_no_sbin,
        hint="install an init system (systemd-sysv, openrc); if /usr/sbin exists, make /sbin a link to it",
    ),
)
