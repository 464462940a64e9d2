"""Checks of the archive: properties that make Proxmox's tar fail or drop members silently.

Proxmox unpacks with `tar xpf - --one-file-system -p --sparse --numeric-owner --acls --xattrs --skip-old-files
--anchored --exclude './dev/*'`, for unprivileged containers as root of a user namespace (PVE/LXC/Create.pm). Container
creation fails if tar exits with any code but 0. Statements about GNU tar were tested with version 1.34.
"""

import re
from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.survey import MAX_ID, Survey
from lxcast.tar.member import DIR, SYM, printable

MAX_WINDOW = 27
"""zstd rejects larger windows (2^27 bytes are 128 MiB) without --long=31, which tar does not pass."""

_SUFFIXES = {".tar": "tar", ".tar.bz2": "bzip2", ".tar.gz": "gzip", ".tar.xz": "xz", ".tar.zst": "zstd"}
_SUFFIX = re.compile(r"\.tar(\.[a-z0-9]+)?$", re.IGNORECASE)
_LONGEST_NAME = 255 - len("xy:vztmpl/")


def _devices(subject: Subject) -> Iterator[Finding]:
    for path in subject.survey.devices:
        if not path.startswith(b"dev/"):
            yield Finding("is a device node, which an unprivileged container cannot create", path)
        elif path in subject.survey.quirks.unexcluded:
            yield Finding("is a device node whose name does not start with './dev/', so Proxmox does not skip it", path)


def _big_ids(subject: Subject) -> Iterator[Finding]:
    for path, uid, gid in subject.survey.big_ids:
        yield Finding(f"is owned by {uid}:{gid}; the highest id is {MAX_ID}", path)


def _names(subject: Subject) -> Iterator[Finding]:
    for name in subject.survey.quirks.absolute:
        if b".." in name.split(b"/"):
            yield Finding("the name contains '..': tar rejects the member and fails", name)
        else:
            yield Finding("the name is absolute: tar removes the leading '/'", name, "warning")
    for path, what in subject.survey.quirks.too_long:
        yield Finding(
            f"has {what}: tar fails", path, hint="Linux does not support such a path; create the archive again"
        )


def _repeated(subject: Subject) -> Iterator[Finding]:
    for path in dict.fromkeys(subject.survey.quirks.repeated):
        if subject.survey.type(path) == DIR:
            yield Finding("the directory occurs more than once: tar uses the first entry", path, "warning")
        else:
            yield Finding("occurs more than once: tar keeps the first entry and skips the others", path)


