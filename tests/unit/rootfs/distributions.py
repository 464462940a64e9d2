"""Ubuntu, Alpine and Rocky Linux as their own files: the image, what each package lays down, what provisioning leaves.

A tree is written as {path: content}, with "PATH MODE" where the mode is not the usual one, "-> TARGET" for a link, ELF
for a program, and a closing slash for an empty folder; folders above are understood.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lxcast.tar.member import Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import elf

ELF = "\x7fELF"
UNIT = "usr/lib/systemd/system"
ETC_UNIT = "etc/systemd/system"
WANTS = f"{ETC_UNIT}/multi-user.target.wants"
LIB = "-> /usr/lib/systemd/system"
KEYS_ONLY = """PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
"""

Files = Mapping[str, str]


@dataclass(frozen=True)
class Distribution:
    """One distribution of the golden images."""

    image: Files
    """The files of Docker's image that matter here, and what Docker adds to a container."""
    packages: Mapping[str, Files]
    """What each package that provision.sh names lays down."""
    caches: Files
    """What the package manager leaves behind."""
    provisioned: Files
    """What provision.sh writes; GONE for what it takes away, with all below."""

    def members(self) -> list[Member]:
        """The tree that provision.sh leaves."""
        files = dict(self.image)
        for each in (*self.packages.values(), self.caches):
            files |= each
        gone = [path for path, content in self.provisioned.items() if content == GONE]
        # A path may stand once with a mode and once without.
        written = {key.split()[0] for key in self.provisioned}
        files = {key: content for key, content in files.items() if key.split()[0] not in written}
        files |= self.provisioned
        return tree({key: content for key, content in files.items() if not key.startswith(tuple(gone))})


GONE = "\0"


def tree(files: Files) -> list[Member]:
    """Return the members of a tree, folders first."""
    made: dict[bytes, Member] = {b"": directory(b"")}
    for key, content in files.items():
        path, _, mode = key.partition(" ")
        name = path.rstrip("/").encode()
        if path.endswith("/"):
            made[name] = directory(name, int(mode or "755", 8))
        elif content.startswith("-> "):
            made[name] = symlink(name, content[3:].encode())
        elif content == ELF:
            made[name] = regular(name, elf(), 0o755)
        else:
            made[name] = regular(name, content.encode(), int(mode or "644", 8))
    for name in list(made):
        while name:
            name = name.rpartition(b"/")[0]
            made.setdefault(name, directory(name))
    return [made[name] for name in sorted(made)]


def _unit(name: str, text: str) -> dict[str, str]:
    return {f"{UNIT}/{name}": text}


def _timer(name: str) -> dict[str, str]:
    """A timer as a package enables it."""
    return _unit(f"{name}.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n") | {
        f"{UNIT}/{name}.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        f"{ETC_UNIT}/timers.target.wants/{name}.timer": f"{LIB}/{name}.timer",
    }


DOCKER: Files = {
    ".dockerenv 755": "",
    "etc/hostname 755": "",
    "etc/hosts 755": "",
    "etc/resolv.conf 755": "",
    "etc/mtab": "-> /proc/mounts",
    "boot/": "",
    "dev/": "",
    "home/": "",
    "proc/": "",
    "root/ 700": "",
    "run/": "",
    "sys/": "",
    "tmp/ 1777": "",
    "var/log/": "",
    "var/tmp/ 1777": "",
}
MERGED: Files = {
    "bin": "-> usr/bin",
    "lib": "-> usr/lib",
    "lib64": "-> usr/lib64",
    "sbin": "-> usr/sbin",
    "usr/bin/bash": ELF,
    "usr/lib64/": "",
}
KEYS: Files = {
    "etc/ssh/ssh_host_ed25519_key 600": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA root@buildkitsandbox\n",
}
LOGIN_DEFS = "MAIL_DIR /var/mail\nUMASK 022\nUID_MIN 1000\nUID_MAX 60000\nSYS_UID_MIN 100\nUSERGROUPS_ENAB yes\n"
NO_CORE: Files = {"etc/security/limits.d/10-no-core.conf": "* hard core 0\nroot hard core 0\n"}
LOCK: Files = {"etc/.pwd.lock 600": ""}

