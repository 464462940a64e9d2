"""Every row of the groups proxmox and identity: what it finds, and what comes near and is fine."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.rootfs.checks import CHECKS, Subject, run_checks
from lxcast.tar.member import BLK, CHR, DIR, LNK, REG, Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import elf, folders, minimal_debian, program, replaced, surveyed, without

DEBIAN = minimal_debian()


def debian(*more: Member) -> list[Member]:
    return replaced(DEBIAN, *more)


def distribution(release: str, *more: Member) -> list[Member]:
    """Make another distribution of Debian's tree, without any of its network managers."""
    bare = without(DEBIAN, b"etc/debian_version", b"usr/sbin/ifup")
    return replaced(bare, regular(b"usr/lib/os-release", release.encode()), *more)


FEDORA = distribution("ID=fedora\nVERSION_ID=41\n")
ALPINE = distribution("ID=alpine\nVERSION_ID=3.20.3\n", symlink(b"usr/sbin/ifup", b"/bin/busybox"))
UBUNTU = distribution("ID=ubuntu\n", regular(b"etc/lsb-release", b"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\n"))
NETWORKD = program(b"usr/lib/systemd/systemd-networkd")
NM = program(b"usr/sbin/NetworkManager")
NIX = [*folders("nix", "nix/store"), program(b"nix/store/bash")]


def el(version: str) -> list[Member]:
    return distribution("ID=rocky\n", regular(b"etc/redhat-release", f"Rocky Linux release {version}\n".encode()))


def init(*members: Member) -> list[Member]:
    return replaced(without(DEBIAN, b"usr/sbin/init"), *members)


UNIT = b"usr/lib/systemd/system/x.service"


def busybox_init(inittab: bytes, *more: Member) -> list[Member]:
    return init(program(b"usr/sbin/init"), regular(b"etc/inittab", inittab), *more)


def openrc_script(path: bytes) -> Member:
    return regular(path, b"#!/sbin/openrc-run\n", 0o755)


def enabled(service: str, *more: str) -> list[Member]:
    text = "\n".join(("[Unit]", *more, "[Service]", service, ""))
    link = symlink(b"etc/systemd/system/multi-user.target.wants/x.service", b"/" + UNIT)
    return debian(regular(UNIT, text.encode()), link)


def unmanaged(members: list[Member]) -> list[Member]:
    """Take away what Proxmox knows a distribution by."""
    return without(members, b"etc/os-release", b"usr/lib/os-release", b"etc/debian_version")


def systemd(version: str) -> list[Member]:
    return [
        *without(DEBIAN, b"usr/lib/x86_64-linux-gnu/systemd"),
        *([regular(b"usr/lib/systemd/libsystemd-shared-%s.so" % version.encode(), elf())] if version else []),
    ]


@dataclass
class Case:
    check: str
    members: Sequence[Member]
    path: bytes | None = None
    part: str = ""
    level: str = "error"
    quirks: dict[str, object] = field(default_factory=dict)
    arch: str = ""

    def findings(self) -> list[tuple[str, bytes | None, str]]:
        survey = surveyed(self.members)
        for name, value in self.quirks.items():
            setattr(survey.quirks, name, value)
        findings = run_checks(Subject(survey, self.arch), "golden")
        return [(finding.level, finding.path, finding.message) for finding in findings if finding.check == self.check]


OCI = [regular(b"oci-layout", b"{}"), regular(b"index.json", b"{}"), *folders("blobs", "blobs/sha256")]
SAVED = [regular(b"manifest.json", b"[]"), directory(b"abc"), regular(b"abc/layer.tar", b"")]
BIG = Member(b"usr/big", REG, 0o644, size=5 << 30)

TOO_LONG = "a name of 256 bytes, the limit is 255"

