"""Checks of how the members are written: what makes Proxmox's tar fail, or lose members without a word.

Proxmox unpacks with `tar xpf - --one-file-system -p --sparse --numeric-owner --acls --xattrs --skip-old-files
--anchored --exclude './dev/*'`, unprivileged as a user namespace's root (PVE/LXC/Create.pm), and any exit code but 0
fails the create. What is said of GNU tar here was tried with 1.34.
"""

import re
from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.survey import MAX_ID, Survey
from lxcast.tar.member import DIR, SYM, printable

MAX_WINDOW = 27
"""zstd's decoder refuses larger windows (2^27 bytes are 128 MiB) unless it is told --long=31, which tar does not."""

_SUFFIXES = {".tar": "tar", ".tar.bz2": "bzip2", ".tar.gz": "gzip", ".tar.xz": "xz", ".tar.zst": "zstd"}
_SUFFIX = re.compile(r"\.tar(\.[a-z0-9]+)?$", re.IGNORECASE)
_LONGEST_NAME = 255 - len("xy:vztmpl/")


def _devices(subject: Subject) -> Iterator[Finding]:
    for path in subject.survey.devices:
        if not path.startswith(b"dev/"):
            yield Finding("is a device node, which an unprivileged container may not make", path)
        elif subject.survey.quirks.unprefixed:
            yield Finding("is a device node whose name lacks the './' that makes Proxmox leave it out", path)


def _big_ids(subject: Subject) -> Iterator[Finding]:
    for path, uid, gid in subject.survey.big_ids:
        yield Finding(f"owned by {uid}:{gid}, above {MAX_ID}", path)


def _names(subject: Subject) -> Iterator[Finding]:
    for name in subject.survey.quirks.absolute:
        if b".." in name.split(b"/"):
            yield Finding("the name holds '..': tar refuses the member and fails", name)
        else:
            yield Finding("the name is absolute: tar cuts the '/' off", name, "warning")
    for path, what in subject.survey.quirks.too_long:
        yield Finding(f"has {what}: tar fails", path, hint="no filesystem of Linux holds it: make the archive again")


def _repeated(subject: Subject) -> Iterator[Finding]:
    for path in dict.fromkeys(subject.survey.quirks.repeated):
        if subject.survey.type(path) == DIR:
            yield Finding("the folder stands more than once: what the first says of it counts", path, "warning")
        else:
            yield Finding("stands more than once: the first one wins, the later ones are lost", path)