UBUNTU = Distribution(
    image={
        **DOCKER,
        **MERGED,
        # Folders that mark the merge since 24.04.
        "bin.usr-is-merged/": "",
        "lib.usr-is-merged/": "",
        "sbin.usr-is-merged/": "",
        "etc/os-release": "-> ../usr/lib/os-release",
        "usr/lib/os-release": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'
        'VERSION="24.04.3 LTS (Noble Numbat)"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n'
        'HOME_URL="https://www.ubuntu.com/"\nUBUNTU_CODENAME=noble\nLOGO=ubuntu-logo\n',
        "etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\n"
        'DISTRIB_DESCRIPTION="Ubuntu 24.04.3 LTS"\n',
        "etc/debian_version": "trixie/sid\n",
        "etc/apt/sources.list.d/ubuntu.sources": "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\n"
        "Suites: noble noble-updates noble-backports\nComponents: main universe restricted multiverse\n"
        "Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n",
        "etc/apt/apt.conf.d/docker-clean": 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n',
        "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
        "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
        "usr/sbin/policy-rc.d 755": "#!/bin/sh\nexit 101\n",
        "etc/login.defs": LOGIN_DEFS,
        "etc/pam.d/common-session": "session [default=1] pam_permit.so\nsession optional pam_umask.so\n"
        "session required pam_unix.so\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n",
        "etc/shadow 640": "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\nubuntu:!:20000:0:99999:7:::\n",
        "etc/group": "root:x:0:\nadm:x:4:ubuntu\nnogroup:x:65534:\nubuntu:x:1000:\n",
        "etc/gshadow 640": "root:*::\nadm:*::ubuntu\nnogroup:*::\nubuntu:!::\n",
        "home/ubuntu/.profile": "umask 022\n",
        "usr/bin/dash": ELF,
        "usr/bin/sh": "-> dash",
        "var/lib/dpkg/status": "Package: base-files\nStatus: install ok installed\nVersion: 13ubuntu10.3\n\n",
        "var/lib/dpkg/info/base-files.list": "/.\n/etc/debian_version\n",
        "var/lib/dpkg/status-old": "Package: base-files\nStatus: install ok installed\nVersion: 13ubuntu10.2\n\n",
        **_timer("apt-daily"),
        **_timer("apt-daily-upgrade"),
        **_timer("fstrim"),
    },
    packages={
        "systemd": {
            "usr/lib/systemd/systemd": ELF,
            "usr/lib/systemd/systemd-networkd": ELF,
            "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-255.so": ELF,
            "etc/machine-id 444": "5f1c6a2be0f14d1c9d0b7a8f2f6a1c11\n",
            f"{UNIT}/multi-user.target": "[Unit]\nDescription=Multi-User System\n",
            f"{UNIT}/sockets.target": "[Unit]\nDescription=Socket Units\n",
            **_unit(
                "systemd-networkd.service",
                "[Service]\nExecStart=!!/usr/lib/systemd/systemd-networkd\n[Install]\nWantedBy=multi-user.target\n"
                "Alias=dbus-org.freedesktop.network1.service\nAlso=systemd-networkd.socket\n",
            ),
            **_unit(
                "systemd-networkd.socket", "[Socket]\nListenNetlink=route 1361\n[Install]\nWantedBy=sockets.target\n"
            ),
            **_unit("getty@.service", "[Service]\nExecStart=-/sbin/agetty %I\n[Install]\nWantedBy=getty.target\n"),
        },
        "systemd-sysv": {"usr/sbin/init": "-> ../lib/systemd/systemd"},
        "dbus": {"usr/bin/dbus-daemon": ELF},
        "iproute2": {"usr/bin/ip": ELF, "usr/sbin/ip": "-> /usr/bin/ip"},
        "iputils-ping": {"usr/bin/ping": ELF},
        "netbase": {"etc/protocols": "icmp 1 ICMP\n"},
        "openssh-server": {
            **KEYS,
            "usr/bin/ssh-keygen": ELF,
            "usr/sbin/sshd": ELF,
            "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\n"
            "UsePAM yes\nX11Forwarding yes\nPrintMotd no\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
            "etc/ssh/sshd_config.d/": "",
            **_unit(
                "ssh.service",
                "[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n[Install]\nWantedBy=multi-user.target\n"
                "Alias=sshd.service\n",
            ),
            **_unit(
                "ssh.socket",
                "[Socket]\nListenStream=0.0.0.0:22\nListenStream=[::]:22\nAccept=no\n[Install]\n"
                "WantedBy=sockets.target\nRequiredBy=ssh.service\n",
            ),
            f"{ETC_UNIT}/sockets.target.wants/ssh.socket": f"{LIB}/ssh.socket",
            f"{ETC_UNIT}/ssh.service.requires/ssh.socket": f"{LIB}/ssh.socket",
        },
        "ca-certificates": {"etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----\n"},
    },
    caches={
        "var/lib/apt/lists/archive.ubuntu.com_ubuntu_dists_noble_InRelease": "Suite: noble\n",
        "var/cache/apt/archives/openssh-server_9.6p1_amd64.deb": "!<arch>\n",
        "var/log/apt/history.log": "Commandline: apt-get -y install openssh-server\n",
        "var/log/dpkg.log": "install openssh-server\n",
    },
    provisioned={
        "etc/ssh/sshd_config.d/10-keys-only.conf": KEYS_ONLY,
        f"{ETC_UNIT}/sockets.target.wants/ssh.socket": GONE,
        f"{ETC_UNIT}/ssh.service.requires": GONE,
        f"{ETC_UNIT}/sockets.target.wants/systemd-networkd.socket": f"{LIB}/systemd-networkd.socket",
        f"{WANTS}/ssh.service": f"{LIB}/ssh.service",
        f"{ETC_UNIT}/sshd.service": f"{LIB}/ssh.service",
        f"{WANTS}/systemd-networkd.service": f"{LIB}/systemd-networkd.service",
        f"{ETC_UNIT}/dbus-org.freedesktop.network1.service": f"{LIB}/systemd-networkd.service",
        f"{ETC_UNIT}/timers.target.wants": GONE,
        "home/ubuntu": GONE,
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "etc/shadow 640": "root:!*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n",
        "etc/group": "root:x:0:\nadm:x:4:\nnogroup:x:65534:\n",
        "etc/gshadow 640": "root:*::\nadm:*::\nnogroup:*::\n",
        "etc/login.defs": LOGIN_DEFS.replace("UMASK 022\n", "") + "UMASK 027\n",
        **NO_CORE,
        **LOCK,
    },
)

