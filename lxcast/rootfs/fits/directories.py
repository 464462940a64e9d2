"""The folders that a system expects to be there, though nothing lies in them."""

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.tar.member import printable

# Filesystem Hierarchy Standard 3.0; modes as Debian's base-files has them. Parents first. What distributions make
# links (bin, lib, sbin, var/run, var/lock) is left to them.
FOLDERS = (
    *((path, 0o755) for path in (b"boot", b"dev", b"etc", b"home", b"media", b"mnt", b"opt")),
    (b"proc", 0o555),
    (b"root", 0o700),
    (b"run", 0o755),
    (b"srv", 0o755),
    (b"sys", 0o555),
    (b"tmp", 0o1777),
    *((path, 0o755) for path in (b"usr", b"var", b"var/cache", b"var/lib", b"var/log", b"var/spool")),
    (b"var/tmp", 0o1777),
)


def _standard_folders(fitting: Fitting) -> None:
    for path, mode in FOLDERS:
        if fitting.type(path) is None:
            fitting.folder(path, mode, f"made the folder {printable(path)}")


FITS = (
    Fit(
        "standard-folders",
        True,
        "standard folders that are missing",
        "Small images lack mount points and temporary folders: without /dev, /proc and /sys no container starts, and"
        " without root's home Proxmox cannot put its keys. A folder or link that is there stays as it is.",
        _standard_folders,
    ),
)
