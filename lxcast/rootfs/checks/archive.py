"""Checks of how the members are written: what makes Proxmox's tar fail, or lose members without a word."""

from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.survey import MAX_ID


def _big_ids(subject: Subject) -> Iterator[Finding]:
    for path, uid, gid in subject.survey.big_ids:
        yield Finding(f"owned by {uid}:{gid}, above {MAX_ID}", path)


ARCHIVE = (
    Check(
        id="big-ids",
        group="proxmox",
        heading="Owners above 65535",
        why=(
            "An unprivileged container has the ids 0 to 65535 (u:0:100000:65536, PVE/LXC/Create.pm); tar answers "
            "'Cannot change ownership: Invalid argument' to any other and the create fails."
        ),
        judge=_big_ids,
        hint="chown the files in the image; such ids come from a user namespace or a directory service of the builder",
    ),
)