FOUND = [
    # Kind of archive
    Case("nested-archive", [regular(b"rootfs.tar.xz", b""), regular(b"meta.tar.xz", b"")], b"rootfs.tar.xz", "archive"),
    Case("nested-archive", [regular(b"rootfs.tar", b""), regular(b"metadata.yaml", b"")], b"rootfs.tar", "archive"),
    Case("nested-archive", [regular(b"debian-12-v1.tar.zst", b"")], b"debian-12-v1.tar.zst", "archive"),
    Case("nested-archive", folders("rootfs", "rootfs/etc", "rootfs/usr", "templates"), b"rootfs", "at the top"),
    Case("nested-archive", folders("debian/etc", "debian/usr/bin"), b"debian", "at the top"),
    Case("image-archive", SAVED, b"manifest.json", "docker save"),
    Case("image-archive", OCI, b"oci-layout", "layout", quirks={"compression": "zstd", "unprefixed": 4}),
    Case("image-archive", OCI, b"oci-layout", "layout", quirks={"file_name": "x.tar.gz", "unprefixed": 4}),
    Case("image-archive", OCI, b"oci-layout", "layout", quirks={"compression": "tar"}),
    Case("image-archive", OCI, b"oci-layout", "9.1", "warning", quirks={"file_name": "x.tar", "unprefixed": 4}),
    Case("whiteouts", debian(regular(b"etc/.wh.motd", b"")), b"etc/.wh.motd", "'motd' as deleted"),
    Case("whiteouts", debian(regular(b"etc/.wh..wh..opq", b"")), b"etc/.wh..wh..opq", "/etc as opaque"),
    Case("whiteouts", debian(regular(b".wh.srv", b"")), b".wh.srv", "'srv' as deleted"),
    Case("few-members", DEBIAN[:9], None, "9 members"),
    Case("few-members", [], None, "0 members"),
    Case("no-sbin", without(DEBIAN, b"sbin"), None, "sbin"),
    Case("no-sbin", debian(regular(b"sbin", b"")), None, "sbin"),
    # Form of the archive
    Case(
        "device-nodes", debian(Member(b"dev/null", CHR)), b"dev/null", "'./dev/'", quirks={"unexcluded": {b"dev/null"}}
    ),
    Case("device-nodes", debian(Member(b"var/loop0", BLK)), b"var/loop0", "unprivileged"),
    Case(
        "links-to-dev",
        debian(regular(b"dev/x", b""), Member(b"etc/y", LNK, link=b"dev/x")),
        b"etc/y",
        "/dev/x, which Proxmox does not unpack",
    ),
    Case("big-ids", debian(Member(b"srv", DIR, uid=65536)), b"srv", "65536:0"),
    Case("big-ids", debian(Member(b"srv", DIR, gid=4_000_000)), b"srv", "0:4000000"),
    Case("member-names", DEBIAN, b"etc/../x", "rejects", quirks={"absolute": [b"etc/../x"]}),
    Case("member-names", DEBIAN, b"/etc/x", "removes", "warning", quirks={"absolute": [b"/etc/x"]}),
    Case("member-names", DEBIAN, b"etc/x", "has a name of 256 bytes", quirks={"too_long": [(b"etc/x", TOO_LONG)]}),
    Case("repeated-paths", [*DEBIAN, regular(b"etc/hosts", b"x")], b"etc/hosts", "keeps the first entry"),
    Case("repeated-paths", [*DEBIAN, directory(b"etc")], b"etc", "directory", "warning"),
    Case(
        "forward-hard-links",
        [*DEBIAN, Member(b"etc/a", LNK, link=b"etc/b"), regular(b"etc/b", b"")],
        b"etc/a",
        "/etc/b, which comes later",
    ),
    Case("forward-hard-links", debian(Member(b"etc/a", LNK, link=b"etc/b")), b"etc/a", "is not in the archive"),
    Case("forward-hard-links", debian(Member(b"etc/a", LNK, link=b"etc/a")), b"etc/a", "/etc/a, which is itself"),
    Case("forward-hard-links", debian(Member(b"etc/a", LNK, link=b"usr")), b"etc/a", "/usr, which is a directory"),
    Case(
        "through-links", [*DEBIAN, symlink(b"a", b"/usr"), regular(b"a/x", b"")], b"a", "/usr, which tar creates last"
    ),
    Case(
        "through-links", [*DEBIAN, symlink(b"a", b"../usr"), regular(b"a/b/x", b"")], b"a", "/a/b/x cannot be unpacked"
    ),
    Case("through-links", [*DEBIAN, symlink(b"a", b"{x}/.."), regular(b"a/x", b"")], b"a", "{x}/.."),
    Case(
        "through-links",
        [*DEBIAN, symlink(b"a", b"b"), regular(b"a/x", b""), directory(b"b")],
        b"a",
        "not yet a directory",
    ),
    Case("through-links", [*DEBIAN, symlink(b"a", b"gone"), regular(b"a/x", b"")], b"a", "not yet a directory"),
    Case(
        "through-links",
        [*DEBIAN, symlink(b"b", b"/usr"), symlink(b"a", b"b"), regular(b"a/x", b"")],
        b"a",
        "not yet a directory",
    ),
    Case("through-links", [*DEBIAN, regular(b"a/x", b""), symlink(b"a", b"usr")], b"a", "/a/x comes first"),
    Case("through-links", [*DEBIAN, regular(b"a", b""), regular(b"a/x", b"")], b"a", "is not a directory"),
    Case("zstd-window", DEBIAN, None, "2^28", quirks={"window_log": 28}),
    Case("compression", DEBIAN, None, "compressed with gzip", quirks={"file_name": "x.tar.zst", "compression": "gzip"}),
    Case("compression", DEBIAN, None, "compressed with zstd", quirks={"file_name": "x.tar", "compression": "zstd"}),
    Case("file-name", DEBIAN, None, "rejects", quirks={"file_name": "x.tgz"}),
    Case("file-name", DEBIAN, None, "rejects", quirks={"file_name": "x.tar.lzo"}),
    Case("file-name", DEBIAN, None, "upper-case", quirks={"file_name": "x.TAR.GZ"}),
    Case("file-name", DEBIAN, None, "starts with a dot", quirks={"file_name": "/srv/.x.tar.gz"}),
    Case("file-name", DEBIAN, None, "'a_b_1.tar.zst'", "warning", quirks={"file_name": "a b+1.tar.zst"}),
    Case("file-name", DEBIAN, None, "two extensions", "warning", quirks={"file_name": "x.tar.gz.tar.zst"}),
    Case("file-name", DEBIAN, None, "9.1", "warning", quirks={"file_name": "x.tar"}),
    Case("file-name", DEBIAN, None, "254 characters", quirks={"file_name": "x" * 246 + ".tar.zst"}),
    # Boot
    Case("init", init(), b"sbin/init", "is missing"),
    Case("init", init(symlink(b"usr/sbin/init", b"/gone")), b"sbin/init", "dangling link to /gone"),
    Case("init", init(symlink(b"usr/sbin/init", b"init")), b"sbin/init", "is a dangling link"),
    Case("init", init(directory(b"usr/sbin/init")), b"sbin/init", "is a directory"),
    Case("init", debian(regular(b"usr/lib/systemd/systemd", elf())), b"sbin/init", "is not executable"),
    Case("init", debian(regular(b"usr/lib/systemd/systemd", b"#!/bin/sh\n", 0o755)), b"sbin/init", "but is a script"),
    Case("init", debian(regular(b"usr/lib/systemd/systemd", b"MZ", 0o755)), b"sbin/init", "neither"),
    Case("init", init(regular(b"usr/sbin/init", b"", 0o755)), b"sbin/init", "neither"),
    Case("init", init(regular(b"usr/sbin/init", b"#!/gone -x\n", 0o755)), b"sbin/init", "'/gone', which is missing"),
    Case("init", init(regular(b"usr/sbin/init", b"#!/bin/sh\r\n", 0o755)), b"sbin/init", r"'/bin/sh\r', which is"),
    # Programs that init starts
    Case("started-programs", busybox_init(b"::sysinit:/sbin/openrc sysinit\n"), b"etc/inittab", "openrc, which is"),
    Case(
        "started-programs", busybox_init(b"tty1::respawn:-/bin/gone\n"), b"etc/inittab", "/bin/gone, which is missing"
    ),
    Case(
        "started-programs",
        busybox_init(b"", symlink(b"etc/runlevels/boot/x", b"/etc/init.d/x"), openrc_script(b"etc/init.d/x")),
        b"etc/runlevels/boot/x",
        "'/sbin/openrc-run', which is missing",
        "warning",
    ),
    Case("started-programs", enabled("ExecStart=/usr/bin/gone -x"), UNIT, "/usr/bin/gone, which is missing", "warning"),
    Case(
        "started-programs",
        [*enabled("ExecStart=/usr/bin/tool"), regular(b"usr/bin/tool", b"#!/usr/bin/python9\n", 0o755)],
        UNIT,
        "'/usr/bin/python9'",
        "warning",
    ),
    Case("no-shell", without(DEBIAN, b"usr/bin/sh"), b"bin/sh", "missing", "warning"),
    Case("architecture", minimal_debian("arm64"), None, "expected amd64, got arm64", arch="amd64"),
    Case("architecture", minimal_debian("s390x"), b"bin/sh", "ELF machine 22", "warning", arch="amd64"),
    Case("architecture", debian(regular(b"usr/bin/dash", b"#!/x", 0o755)), b"bin/sh", "uses amd64", "warning"),
    Case("architecture", unmanaged(minimal_debian("arm64")), None, "unmanaged container", "warning"),
    Case("old-systemd", systemd("231"), b"usr/lib/systemd/systemd", "systemd 231", "warning"),
    Case("old-systemd", systemd(""), b"usr/lib/systemd/systemd", "older than 230", "warning"),
    # Setup by Proxmox
    Case("distribution", distribution("ID=wolfi\n"), b"etc/os-release", "wolfi"),
    Case("distribution", without(DEBIAN, b"etc/os-release", b"usr/lib", b"etc/debian_version"), None, "unmanaged"),
    Case("distribution-version", without(DEBIAN, b"etc/debian_version"), b"etc/debian_version", "missing"),
    Case("distribution-version", debian(regular(b"etc/debian_version", b"15.0\n")), None, "Debian 15", "warning"),
    Case("blocked-files", debian(directory(b"etc/hosts")), b"etc/hosts", "is a directory"),
    Case("blocked-files", debian(directory(b"etc/hostname")), b"etc/hostname", "is a directory"),
    Case("blocked-files", debian(directory(b"etc/resolv.conf")), b"etc/resolv.conf", "is a directory"),
    Case("blocked-files", debian(symlink(b"etc/cron.d/run-me", b"/gone")), b"etc/cron.d/run-me", "is a dangling link"),
    Case("blocked-files", debian(directory(b"etc/cron.d/old")), b"etc/cron.d/old", "not a file"),
    Case("blocked-files", debian(regular(b"etc/network", b"")), b"etc/network", "not a directory"),
    Case("blocked-files", debian(symlink(b"etc/network", b"/gone")), b"etc/network", "not a directory"),
    Case(
        "blocked-files",
        debian(directory(b"etc/network/interfaces")),
        b"etc/network/interfaces",
        "Proxmox writes a file",
    ),
    Case("blocked-files", [*UBUNTU, NETWORKD, regular(b"etc/systemd/network", b"")], None, "/etc/systemd/network"),
    Case("blocked-files", debian(directory(b"etc/ssh/ssh_host_rsa_key")), b"etc/ssh/ssh_host_rsa_key", "directory"),
    Case("blocked-files", debian(directory(b"etc/ssh/ssh_host_ed25519_key.pub")), None, "is a directory"),
    Case("blocked-files", debian(directory(b"fastboot")), b"fastboot", "is a directory"),
    Case("root-home", without(DEBIAN, b"root"), b"root", "not a directory"),
    Case("root-home", debian(regular(b"etc/passwd", b"root:x:0:0:root::/bin/sh\n")), b"etc/passwd", "empty home"),
    Case("root-home", replaced(without(DEBIAN, b"root"), symlink(b"root", b"/gone")), b"root", "dangling link"),
    Case("root-home", replaced(without(DEBIAN, b"root"), symlink(b"root", b"/etc/hosts")), b"root", "not a directory"),
    Case("root-home", debian(regular(b"root/.ssh", b"")), b"root/.ssh", "not a directory"),
    Case("root-home", debian(symlink(b"root/.ssh", b"/gone")), b"root/.ssh", "not a directory"),
    Case(
        "root-home",
        debian(directory(b"root/.ssh"), directory(b"root/.ssh/authorized_keys")),
        b"root/.ssh/authorized_keys",
        "is a directory",
    ),
    Case("root-home", without(DEBIAN, b"root", b"etc/passwd"), b"root", "not a directory"),
    Case("root-home", debian(regular(b"etc/passwd", b"root:x:0:0:root:/srv/r:/bin/sh\n")), b"srv/r", "not a directory"),
    Case("root-home", debian(regular(b"etc/passwd", b"toor:x:0:0:root:/root:/bin/sh\n")), b"etc/passwd", "no home"),
    Case(
        "network-manager",
        without(DEBIAN, b"usr/sbin/ifup"),
        None,
        "Proxmox configures debian containers through ifupdown",
    ),
    Case("network-manager", replaced(without(DEBIAN, b"usr/sbin/ifup"), NETWORKD), None, "no network"),
    Case(
        "network-manager",
        replaced(without(DEBIAN, b"usr/sbin/ifup"), NM),
        None,
        "NetworkManager does not read",
        "warning",
    ),
    Case("network-manager", UBUNTU, None, "systemd-networkd"),
    Case("network-manager", FEDORA, None, "systemd-networkd"),
    Case("network-manager", ALPINE, None, "OpenRC"),
    Case("network-manager", without(ALPINE, b"usr/sbin/ifup"), None, "OpenRC"),
    Case("network-manager", el("9.4"), None, "network-scripts or NetworkManager"),
    Case("network-manager", [*el("10.0"), NETWORKD], None, "through NetworkManager", "warning"),
    Case("network-manager", distribution("ID=arch\n"), None, "systemd-networkd"),
    Case("network-manager", distribution('ID=opensuse\nVERSION_ID="15.6"\n'), None, "wicked"),
    Case(
        "pve-ignore", debian(regular(b"etc/.pve-ignore.hosts", b"")), b"etc/.pve-ignore.hosts", "/etc/hosts", "warning"
    ),
    Case("root-disk", [*DEBIAN, BIG], None, "5.0 GiB", "warning"),
    # Identity
    Case("ssh-host-keys", debian(regular(b"etc/ssh/ssh_host_rsa_key", b"x")), b"etc/ssh/ssh_host_rsa_key", "private"),
    Case(
        "ssh-host-keys",
        debian(regular(b"etc/dropbear/dropbear_ed25519_host_key", b"x")),
        b"etc/dropbear/dropbear_ed25519_host_key",
    ),
    Case("machine-id", debian(regular(b"etc/machine-id", b"0123abcd\n")), b"etc/machine-id", "'0123abcd'"),
    Case("machine-id", debian(regular(b"var/lib/dbus/machine-id", b"01\n")), b"var/lib/dbus/machine-id", "its own id"),
    Case("random-seed", debian(regular(b"var/lib/systemd/random-seed", b"\xff")), None, "seed", "warning"),
    Case("hostname", debian(regular(b"etc/hostname", b"3f2a9c01d4e5\n")), b"etc/hostname", "3f2a9c01d4e5", "warning"),
    Case("hostname", debian(regular(b"etc/hostname", b"LXC_NAME\n")), b"etc/hostname", "LXC_NAME", "warning"),
    Case("hostname", debian(regular(b"etc/hosts", b"127.0.1.1\tLXC_NAME\n")), b"etc/hosts", "LXC_NAME", "warning"),
    Case(
        "other-identities",
        debian(regular(b"var/lib/systemd/credential.secret", b"x")),
        b"var/lib/systemd/credential.secret",
        "credentials",
        "warning",
    ),
    Case("other-identities", debian(symlink(b"var/lib/cloud/instance", b"x")), None, "cloud-init", "warning"),
]