def _forward_links(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    for path in survey.quirks.forward_links:
        target = survey.hard_links.get(path)
        if target is None:
            continue  # the path came again, as something else
        where = "comes later" if survey.type(target) else "is not in the archive"
        if survey.type(target) == DIR:
            where = "is a folder"
        yield Finding(f"is a hard link to {printable(target)}, which {'is itself' if target == path else where}", path)


def _through_links(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    parents = dict.fromkeys(path.rpartition(b"/")[0] for path in survey.paths())
    parents.pop(b"", None)
    # A parent that is no member of its own is judged by the nearest folder above that is one.
    culprits = dict.fromkeys(parent for parent in parents if survey.type(parent) != DIR)
    blocked = {above for path in culprits if (above := _nearest(survey, path)) is not None}
    if not blocked:
        return
    passed: set[bytes] = set()
    for path in survey.paths():
        passed.add(path)
        above = _nearest(survey, path.rpartition(b"/")[0])
        if above in blocked:
            reason = _in_the_way(survey, above, passed, printable(path))
            if reason:
                blocked.discard(above)
                yield Finding(reason, above)


def _nearest(survey: Survey, path: bytes) -> bytes | None:
    """Return the nearest member at or above `path` if it is no folder."""
    while path:
        type = survey.type(path)
        if type is not None:
            return None if type == DIR else path
        path = path.rpartition(b"/")[0]
    return None


def _in_the_way(survey: Survey, path: bytes, passed: set[bytes], below: str) -> str:
    """Say why the member `below` the non-folder `path` cannot be unpacked; "" where it is a link that tar can follow.

    `passed` holds the members until then. tar makes a link that is absolute or holds '..' only at the very end, with an
    empty file in its place until then (GNU tar, extract.c, create_placeholder_file).
    """
    if survey.type(path) != SYM:
        return f"is no folder, but {below} lies below it"
    if path not in passed:
        return f"is a link, but {below} came first and made it a folder: tar leaves the link out"
    target = survey.links[path]
    if target.startswith(b"/") or b".." in target.split(b"/"):
        text = target.decode("utf-8", "backslashreplace")
        return f"is a link to {text}, which tar makes last: {below} cannot go through it"
    found = survey.resolve_from_host(path)
    if found is None or found not in passed or survey.type(found) != DIR:
        return f"is a link that leads to no folder yet when {below} comes"
    return ""


def _window(subject: Subject) -> Iterator[Finding]:
    log = subject.survey.quirks.window_log
    if log > MAX_WINDOW:
        yield Finding(f"the zstd window is 2^{log} bytes, and Proxmox's tar reads 2^{MAX_WINDOW} at most")


def _compression(subject: Subject) -> Iterator[Finding]:
    quirks = subject.survey.quirks
    match = _SUFFIX.search(quirks.file_name)
    expected = _SUFFIXES.get(match[0].lower()) if match else None
    if expected and quirks.compression and quirks.compression != expected:
        yield Finding(
            f"{quirks.file_name} is {quirks.compression} inside, and Proxmox reads it as {expected} by its name"
        )


def _file_name(subject: Subject) -> Iterator[Finding]:
    name = subject.survey.quirks.file_name.rpartition("/")[2]
    if not name:
        return
    match = _SUFFIX.search(name)
    if match is None or match[0].lower() not in _SUFFIXES:
        yield Finding(f"{name!r} does not end in {', '.join(sorted(_SUFFIXES))}: the upload is refused")
    elif match[0] != match[0].lower():
        yield Finding(f"{name!r} ends in upper case: it can be uploaded, but no container made of it")
    elif _SUFFIX.search(name[: match.start()]):
        yield Finding(f"{name!r} carries an ending twice", level="warning")
    elif match[0] == ".tar":
        hint = "older nodes refuse the upload: `lxcast build FILE` compresses it"
        yield Finding(f"{name!r} is a plain .tar, which Proxmox VE takes from 9.1 on", level="warning", hint=hint)
    if name.startswith("."):
        yield Finding(f"{name!r} begins with a dot: Proxmox never lists it")
    stored = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if stored != name:
        yield Finding(f"{name!r} would be stored as {stored!r}", level="warning")
    if len(name) > _LONGEST_NAME:
        yield Finding(f"the name has {len(name)} characters, and a volume id with its storage may have 255")


ARCHIVE = (
    Check(
        id="device-nodes",
        group="proxmox",
        heading="Device nodes",
        why=(
            "mknod(2) is refused in a user namespace, and the create fails with it. Only names that match './dev/*' "
            "are left out, so `docker export`, whose names have no './', fails at dev/console."
        ),
        find=_devices,
        archive=True,
        hint="`lxcast build FILE` leaves them out by default; a container gets its devices from LXC",
    ),
    Check(
        id="big-ids",
        group="proxmox",
        heading="Owners above 65535",
        why=(
            "An unprivileged container has the ids 0 to 65535 (u:0:100000:65536, PVE/LXC/Create.pm); tar answers "
            "'Cannot change ownership: Invalid argument' to any other and the create fails."
        ),
        find=_big_ids,
        archive=True,
        hint="chown the files in the image; such ids come from a user namespace or a directory service of the builder",
    ),
    Check(
        id="member-names",
        group="proxmox",
        heading="Absolute names, names with '..', and names that are too long",
        why=(
            "tar refuses a name with '..' and exits with 2; of an absolute one it says that it removes the '/'. Linux "
            "takes 255 bytes for a name and 4095 for a path or a link's target; tar fails on what is longer."
        ),
        find=_names,
        archive=True,
        hint="`lxcast build FILE` writes every name as ./path",
    ),
    Check(
        id="repeated-paths",
        group="proxmox",
        heading="Paths that stand twice",
        why="With --skip-old-files the first of a path stays: layers put one after the other give the oldest files.",
        find=_repeated,
        archive=True,
        hint="`lxcast build FILE` keeps the last of each path, as a plain tar would",
    ),
    Check(
        id="forward-hard-links",
        group="proxmox",
        heading="Hard links before their target, or to no file",
        why=(
            "tar cannot link to a file that is not there yet, and Linux not to a folder: 'Cannot hard link', and the "
            "create fails."
        ),
        find=_forward_links,
        archive=True,
        hint="write the target first; one that is missing was left out when the archive was made",
    ),
    Check(
        id="through-links",
        group="proxmox",
        heading="Members below a link or a file",
        why=(
            "tar makes a link that is absolute or holds '..' at the very end and puts an empty file there until then, "
            "so a member below it fails with 'Not a directory'. A folder that is there already is never made a link."
        ),
        find=_through_links,
        archive=True,
        hint="write the members below the folder that the link leads to",
    ),
    Check(
        id="zstd-window",
        group="proxmox",
        heading="zstd window above 128 MiB",
        why="tar runs zstd without --long, which then answers 'Window size larger than maximum' (zstd(1)).",
        find=_window,
        archive=True,
        hint="compress again with --long=27 or less; `lxcast build FILE` does",
    ),
    Check(
        id="compression",
        group="proxmox",
        heading="Compression other than the file's name says",
        why="Proxmox chooses tar's -z, -J, -j or --zstd by the name of the file (PVE/LXC/Create.pm).",
        find=_compression,
        archive=True,
        hint="rename the file, or compress it again",
    ),
    Check(
        id="file-name",
        group="proxmox",
        heading="File names that Proxmox refuses or changes",
        why=(
            "A template ends in .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2. The upload takes upper case too, the "
            "create does not; all but letters, digits, '_', '.' and '-' becomes '_'; a volume id has 255 characters "
            "at most (PVE/Storage.pm, PVE/LXC/Create.pm)."
        ),
        find=_file_name,
        archive=True,
        hint="rename it: lower case, and one ending, of its compression, such as debian-12-v1.tar.zst",
    ),
)