def _forward_links(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    for path in survey.quirks.forward_links:
        target = survey.hard_links.get(path)
        if target is None:
            continue  # the path occurred again with another type
        where = "comes later" if survey.type(target) else "is not in the archive"
        if survey.type(target) == DIR:
            where = "is a directory"
        yield Finding(f"is a hard link to {printable(target)}, which {'is itself' if target == path else where}", path)


def _links_to_dev(subject: Subject) -> Iterator[Finding]:
    quirks = subject.survey.quirks
    for path, target in subject.survey.hard_links.items():
        skipped = target.startswith(b"dev/") and target not in quirks.unexcluded and not quirks.unprefixed
        if skipped and not path.startswith(b"dev/"):
            yield Finding(f"is a hard link to {printable(target)}, which Proxmox does not unpack", path)


def _through_links(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    parents = dict.fromkeys(path.rpartition(b"/")[0] for path in survey.paths())
    parents.pop(b"", None)
    # A parent that is not a member itself is represented by its nearest ancestor that is one.
    culprits = dict.fromkeys(parent for parent in parents if survey.type(parent) != DIR)
    blocked = {above for path in culprits if (above := _nearest(survey, path)) is not None}
    if not blocked:
        return
    earlier: set[bytes] = set()
    for path in survey.paths():
        earlier.add(path)
        above = _nearest(survey, path.rpartition(b"/")[0])
        if above in blocked:
            reason = _blocking_reason(survey, above, earlier, printable(path))
            if reason:
                blocked.discard(above)
                yield Finding(reason, above)


def _nearest(survey: Survey, path: bytes) -> bytes | None:
    """Return the nearest member at or above `path` if it is not a directory."""
    while path:
        type = survey.type(path)
        if type is not None:
            return None if type == DIR else path
        path = path.rpartition(b"/")[0]
    return None


def _blocking_reason(survey: Survey, path: bytes, earlier: set[bytes], below: str) -> str:
    """Return why tar cannot unpack the member `below` under `path`; "" if `path` is a link that tar can follow.

    `path` is not a directory; `earlier` are the members up to this point. tar creates links that are absolute or
    contain '..' at the very end and uses an empty file as a placeholder (GNU tar, extract.c, create_placeholder_file).
    """
    if survey.type(path) != SYM:
        return f"is not a directory, but {below} is below it"
    if path not in earlier:
        return f"is a link, but {below} comes first and makes it a directory: tar skips the link"
    target = survey.links[path]
    if target.startswith(b"/") or b".." in target.split(b"/"):
        text = target.decode("utf-8", "backslashreplace")
        return f"is a link to {text}, which tar creates last: {below} cannot be unpacked through it"
    found = survey.resolve_from_host(path)
    if found is None or found not in earlier or survey.type(found) != DIR:
        return f"is a link whose target is not yet a directory when {below} is unpacked"
    return ""


def _window(subject: Subject) -> Iterator[Finding]:
    log = subject.survey.quirks.window_log
    if log > MAX_WINDOW:
        yield Finding(f"the zstd window has 2^{log} bytes; Proxmox's tar accepts at most 2^{MAX_WINDOW}")


def _compression(subject: Subject) -> Iterator[Finding]:
    quirks = subject.survey.quirks
    match = _SUFFIX.search(quirks.file_name)
    expected = _SUFFIXES.get(match[0].lower()) if match else None
    if expected and quirks.compression and quirks.compression != expected:
        yield Finding(
            f"{quirks.file_name} is compressed with {quirks.compression}, but Proxmox expects {expected} from its name"
        )


def _file_name(subject: Subject) -> Iterator[Finding]:
    name = subject.survey.quirks.file_name.rpartition("/")[2]
    if not name:
        return
    match = _SUFFIX.search(name)
    if match is None or match[0].lower() not in _SUFFIXES:
        yield Finding(f"{name!r} does not end in {', '.join(sorted(_SUFFIXES))}: Proxmox rejects the upload")
    elif match[0] != match[0].lower():
        yield Finding(
            f"{name!r} has an upper-case extension: Proxmox accepts the upload but creates no container from it"
        )
    elif _SUFFIX.search(name[: match.start()]):
        yield Finding(f"{name!r} has two extensions", level="warning")
    elif match[0] == ".tar":
        hint = "older nodes reject the upload; `lxcast build FILE` compresses it"
        yield Finding(f"{name!r} is a plain .tar, which Proxmox VE accepts since 9.1", level="warning", hint=hint)
    if name.startswith("."):
        yield Finding(f"{name!r} starts with a dot: Proxmox never lists it")
    stored = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if stored != name:
        yield Finding(f"{name!r} would be stored as {stored!r}", level="warning")
    if len(name) > _LONGEST_NAME:
        yield Finding(f"the name has {len(name)} characters; a volume id with its storage can have 255")


ARCHIVE = (
    Check(
        id="device-nodes",
        group="proxmox",
        heading="Device nodes",
        why=(
            "mknod(2) is not permitted in a user namespace, so tar fails and the container is not created. Proxmox "
            "skips only names that match './dev/*'. Names in an archive of `docker export` have no './', so it fails "
            "at dev/console."
        ),
        find=_devices,
        archive=True,
        hint="run `lxcast repack FILE`, which leaves them out; a container gets its devices from LXC",
    ),
    Check(
        id="big-ids",
        group="proxmox",
        heading="Owners above 65535",
        why=(
            "An unprivileged container has the ids 0 to 65535 (u:0:100000:65536, PVE/LXC/Create.pm). For any other id "
            "tar fails with 'Cannot change ownership: Invalid argument', and the container is not created."
        ),
        find=_big_ids,
        archive=True,
        hint="chown the files in the image; such ids come from a user namespace or directory service of the build host",
    ),
    Check(
        id="member-names",
        group="proxmox",
        heading="Absolute names, names with '..' and names that are too long",
        why=(
            "tar rejects a name with '..' and exits with 2. It removes the leading '/' of an absolute name with a "
            "message. Linux allows 255 bytes for a name and 4095 for a path or link target; tar fails for longer ones."
        ),
        find=_names,
        archive=True,
        hint="`lxcast build FILE` writes every name as ./path",
    ),
    Check(
        id="repeated-paths",
        group="proxmox",
        heading="Paths that occur more than once",
        why=(
            "With --skip-old-files tar keeps the first entry of a path, so concatenated layers result in the oldest "
            "files."
        ),
        find=_repeated,
        archive=True,
        hint="`lxcast build FILE` keeps the last entry of each path, as tar does without that option",
    ),
    Check(
        id="forward-hard-links",
        group="proxmox",
        heading="Hard links before their target or without one",
        why=(
            "tar cannot create a hard link to a file that does not exist yet, and Linux does not allow hard links to "
            "directories. tar fails with 'Cannot hard link', and the container is not created."
        ),
        find=_forward_links,
        archive=True,
        hint=(
            "create the archive again with the target first and nothing left out; `lxcast build FILE` reorders members"
        ),
    ),
    Check(
        id="links-to-dev",
        group="proxmox",
        heading="Hard links to members below dev",
        why=(
            "Proxmox passes --exclude './dev/*' to tar, so the target of such a link is not unpacked. tar fails with "
            "'Cannot hard link', and the container is not created."
        ),
        find=_links_to_dev,
        archive=True,
        hint="run `lxcast build FILE`, which keeps the content under the name of the link",
    ),
    Check(
        id="through-links",
        group="proxmox",
        heading="Members below a link or a file",
        why=(
            "tar creates links that are absolute or contain '..' at the very end and puts an empty file in their place "
            "until then, so a member below such a link fails with 'Not a directory'. tar never replaces an existing "
            "directory by a link."
        ),
        find=_through_links,
        archive=True,
        hint="store the members under the directory that the link points to",
    ),
    Check(
        id="zstd-window",
        group="proxmox",
        heading="zstd window above 128 MiB",
        why="tar runs zstd without --long, which then fails with 'Window size larger than maximum' (zstd(1)).",
        find=_window,
        archive=True,
        hint="compress with --long=27 or less, or run `lxcast repack FILE`",
    ),
    Check(
        id="compression",
        group="proxmox",
        heading="Compression that does not match the file name",
        why="Proxmox selects tar's -z, -J, -j or --zstd from the name of the file (PVE/LXC/Create.pm).",
        find=_compression,
        archive=True,
        hint="rename the file or compress it again",
    ),
    Check(
        id="file-name",
        group="proxmox",
        heading="File names that Proxmox rejects or changes",
        why=(
            "The name of a template ends in .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2. The upload also accepts "
            "upper case, but container creation does not. Characters other than letters, digits, '_', '.' and '-' "
            "become '_'. A volume id can have 255 characters (PVE/Storage.pm, PVE/LXC/Create.pm)."
        ),
        find=_file_name,
        archive=True,
        hint="rename it to lower case with the one extension of its compression, such as debian-12-v1.tar.zst",
    ),
)