@pytest.mark.parametrize("case", FOUND, ids=lambda case: f"{case.check}-{case.part}")
def test_found(case: Case) -> None:
    (level, path, message), *more = case.findings()
    assert not more
    assert level == case.level
    assert case.path in (None, path)
    assert case.part in message


FINE = [
    Case("nested-archive", [*DEBIAN, regular(b"rootfs.tar.xz", b"")]),
    Case("nested-archive", OCI),
    Case("nested-archive", [regular(b"backup.tar.zst", b""), regular(b"notes.txt", b"")]),
    Case("image-archive", [*DEBIAN, *SAVED]),
    Case("image-archive", DEBIAN),
    Case("whiteouts", debian(regular(b"etc/what.wh.is", b""), regular(b"etc/x.wh.", b""))),
    Case("few-members", DEBIAN[:10]),
    Case("few-members", OCI),
    Case("no-sbin", debian(directory(b"sbin"))),
    Case("no-sbin", OCI),
    Case("device-nodes", debian(Member(b"dev/null", CHR))),
    Case("device-nodes", debian(regular(b"dev/console", b"")), quirks={"unprefixed": 1}),
    Case("big-ids", debian(Member(b"srv", DIR, uid=65535, gid=65535))),
    Case("member-names", debian(regular(b"etc/a..b", b""))),
    Case("repeated-paths", DEBIAN),
    Case("forward-hard-links", [*DEBIAN, regular(b"etc/b", b""), Member(b"etc/a", LNK, link=b"etc/b")]),
    Case("through-links", [*DEBIAN, regular(b"bin/x", b""), directory(b"lib/y"), regular(b"lib/y/z", b"")]),
    Case("through-links", [*DEBIAN, regular(b"srv/never/named", b"")]),
    Case("zstd-window", DEBIAN, quirks={"window_log": 27}),
    Case("compression", DEBIAN, quirks={"file_name": "x.tar.zst", "compression": "zstd"}),
    Case("compression", DEBIAN, quirks={"compression": "zstd"}),
    Case("file-name", DEBIAN, quirks={"file_name": "/srv/a b/debian-12_v1.tar.zst"}),
    Case("file-name", DEBIAN, quirks={"file_name": "x" * 237 + ".tar.zst"}),
    Case("init", init(program(b"usr/sbin/init"))),
    Case("init", init(regular(b"usr/sbin/init", b"#! /bin/sh -e\n", 0o755))),
    Case("init", init(program(b"usr/bin/busybox"), symlink(b"usr/sbin/init", b"/bin/busybox"))),
    Case("init", init(Member(b"usr/sbin/init", LNK, link=b"usr/lib/systemd/systemd"))),
    Case("init", without(DEBIAN, b"sbin")),
    Case("init", OCI),
    Case("started-programs", busybox_init(b"#::sysinit:/sbin/openrc\n::ctrlaltdel:/sbin/gone\n::respawn:/bin/sh\n")),
    Case("started-programs", enabled("ExecStart=-/usr/bin/gone")),
    Case("started-programs", enabled("ExecStart=/usr/bin/gone", "ConditionPathExists=/usr/bin/gone")),
    Case("started-programs", enabled("ExecStart=/usr/sbin/sshd -D")),
    Case("started-programs", without(DEBIAN, b"usr/sbin/init")),
    Case("process", DEBIAN),
    Case("links-to-dev", debian(regular(b"dev/x", b""), Member(b"dev/y", LNK, link=b"dev/x"))),
    Case("links-to-dev", debian(regular(b"dev/x", b""), Member(b"y", LNK, link=b"dev/x")), quirks={"unprefixed": 9}),
    Case("no-shell", init(*NIX, regular(b"usr/sbin/init", b"#! /nix/store/bash\n", 0o755))),
    Case("no-shell", DEBIAN),
    Case("architecture", minimal_debian("arm64"), arch="arm64"),
    Case("architecture", minimal_debian("arm64")),
    Case("architecture", unmanaged(DEBIAN), arch="amd64"),
    Case("old-systemd", systemd("232")),
    Case("old-systemd", systemd("257.4-1.fc41")),
    Case("old-systemd", init(program(b"usr/sbin/init"))),
    Case("distribution", without(DEBIAN, b"etc/debian_version")),
    Case("distribution-version", unmanaged(DEBIAN)),
    Case("distribution-version", distribution("ID=wolfi\n")),
    Case("blocked-files", unmanaged(debian(directory(b"etc/hosts")))),
    Case("blocked-files", debian(directory(b"etc/hosts"), regular(b"etc/.pve-ignore.hosts", b""))),
    Case("blocked-files", debian(directory(b"etc/cron.d/a.b"), regular(b"etc/cron.d/c", b""))),
    Case("blocked-files", without(DEBIAN, b"etc/hosts", b"etc/hostname", b"etc/resolv.conf")),
    Case("root-home", [*without(DEBIAN, b"root"), symlink(b"root", b"/home")]),
    Case("root-home", unmanaged(without(DEBIAN, b"root"))),
    Case("root-home", debian(regular(b"etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"))),
    Case("network-manager", unmanaged(without(DEBIAN, b"usr/sbin/ifup"))),
    Case("network-manager", [*UBUNTU, NETWORKD]),
    Case("network-manager", [*FEDORA, NETWORKD]),
    Case("network-manager", [*ALPINE, program(b"etc/init.d/networking")]),
    Case("network-manager", [*el("9.4"), NM]),
    Case("network-manager", [*el("8.10"), program(b"etc/rc.d/init.d/network")]),
    Case("network-manager", [*el("10.0"), NM]),
    Case("network-manager", [*distribution('ID=opensuse\nVERSION_ID="15.6"\n'), program(b"usr/sbin/wicked")]),
    Case("network-manager", distribution("ID=nixos\n")),
    Case("network-manager", distribution("ID=wolfi\n")),
    Case("pve-ignore", unmanaged(debian(regular(b"etc/.pve-ignore.hosts", b"")))),
    Case("pve-ignore", debian(regular(b"etc/x.pve-ignore.hosts", b""))),
    Case("root-disk", [*DEBIAN, Member(b"usr/big", REG, 0o644, size=3 << 30)]),
    Case("ssh-host-keys", debian(regular(b"etc/ssh/ssh_host_rsa_key.pub", b"x"), regular(b"etc/ssh/sshd_config", b""))),
    Case("ssh-host-keys", debian(regular(b"etc/ssh/ssh_host_rsa_key", b""))),
    Case("machine-id", debian(regular(b"etc/machine-id", b"uninitialized\n"))),
    Case("machine-id", debian(symlink(b"var/lib/dbus/machine-id", b"/etc/machine-id"))),
    Case("machine-id", without(DEBIAN, b"etc/machine-id")),
    Case("random-seed", debian(regular(b"var/lib/systemd/random-seed", b""))),
    Case("hostname", debian(regular(b"etc/hostname", b"web-01\n"))),
    Case("other-identities", DEBIAN),
]


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.check)
def test_fine(case: Case) -> None:
    assert case.findings() == []


