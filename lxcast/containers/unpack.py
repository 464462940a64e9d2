"""Unpacks a template for containers of this host, as Proxmox VE does (pve-container, PVE/LXC/Create.pm)."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import ContainerError

DECOMPRESSORS = {".tar.zst": "--zstd", ".tar.gz": "-z", ".tar.xz": "-J", ".tar.bz2": "-j", ".tar": ""}
"""Suffix -> option of tar; Proxmox decides by the name of the file, too."""

_PROGRAMS = {"--zstd": "zstd", "-z": "gzip", "-J": "xz", "-j": "bzip2"}

_OPTIONS = (
    *("--one-file-system", "-p", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*"),
    *("--xattrs-include=security.capability", "--warning=no-file-ignored", "--warning=no-xattr-write"),
    *("--skip-old-files", "--anchored", "--exclude", "./dev/*"),
)
"""What Proxmox passes to tar."""


@dataclass(frozen=True, slots=True)
class IdMap:
    """The ids of this host that the ids 0 to count - 1 of a container are mapped to."""

    first: int = 100_000
    count: int = 65_536

    def as_map(self) -> str:
        """Return the content of /proc/PID/uid_map (user_namespaces(7))."""
        return f"0 {self.first} {self.count}\n"


def delegated(file: str = "/etc/subuid") -> IdMap | None:
    """Return the first range of ids that root may map (subuid(5)), None if there is none."""
    try:
        lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        user, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if user in ("root", "0") and first.isdigit() and count.isdigit() and int(count) >= 65_536:
            return IdMap(int(first))
    return None


def missing_programs(template: Path) -> list[str]:
    """Return the programs that unpacking needs and this host lacks."""
    option = next((option for suffix, option in DECOMPRESSORS.items() if template.name.endswith(suffix)), "")
    return [name for name in ("tar", "nsenter", _PROGRAMS.get(option, "tar")) if shutil.which(name) is None]


def unpack(template: Path, root: Path, ids: IdMap | None) -> None:
    """Unpack a template into a new directory, with the owners mapped unless `ids` is None. Raises ContainerError.

    tar runs in a user namespace in which only these ids exist: nothing in the archive can get an id of the host.
    """
    option = next(option for suffix, option in DECOMPRESSORS.items() if template.name.endswith(suffix))
    root.mkdir(mode=0o755)
    if ids:
        os.chown(root, ids.first, ids.first)
    command = ["tar", "xpf", "-", *filter(None, [option]), *_OPTIONS, "-C", "."]
    with template.open("rb") as archive, _namespace(ids) as prefix:
        done = subprocess.run(  # noqa: S603 - an argument list of our own
            [*prefix, *command], stdin=archive, cwd=root, capture_output=True, text=True, errors="replace", check=False
        )
    if done.returncode:
        raise ContainerError(
            f"unpacking {template.name} failed: {done.stderr.strip()[-1000:]}",
            hint=f"check it: lxcast check {template}",
        )


@contextmanager
def _namespace(ids: IdMap | None) -> Iterator[Sequence[str]]:
    """Make a user namespace with these ids; yield the words that run a command as root in it.

    Root may write the map itself; newuidmap would ask /etc/subuid.
    """
    if ids is None:
        yield []
        return
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S607
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()  # the namespace exists now
        for file in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{file}").write_text(ids.as_map(), encoding="ascii")
        yield ["nsenter", "--user", "--target", str(holder.pid), "--setuid", "0", "--setgid", "0", "--"]
        holder.stdin.close()
