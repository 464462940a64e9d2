"""Small root filesystems, made of members."""

from collections.abc import Iterable

from lxcast.rootfs.checks import reads
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import Member, directory, regular, symlink

_HEADERS = {"amd64": (2, 0x3E), "arm64": (2, 0xB7), "i386": (1, 3), "armhf": (1, 0x28), "s390x": (2, 0x16)}


def elf(arch: str = "amd64") -> bytes:
    """Return the beginning of a position-independent executable, more of it than a survey keeps."""
    bits, machine = _HEADERS[arch]
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + b"\x03\0" + machine.to_bytes(2, "little") + bytes(44)


def program(path: bytes, arch: str = "amd64") -> Member:
    return regular(path, elf(arch), 0o755)


def folders(*paths: str) -> list[Member]:
    return [directory(path.encode()) for path in paths]


def minimal_debian(arch: str = "amd64") -> list[Member]:
    """Return a merged-/usr Debian 12 with systemd, ifupdown and sshd that every check passes."""
    return [
        *folders("", "boot", "dev", "etc", "etc/network", "etc/ssh", "etc/systemd", "etc/systemd/system"),
        *folders("etc/systemd/system/multi-user.target.wants"),
        *folders("home", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/lib/systemd"),
        *folders(
            "usr/lib/x86_64-linux-gnu",
            "usr/lib/x86_64-linux-gnu/systemd",
            "usr/lib/systemd/system",
            "usr/sbin",
            "var",
            "var/lib",
        ),
        symlink(b"bin", b"usr/bin"),
        symlink(b"lib", b"usr/lib"),
        symlink(b"sbin", b"usr/sbin"),
        regular(b"etc/debian_version", b"12.7\n"),
        regular(b"etc/hostname", b""),
        regular(b"etc/hosts", b"127.0.0.1\tlocalhost\n"),
        regular(b"etc/machine-id", b""),
        regular(b"etc/network/interfaces", b"auto lo\niface lo inet loopback\n"),
        symlink(b"etc/os-release", b"../usr/lib/os-release"),
        regular(b"etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        regular(b"etc/resolv.conf", b""),
        regular(b"etc/shadow", b"root:*:19000:0:99999:7:::\n", 0o640),
        regular(b"etc/ssh/sshd_config", b"PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM yes\n"),
        symlink(b"etc/systemd/system/multi-user.target.wants/ssh.service", b"/lib/systemd/system/ssh.service"),
        program(b"usr/bin/bash", arch),
        program(b"usr/bin/dash", arch),
        symlink(b"usr/bin/sh", b"dash"),
        regular(b"usr/lib/os-release", b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'),
        regular(b"usr/lib/systemd/system/ssh.service", b"[Service]\nExecStart=/usr/sbin/sshd -D\n"),
        program(b"usr/lib/systemd/systemd", arch),
        regular(b"usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", elf(arch)),
        program(b"usr/sbin/ifup", arch),
        symlink(b"usr/sbin/init", b"/lib/systemd/systemd"),
        program(b"usr/sbin/sshd", arch),
    ]


def without(members: Iterable[Member], *paths: bytes) -> list[Member]:
    """Return the members but those at and below the paths."""
    return [m for m in members if not any(m.path == path or m.path.startswith(path + b"/") for path in paths)]


def replaced(members: Iterable[Member], *new: Member) -> list[Member]:
    """Return the members with some put in the place of those with the same path, or at the end."""
    by_path = {member.path: member for member in members}
    by_path.update({member.path: member for member in new})
    return list(by_path.values())


def surveyed(members: Iterable[Member]) -> Survey:
    """Return what a survey for every check sees of the members."""
    survey = Survey(reads=reads())
    for member in members:
        survey.see(member)
    return survey