_RC = "#!/sbin/openrc-run\n"
_SERVICES = {"boot": ("bootmisc", "hostname", "networking", "syslog"), "default": ("crond", "sshd")}
_ENDS = {"shutdown": ("killprocs", "savecache")}

ALPINE = Distribution(
    image={
        **DOCKER,
        # /usr is not merged: programs of the base are in /bin and /sbin, and all of them are busybox.
        "bin/busybox": ELF,
        "bin/sh": "-> /bin/busybox",
        "sbin/init": "-> /bin/busybox",
        "lib/ld-musl-x86_64.so.1": ELF,
        "etc/alpine-release": "3.22.1\n",
        "etc/os-release": "-> ../usr/lib/os-release",
        "usr/lib/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME="Alpine Linux v3.22"\n'
        'HOME_URL="https://alpinelinux.org/"\n',
        "etc/apk/world": "alpine-baselayout\nalpine-release\nbusybox\n",
        "etc/apk/repositories": "https://dl-cdn.alpinelinux.org/alpine/v3.22/main\n",
        "lib/apk/db/installed": "P:busybox\nV:1.37.0-r18\n\n",
        "lib/apk/db/scripts.tar": "",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
        "etc/shadow 640": "root:*::0:::::\nnobody:!::0:::::\n",
        "etc/group": "root:x:0:root\nnobody:x:65534:\n",
        "etc/profile": "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\numask 022\n",
        "etc/profile.d/README": "",
        "etc/inittab": "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n::wait:/sbin/openrc default\n"
        "tty1::respawn:/sbin/getty 38400 tty1\ntty2::respawn:/sbin/getty 38400 tty2\n"
        "#ttyS0::respawn:/sbin/getty -L ttyS0 vt100\n::ctrlaltdel:/sbin/reboot\n::shutdown:/sbin/openrc shutdown\n",
    },
    packages={
        "alpine-base": {"etc/securetty": "console\n"},
        "openrc": {
            "sbin/openrc": ELF,
            "sbin/openrc-run": ELF,
            "etc/rc.conf": '#rc_parallel="NO"\n#rc_sys=""\n#rc_ulimit="-u 30"\n',
            **{f"etc/init.d/{name} 755": _RC for name in ("bootmisc", "hostname", "killprocs", "savecache")},
            **{f"etc/runlevels/{level}/": "" for level in ("boot", "default", "nonetwork", "shutdown", "sysinit")},
        },
        "busybox-openrc": {f"etc/init.d/{name} 755": _RC for name in ("crond", "syslog")},
        "ifupdown-ng": {
            "sbin/ifupdown": ELF,
            "sbin/ifup": "-> ifupdown",
            "sbin/ifdown": "-> ifupdown",
            "etc/init.d/networking 755": _RC,
            "etc/network/if-up.d/": "",
        },
        "iproute2-minimal": {"sbin/ip": ELF},
        "iputils-ping": {"bin/ping": ELF},
        "openssh-server": {
            **KEYS,
            "usr/sbin/sshd": ELF,
            "etc/init.d/sshd 755": _RC,
            "etc/conf.d/sshd": "",
            "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\n"
            "AllowTcpForwarding no\nGatewayPorts no\nX11Forwarding no\nSubsystem sftp internal-sftp\n",
        },
        "openssh-keygen": {"usr/bin/ssh-keygen": ELF},
        "ca-certificates": {"etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----\n"},
    },
    caches={"var/cache/apk/APKINDEX.066df28d.tar.gz": "index", "var/log/apk.log": "Installing openssh-server\n"},
    provisioned={
        "etc/rc.conf": '#rc_parallel="NO"\nrc_sys="lxc"\n#rc_ulimit="-u 30"\nrc_ulimit="-c 0"\n',
        **{
            f"etc/runlevels/{level}/{name}": f"-> /etc/init.d/{name}"
            for level, names in (_SERVICES | _ENDS).items()
            for name in names
        },
        "etc/inittab": "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n::wait:/sbin/openrc default\n"
        "#ttyS0::respawn:/sbin/getty -L ttyS0 vt100\n::ctrlaltdel:/sbin/reboot\n::shutdown:/sbin/openrc shutdown\n",
        "etc/ssh/sshd_config.d/10-keys-only.conf": KEYS_ONLY,
        "etc/profile": "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\numask 027\n",
        "etc/profile.d/no-core.sh": "ulimit -c 0\n",
    },
)

