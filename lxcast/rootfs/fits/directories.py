"""Directories that a system expects even if they are empty."""

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.tar.member import printable

# Filesystem Hierarchy Standard 3.0, with the modes of Debian's base-files. Parents first. Paths that distributions
# replace by links (bin, lib, sbin, var/run, var/lock) are not listed.
DIRECTORIES = (
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


def _standard_directories(fitting: Fitting) -> None:
    for path, mode in DIRECTORIES:
        if fitting.type(path) is None:
            fitting.directory(path, mode, f"created the directory {printable(path)}")


FITS = (
    Fit(
        "standard-folders",
        True,
        "create missing standard directories",
        "Small images lack mount points and temporary directories. Without /dev, /proc and /sys no container starts,"
        " and without root's home Proxmox cannot install SSH keys. Existing directories and links stay.",
        _standard_directories,
    ),
)
