"""The table of cleanup operations, modeled on the operations of virt-sysprep (guestfs) that apply to containers.

No operation may make a system unbootable or remove data that a package manager needs: directories owned by packages,
package databases, debconf answers and users' crontabs stay.
"""

from lxcast.rootfs.cleanup import Operation
from lxcast.tar.member import BLK, CHR, DIR, SYM

OPERATIONS = (
    Operation(
        "ssh-host-keys",
        True,
        "SSH host keys",
        "Containers with the same host keys can impersonate each other. Each container gets new keys when it is created"
        " or first boots.",
        drop=("etc/ssh/ssh_host_*", "etc/dropbear/dropbear_*_host_key"),
    ),
    Operation(
        "machine-id",
        True,
        "machine identity",
        "Containers with the same machine-id share a DHCP identity and a journal. An empty file makes systemd create an"
        " id at boot (machine-id(5)). The file stays because a read-only /etc needs it as a mount point.",
        drop=("var/lib/dbus/machine-id", "etc/hostid", "var/lib/yum/uuid", "var/lib/zypp/AnonymousUniqueId"),
        truncate=("etc/machine-id",),
        spares=(SYM,),  # a link to /etc/machine-id holds no identity
    ),
    Operation(
        "apt-cache",
        True,
        "apt package lists and archives",
        "They can be half of a freshly built root filesystem, and `apt-get update` downloads them again. The"
        " directories stay because apt requires lists/partial with its owner.",
        drop=("var/lib/apt/lists/*", "var/cache/apt/*"),
        spares=(DIR,),
    ),
    Operation(
        "dpkg-old",
        True,
        "backup copies of the dpkg and debconf databases",
        "They hold the state before the last change and differ in each build.",
        drop=("var/lib/dpkg/*-old", "var/cache/debconf/*-old", "var/lib/ucf/{hashfile,registry}.[0-9]*"),
    ),
    Operation(
        "apk-cache",
        True,
        "apk index and packages",
        "`apk update` downloads them again.",
        drop=("var/cache/apk/*", "etc/apk/cache/*"),
        spares=(DIR,),
    ),
    Operation(
        "dnf-cache",
        True,
        "dnf, yum and rpm caches",
        "They are downloaded or built again. rpm's __db files belong to one running system.",
        drop=(
            "var/cache/{dnf,yum,libdnf5,PackageKit}/*",
            "var/lib/dnf/repos/*",
            "var/lib/rpm/__db.*",
        ),
    ),
    Operation(
        "pacman-cache",
        True,
        "pacman packages and repository databases",
        "`pacman -Sy` downloads them again.",
        drop=("var/cache/pacman/pkg/*", "var/lib/pacman/sync/*"),
    ),
    Operation(
        "zypper-cache",
        True,
        "zypper caches",
        "`zypper refresh` downloads them again.",
        drop=("var/cache/{zypp,zypper}/*",),
    ),
    Operation(
        "portage-cache",
        True,
        "portage sources and binary packages",
        "`emerge` downloads them again.",
        drop=("var/cache/{distfiles,binpkgs}/*",),
        spares=(DIR,),
    ),
    Operation(
        "language-caches",
        True,
        "download caches of pip, npm and yarn",
        "Installed packages stay; the caches are downloaded again.",
        drop=("{root,home/*}/.cache/{pip,yarn,node-gyp}", "{root,home/*}/.npm/{_cacache,_logs}"),
    ),
    Operation(
        "journal",
        True,
        "journal files",
        "Each machine has its own directory, named after its machine-id. var/log/journal itself stays because it makes"
        " the journal persistent.",
        drop=("var/log/journal/*",),
    ),
    Operation(
        "logs",
        True,
        "log files",
        "They describe the build. Log files are emptied and keep owner and mode, because services expect them."
        " Directories stay; rotated files are removed.",
        drop=(
            "var/log/**/*.{gz,xz,bz2,zst,lz4,old,[0-9],[0-9][0-9]}",
            "var/log/**/*-{20[0-9][0-9][01][0-9][0-3][0-9],20[0-9][0-9]-[01][0-9]-[0-3][0-9]}{,.log}",
        ),
        truncate=("var/log/*", "var/account/pacct"),
        spares=(DIR,),
    ),
    Operation(
        "logins",
        True,
        "traces of logins",
        "They record who logged in during the build.",
        drop=(
            "var/lib/{lastlog/lastlog2.db,wtmpdb/wtmp.db}",
            "var/{lib,db}/sudo/{lectured,ts}/*",
            "var/run/{utmp,faillock/*}",
        ),
    ),
    Operation(
        "tmp",
        True,
        "temporary files",
        "They belong to the build. The directories stay.",
        drop=("tmp/*", "var/tmp/*"),
    ),
    Operation(
        "run",
        True,
        "runtime state",
        "An init mounts a new /run over it. Directories stay because a container that runs a program instead of an init"
        " may need the one that its package created.",
        drop=("run/*", "var/run/*.pid", "var/lock/*"),
        spares=(DIR,),
    ),
    Operation(
        "pseudo-filesystems",
        True,
        "files below /proc and /sys",
        "The kernel's filesystems are mounted over them; files there are left over from the build.",
        drop=("proc/*", "sys/*"),
    ),
    Operation(
        "shell-history",
        True,
        "history files of shells and other programs",
        "Commands typed during the build may contain secrets.",
        drop=(
            "{root,home/*}/.*_history",
            "{root,home/*}/.{histfile,lesshst,viminfo,wget-hsts}",
            "{root,home/*}/.local/share/fish/fish_history",
            "{root,home/*}/.local/state/{bash/history,lesshst,python_history}",
        ),
    ),
    Operation(
        "mail",
        True,
        "mailboxes",
        "They hold mail that cron jobs and packages sent to root during the build.",
        drop=("var/mail/*", "var/spool/mail/*", "{root,home/*}/dead.letter"),
        spares=(DIR,),
    ),
    Operation(
        "cloud-init",
        True,
        "cloud-init state",
        "With it, cloud-init treats the container as the machine that was built and skips its setup. Seeds and per-boot"
        " scripts stay.",
        drop=("var/lib/cloud/{data,instance,instances,sem}",),
    ),
    Operation(
        "dhcp-leases",
        True,
        "DHCP leases and client identities",
        "Containers with the same identity get the same address.",
        drop=(
            "var/lib/{dhclient,dhcp3,dhcpcd,dhcpcd5}/*",
            "var/lib/dhcp/dhclient*",
            "var/lib/NetworkManager/{*.lease,secret_key,timestamps,seen-bssids}",
            "var/lib/connman/*/data",
            "etc/dhcpcd.{duid,secret}",
        ),
        truncate=("var/lib/{dhcp,dhcpd}/dhcpd*.leases",),
        spares=(DIR,),
    ),
    Operation(
        "random-seed",
        True,
        "random seeds and the systemd credential secret",
        "Two machines with the same seed can generate the same random numbers, and a shared secret decrypts the"
        " credentials of both.",
        drop=(
            "var/lib/systemd/{random-seed,credential.secret}",
            "var/lib/{random-seed,urandom/random-seed,misc/random-seed,seedrng/*}",
            "{etc,var/db,boot/loader}/random-seed",
        ),
    ),
    Operation(
        "ldconfig-cache",
        True,
        "ldconfig auxiliary cache",
        "It holds inode numbers and times of the build disk, so it differs in each build and is never valid.",
        drop=("var/cache/ldconfig/aux-cache",),
    ),
    Operation(
        "man-cache",
        True,
        "index of manual pages",
        "It differs in each build. The man-db timer creates it again.",
        drop=("var/cache/man/*",),
        spares=(DIR,),
    ),
    Operation(
        "schedule-stamps",
        True,
        "time stamps of timers, cron, apt and logrotate",
        "They record when the build machine last ran a job, so a new container would skip its first run.",
        drop=(
            "var/lib/systemd/timers/stamp-*",
            "var/spool/anacron/*",
            "var/lib/apt/periodic/*",
            "var/lib/logrotate/{status,logrotate.status}",
            "var/lib/logrotate.status",
        ),
    ),
    Operation(
        "udev-persistent-net",
        True,
        "udev names of network interfaces",
        "They bind eth0 to the hardware address of the build machine.",
        drop=("etc/udev/rules.d/70-persistent-net.rules",),
    ),
    Operation(
        "hardware-state",
        True,
        "data about the disks of the build machine",
        "Block device caches and LVM archives describe disks that a container does not have.",
        drop=("etc/blkid/*", "etc/blkid.tab*", "etc/lvm/{archive,backup,cache}/*", "etc/lvm/devices/system.devices"),
    ),
    Operation(
        "crash-data",
        True,
        "crash reports and core dumps",
        "They contain the memory of processes of the build.",
        drop=("var/crash/*", "var/lib/systemd/coredump/*", "var/spool/abrt/*", "var/lib/apport/coredump/*"),
    ),
    Operation(
        "backup-files",
        True,
        "backup copies of configuration and accounts",
        "Files such as shadow- keep old password hashes. Copies left by a package manager are outdated.",
        drop=(
            "etc/{passwd,shadow,group,gshadow,subuid,subgid}-",
            "etc/**/*{.dpkg-old,.dpkg-dist,.dpkg-new,.dpkg-tmp,.dpkg-bak,.ucf-old,.ucf-dist,~}",
            "etc/**/*.{rpmsave,rpmorig,rpmnew,apk-new,pacnew,pacsave,pacorig}",
            "var/backups/*",
        ),
        spares=(DIR,),
    ),
    Operation(
        "registrations",
        True,
        "keys and registrations of a single machine",
        "The Kerberos keytab, Samba secrets, sssd cache, Red Hat subscription and Puppet certificate identify the build"
        " machine to other systems.",
        drop=(
            "etc/krb5.keytab",
            "var/lib/samba/private/secrets.*",
            "var/lib/sss/{db,mc,pipes}/*",
            "etc/pki/{consumer,entitlement}/*.pem",
            "var/lib/rhsm/*",
            "etc/sysconfig/rhn/{systemid,osad-auth.conf}",
            "{var/lib/puppet/ssl,etc/puppetlabs/puppet/ssl}/*",
        ),
        spares=(DIR,),
    ),
    Operation(
        "docker-residue",
        True,
        "files that Docker and Packer leave in a container",
        "/.dockerenv makes programs assume that they run in Docker. /packer-files is the mount point of Packer's docker"
        " builder.",
        drop=(".dockerenv", ".dockerinit", "packer-files"),
    ),
    Operation(
        "build-residue",
        True,
        "files of image builders and container backups",
        "BuildKit's exporter writes attestations, which contain the build arguments, to the root directory. eStargz"
        " marks layers with files. A backup by vzdump contains the configuration of the container: its name, addresses"
        " and firewall rules. Proxmox writes /fastboot at each start.",
        drop=(
            "{provenance,sbom}{,[-.]*}.json",
            "{.prefetch.landmark,.no.prefetch.landmark,stargz.index.json}",
            "etc/vzdump",
            "fastboot",
        ),
        spares=(DIR,),
    ),
    Operation(
        "bookkeeping-xattrs",
        True,
        "extended attributes of overlay filesystems and rootless builders",
        "They record whiteouts, origins and owners for the tool that built the layer: overlayfs, fuse-overlayfs,"
        " containers storage, umoci and rootlesscontainers. tar would restore those in the user namespace.",
        xattrs=(
            "user.overlay.",
            "trusted.overlay.",
            "user.fuseoverlayfs.",
            "user.containers.",
            "user.rootlesscontainers",
        ),
    ),
    Operation(
        "docker-apt",
        True,
        "Docker configuration of apt, dpkg and policy-rc.d",
        "The Debian and Ubuntu images for Docker prevent services from starting (policy-rc.d), unpack packages without"
        " fsync and make apt delete its caches. That suits an image layer, not a machine.",
        drop=(
            "usr/sbin/policy-rc.d",
            "etc/apt/apt.conf.d/docker-*",
            "etc/dpkg/dpkg.cfg.d/docker-apt-speedup",
        ),
        spares=(SYM,),  # a link to /etc/alternatives belongs to a package that was installed on purpose
    ),
    Operation(
        "device-nodes",
        True,
        "device nodes and everything in /dev",
        "An unprivileged container cannot create device nodes: tar fails, and the container is not created. LXC"
        " populates /dev.",
        drop=("dev/*",),
        types=(CHR, BLK),
    ),
    Operation(
        "python-caches",
        False,
        "compiled Python files",
        "Saves space. Python compiles again at run time, which costs time at each start if it cannot save the result.",
        drop=("**/__pycache__", "usr/**/*.pyc"),
    ),
    Operation(
        "docs",
        False,
        "manual pages and documentation",
        "Saves space. Licenses (usr/share/doc/*/copyright) stay, and so do directories: package scripts create links in"
        " usr/share/man.",
        drop=(
            "usr/share/doc/*/{[!c]*,c[!o]*,co[!p]*}",
            "usr/share/{man,info,gtk-doc,help,lintian,linda}/*",
        ),
        spares=(DIR,),
    ),
    Operation(
        "locales",
        False,
        "translations except English",
        "Saves space. C, en* and locale.alias stay.",
        drop=("usr/share/locale/{[!Cel]*,e[!n]*,e,l[!o]*,l,lo,lo[!c]*}",),
    ),
)
"""In order of precedence: the first row that matches a path applies."""
