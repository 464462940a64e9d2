"""Root filesystems as the golden images' provisioning leaves them: each distribution's own files, links and layout."""

from lxcast.tar.member import Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import folders, program

KEYS_ONLY = b"PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
UNITS = "etc/systemd/system"


def text(path: str, content: str, mode: int = 0o644) -> Member:
    return regular(path.encode(), content.encode(), mode)


def link(path: str, target: str) -> Member:
    return symlink(path.encode(), target.encode())


def merged_usr() -> list[Member]:
    """The folders that systemd distributions share, and what Docker leaves in an export."""
    return [
        *folders("", "boot", "dev", "etc", "etc/ssh", "etc/ssh/sshd_config.d", "etc/systemd", UNITS, "home", "proc"),
        *folders("root", "run", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/lib/systemd", "usr/lib/systemd/system"),
        *folders("usr/sbin", "var", "var/cache", "var/lib", "var/log", f"{UNITS}/multi-user.target.wants"),
        *(link(each, f"usr/{each}") for each in ("bin", "lib", "sbin")),
        text(".dockerenv", "", 0o755),
        text("etc/hostname", "", 0o755),
        text("etc/hosts", "", 0o755),
        text("etc/resolv.conf", "", 0o755),
        text("etc/machine-id", "5f1c6a2be0f14d1c9d0b7a8f2f6a1c11\n", 0o444),
        text("etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600),
        regular(b"etc/ssh/sshd_config.d/00-keys-only.conf", KEYS_ONLY, 0o600),
        program(b"usr/bin/bash"),
        program(b"usr/bin/ssh-keygen"),
        program(b"usr/lib/systemd/systemd"),
        program(b"usr/sbin/sshd"),
    ]


def ubuntu() -> list[Member]:
    """Ubuntu 24.04: networkd, a relative os-release, an lsb-release, ssh.service in the place of ssh.socket."""
    wants = f"{UNITS}/multi-user.target.wants"
    release = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n'
    return [
        *merged_usr(),
        *folders("etc/apt", "etc/apt/apt.conf.d", "var/lib/apt", "var/lib/apt/lists", "var/lib/dpkg"),
        *folders("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd"),
        text("etc/apt/apt.conf.d/docker-clean", 'Dir::Cache::pkgcache "";\n'),
        text("etc/debian_version", "trixie/sid\n"),
        text(
            "etc/lsb-release",
            'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\nDISTRIB_DESCRIPTION="Ubuntu 24.04"\n',
        ),
        link("etc/os-release", "../usr/lib/os-release"),
        text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        ),
        text("etc/shadow", "root:!*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n", 0o640),
        text(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\n"
            "PrintMotd no\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
        ),
        link(f"{wants}/ssh.service", "/usr/lib/systemd/system/ssh.service"),
        link(f"{wants}/systemd-networkd.service", "/usr/lib/systemd/system/systemd-networkd.service"),
        program(b"usr/bin/dash"),
        link("usr/bin/sh", "dash"),
        text("usr/lib/os-release", release),
        text(
            "usr/lib/systemd/system/ssh.service",
            "[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n[Install]\nWantedBy=multi-user.target\n",
        ),
        text("usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=0.0.0.0:22\n"),
        text(
            "usr/lib/systemd/system/systemd-networkd.service",
            "[Service]\nExecStart=!!/usr/lib/systemd/systemd-networkd\n[Install]\nWantedBy=multi-user.target\n",
        ),
        program(b"usr/lib/systemd/systemd-networkd"),
        text("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-255.so", "\x7fELF"),
        link("usr/sbin/init", "../lib/systemd/systemd"),
        text("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755),
        text("var/lib/apt/lists/archive_dists_noble_Release", "Suite: noble\n"),
        text("var/lib/dpkg/status", "Package: base-files\nStatus: install ok installed\nVersion: 13ubuntu10\n"),
    ]


def alpine() -> list[Member]:
    """Alpine 3.22: no merged /usr, busybox as init and shell, OpenRC's runlevels, sshd without PAM."""
    services = {"boot": ("bootmisc", "hostname", "networking", "syslog"), "default": ("crond", "sshd")}
    release = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME="Alpine Linux v3.22"\n'
    return [
        *folders(
            "", "bin", "dev", "etc", "etc/apk", "etc/init.d", "etc/network", "etc/network/if-up.d", "etc/runlevels"
        ),
        *(directory(f"etc/runlevels/{level}".encode()) for level in services),
        *folders(
            "etc/ssh", "etc/ssh/sshd_config.d", "home", "lib", "lib/apk", "lib/apk/db", "proc", "root", "run", "sbin"
        ),
        *folders("sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/sbin", "var", "var/cache", "var/cache/apk", "var/log"),
        text(".dockerenv", "", 0o755),
        program(b"bin/busybox"),
        link("bin/sh", "/bin/busybox"),
        text("etc/alpine-release", "3.22.1\n"),
        text("etc/apk/world", "alpine-base\nopenssh-server\n"),
        text("etc/hostname", "", 0o755),
        text("etc/hosts", "", 0o755),
        text(
            "etc/inittab",
            "::sysinit:/sbin/openrc sysinit\n::wait:/sbin/openrc default\n::shutdown:/sbin/openrc shutdown\n",
        ),
        *(text(f"etc/init.d/{name}", "#!/sbin/openrc-run\n", 0o755) for each in services.values() for name in each),
        *(
            link(f"etc/runlevels/{level}/{name}", f"/etc/init.d/{name}")
            for level, each in services.items()
            for name in each
        ),
        link("etc/os-release", "../usr/lib/os-release"),
        text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
        text("etc/resolv.conf", "", 0o755),
        text("etc/shadow", "root:*::0:::::\nnobody:!::0:::::\n", 0o640),
        text("etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600),
        text(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\nAllowTcpForwarding no\n"
            "GatewayPorts no\nX11Forwarding no\nSubsystem sftp internal-sftp\n",
        ),
        regular(b"etc/ssh/sshd_config.d/10-keys-only.conf", KEYS_ONLY),
        text("lib/apk/db/installed", "P:alpine-base\nV:3.22.1-r0\n\n"),
        link("sbin/init", "/bin/busybox"),
        program(b"sbin/openrc"),
        link("sbin/ifup", "ifupdown"),
        program(b"sbin/ifupdown"),
        text("usr/lib/os-release", release),
        program(b"usr/bin/ssh-keygen"),
        program(b"usr/sbin/sshd"),
        text("var/cache/apk/APKINDEX.066df28d.tar.gz", "index"),
    ]


def rocky() -> list[Member]:
    """Rocky Linux 9: a link as redhat-release, NetworkManager, units of its own that make host keys."""
    wants = f"{UNITS}/multi-user.target.wants"
    release = (
        'NAME="Rocky Linux"\nVERSION="9.6 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n'
    )
    return [
        *merged_usr(),
        *folders("etc/NetworkManager", "etc/NetworkManager/system-connections", "etc/sysconfig", "etc/pam.d"),
        *folders("usr/lib64", "usr/libexec", "usr/libexec/openssh", "var/cache/dnf", "var/lib/dnf", "var/lib/rpm"),
        link("lib64", "usr/lib64"),
        link("etc/os-release", "../usr/lib/os-release"),
        link("etc/redhat-release", "rocky-release"),
        link("etc/system-release", "rocky-release"),
        text("etc/rocky-release", "Rocky Linux release 9.6 (Blue Onyx)\n"),
        text(
            "etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin\n"
        ),
        text("etc/shadow", "root:!locked::0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", 0o000),
        text(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\n"
            "Subsystem sftp /usr/libexec/openssh/sftp-server\n",
            0o600,
        ),
        text(
            "etc/ssh/sshd_config.d/50-redhat.conf",
            "SyslogFacility AUTHPRIV\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\nPrintMotd no\n",
            0o600,
        ),
        link(f"{wants}/sshd.service", "/usr/lib/systemd/system/sshd.service"),
        link(f"{wants}/NetworkManager.service", "/usr/lib/systemd/system/NetworkManager.service"),
        link("usr/bin/sh", "bash"),
        text("usr/lib/os-release", release),
        text("usr/lib/systemd/libsystemd-shared-252.so", "\x7fELF"),
        text(
            "usr/lib/systemd/system/NetworkManager.service",
            "[Service]\nExecStart=/usr/sbin/NetworkManager --no-daemon\n[Install]\nWantedBy=multi-user.target\n",
        ),
        text(
            "usr/lib/systemd/system/sshd.service",
            "[Unit]\nWants=sshd-keygen.target\n[Service]\nExecStart=/usr/sbin/sshd -D\n"
            "[Install]\nWantedBy=multi-user.target\n",
        ),
        text(
            "usr/lib/systemd/system/sshd-keygen@.service",
            "[Unit]\nConditionFileNotEmpty=|!/etc/ssh/ssh_host_%i_key\n[Service]\n"
            "ExecStart=/usr/libexec/openssh/sshd-keygen %i\n",
        ),
        program(b"usr/sbin/NetworkManager"),
        link("usr/sbin/init", "../lib/systemd/systemd"),
        text("var/cache/dnf/expired_repos.json", "[]"),
        text("var/lib/dnf/history.sqlite", "SQLite format 3\0"),
        text("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\0"),
    ]