_ROCKY_MASKED = ("systemd-logind.service", "getty.target", "console-getty.service", "systemd-udevd.service")

ROCKY = Distribution(
    image={
        **DOCKER,
        **MERGED,
        "etc/os-release": "-> ../usr/lib/os-release",
        "usr/lib/os-release": 'NAME="Rocky Linux"\nVERSION="9.6 (Blue Onyx)"\nID="rocky"\n'
        'ID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\nPLATFORM_ID="platform:el9"\n'
        'REDHAT_SUPPORT_PRODUCT="Rocky Linux"\n',
        "etc/redhat-release": "-> rocky-release",
        "etc/system-release": "-> rocky-release",
        "etc/rocky-release": "Rocky Linux release 9.6 (Blue Onyx)\n",
        "etc/yum.repos.d/rocky.repo": "[baseos]\nname=Rocky Linux $releasever - BaseOS\n",
        "etc/login.defs": LOGIN_DEFS,
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin\n",
        "etc/shadow 0": "root:!locked::0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
        "etc/group": "root:x:0:\nnobody:x:65534:\n",
        "etc/gshadow 0": "root:::\nnobody:::\n",
        "usr/bin/sh": "-> bash",
        "usr/lib/rpm/macros.d/macros.image-language-conf": "%_install_langs C.utf8\n",
        # Kickstart masks them for Docker.
        **{f"{ETC_UNIT}/{name}": "-> /dev/null" for name in _ROCKY_MASKED},
        **_timer("dnf-makecache"),
        "var/lib/rpm/rpmdb.sqlite": "SQLite format 3\0",
        "var/lib/dnf/history.sqlite": "SQLite format 3\0",
    },
    packages={
        "systemd": {
            "usr/lib/systemd/systemd": ELF,
            "usr/lib/systemd/libsystemd-shared-252.so": ELF,
            "usr/sbin/init": "-> ../lib/systemd/systemd",
            "etc/machine-id 444": "5f1c6a2be0f14d1c9d0b7a8f2f6a1c11\n",
            f"{UNIT}/multi-user.target": "[Unit]\nDescription=Multi-User System\n",
            f"{UNIT}/getty.target": "[Unit]\nDescription=Login Prompts\n",
            f"{UNIT}/systemd-logind.service": "[Service]\nExecStart=/usr/lib/systemd/systemd-logind\n",
            f"{UNIT}/console-getty.service": "[Service]\nExecStart=-/sbin/agetty console\n[Install]\n"
            "WantedBy=getty.target\n",
        },
        "dbus": {"usr/bin/dbus-broker": ELF},
        "NetworkManager": {
            "usr/sbin/NetworkManager": ELF,
            "etc/NetworkManager/NetworkManager.conf": "[main]\n[logging]\n",
            "etc/NetworkManager/system-connections/": "",
            **_unit(
                "NetworkManager.service",
                "[Service]\nExecStart=/usr/sbin/NetworkManager --no-daemon\n[Install]\nWantedBy=multi-user.target\n",
            ),
        },
        "iproute": {"usr/sbin/ip": ELF},
        "iputils": {"usr/bin/ping": ELF},
        "hostname": {"usr/bin/hostname": ELF},
        "passwd": {"usr/bin/passwd": ELF},
        "procps-ng": {"usr/bin/ps": ELF},
        "openssh-server": {
            "usr/sbin/sshd": ELF,
            "usr/bin/ssh-keygen": ELF,
            "usr/libexec/openssh/sshd-keygen 755": "#!/bin/bash\n",
            "etc/ssh/sshd_config 600": "Include /etc/ssh/sshd_config.d/*.conf\n"
            "AuthorizedKeysFile .ssh/authorized_keys\nSubsystem sftp /usr/libexec/openssh/sftp-server\n",
            "etc/ssh/sshd_config.d/50-redhat.conf 600": "SyslogFacility AUTHPRIV\nKbdInteractiveAuthentication no\n"
            "UsePAM yes\nX11Forwarding yes\nPrintMotd no\n",
            **_unit(
                "sshd.service",
                "[Unit]\nWants=sshd-keygen.target\n[Service]\nExecStart=/usr/sbin/sshd -D $OPTIONS\n[Install]\n"
                "WantedBy=multi-user.target\n",
            ),
            **_unit(
                "sshd-keygen@.service",
                "[Unit]\nConditionFileNotEmpty=|!/etc/ssh/ssh_host_%i_key\n[Service]\n"
                "ExecStart=/usr/libexec/openssh/sshd-keygen %i\n",
            ),
            **_unit("sshd-keygen.target", "[Unit]\nWants=sshd-keygen@ed25519.service\n"),
        },
        "ca-certificates": {"etc/pki/tls/certs/ca-bundle.crt": "-----BEGIN CERTIFICATE-----\n"},
    },
    caches={
        "var/cache/dnf/baseos-0c3f/repodata/repomd.xml": "<repomd/>",
        "var/cache/dnf/expired_repos.json": "[]",
        "var/log/dnf.log": "install openssh-server\n",
    },
    provisioned={
        "etc/ssh/sshd_config.d/ 700": "",
        "etc/ssh/sshd_config.d/00-keys-only.conf 600": KEYS_ONLY,
        **{f"{ETC_UNIT}/{name}": GONE for name in _ROCKY_MASKED[:3]},
        f"{ETC_UNIT}/default.target": f"{LIB}/multi-user.target",
        f"{WANTS}/NetworkManager.service": f"{LIB}/NetworkManager.service",
        f"{WANTS}/sshd.service": f"{LIB}/sshd.service",
        f"{ETC_UNIT}/timers.target.wants": GONE,
        "etc/login.defs": LOGIN_DEFS.replace("UMASK 022\n", "") + "UMASK 027\n",
        **NO_CORE,
        **LOCK,
    },
)

ALL = {"ubuntu-24.04": UBUNTU, "alpine": ALPINE, "rocky-9": ROCKY}
"""By the name of the golden image."""