@pytest.mark.parametrize("policy", ["default", "golden"])
def test_a_minimal_debian_passes_every_check(policy: str) -> None:
    assert run_checks(Subject(surveyed(DEBIAN), arch="amd64"), policy) == []


def test_a_nested_archive_is_reported_once() -> None:
    wrapped = [regular(b"rootfs.tar.xz", b""), regular(b"meta.tar.xz", b"")]
    assert [finding.check for finding in run_checks(Subject(surveyed(wrapped)))] == ["nested-archive"]


def test_every_row_has_a_failing_and_a_passing_case() -> None:
    rows = {check.id for check in CHECKS if check.group in ("proxmox", "identity")} - {"process"}  # test_started
    assert rows == {case.check for case in FOUND} == {case.check for case in FINE} - {"process"}


PATHS = sorted({member.path for case in (*FOUND, *FINE) for member in case.members})
TYPES = st.sampled_from([REG, LNK, DIR, CHR, b"2"])
TARGETS = st.sampled_from([*PATHS, b"..", b"/", b"", b"."]) | st.binary(max_size=9)
CONTENTS = st.sampled_from([b"", b"#!", b"#! \n", b"\x7fELF", elf(), b"LXC_NAME", b"root:"]) | st.binary(max_size=40)
MEMBERS = st.builds(
    lambda path, kind, mode, link, body: Member(path, kind, mode, link=link, size=len(body), body=body),
    st.sampled_from(PATHS) | st.binary(min_size=1, max_size=9),
    TYPES,
    st.sampled_from([0, 0o644, 0o755]),
    TARGETS,
    CONTENTS,
)


@given(st.lists(MEMBERS, max_size=40), st.sampled_from([DEBIAN, unmanaged(DEBIAN)]))
def test_checks_never_crash_on_unexpected_members(more: list[Member], base: list[Member]) -> None:
    for finding in run_checks(Subject(surveyed([*base, *more]), "amd64"), "golden"):
        assert finding.message
        assert all(isinstance(value, str) for value in finding.as_dict().values())


def test_every_finding_has_a_hint() -> None:
    for case in FOUND:
        survey = surveyed(case.members)
        for name, value in case.quirks.items():
            setattr(survey.quirks, name, value)
        for finding in run_checks(Subject(survey, case.arch), "golden"):
            assert finding.hint, finding
