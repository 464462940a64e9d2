"""The table of cleanup operations, modelled on virt-sysprep's (guestfs) as far as it concerns containers.

Nothing here may make a system unbootable or lose what a package manager needs: folders that packages own stay, and so
do databases, debconf's answers and users' crontabs.
"""

from lxcast.rootfs.cleanup import Operation
from lxcast.tar.member import BLK, CHR, DIR, SYM

OPERATIONS = (
    Operation(
        "ssh-host-keys",
        True,
        "SSH host keys",
        "Containers that share host keys can impersonate one another; each makes its own at create or first boot.",
        drop=("etc/ssh/ssh_host_*", "etc/dropbear/dropbear_*_host_key"),
    ),
    Operation(
        "machine-id",
        True,
        "the machine identity",
        "One machine-id in several containers gives them one DHCP identity and one journal; empty means: make one at"
        " boot (machine-id(5)). It is emptied and not dropped, since a read-only /etc needs the file to mount over.",
        drop=("var/lib/dbus/machine-id", "etc/hostid", "var/lib/yum/uuid", "var/lib/zypp/AnonymousUniqueId"),
        truncate=("etc/machine-id",),
        spares=(SYM,),  # a link to /etc/machine-id has no identity of its own
    ),
    Operation(
        "apt-cache",
        True,
        "apt's package lists and archives",
        "Half of a freshly built root filesystem; `apt-get update` fetches them anew. The folders stay: apt wants"
        " lists/partial with its own owner.",
        drop=("var/lib/apt/lists/*", "var/cache/apt/*"),
        spares=(DIR,),
    ),
    Operation(
        "dpkg-old",
        True,
        "dpkg's and debconf's copies of their own databases",
        "The state before the last change: of no use in a template, and different in each build.",
        drop=("var/lib/dpkg/*-old", "var/cache/debconf/*-old", "var/lib/ucf/{hashfile,registry}.[0-9]*"),
    ),
    Operation(
        "apk-cache",
        True,
        "apk's index and packages",
        "`apk update` fetches them anew.",
        drop=("var/cache/apk/*", "etc/apk/cache/*"),
        spares=(DIR,),
    ),
    Operation(
        "dnf-cache",
        True,
        "dnf's, yum's and rpm's caches",
        "They are fetched or built anew; rpm's __db files belong to one running system.",
        drop=(
            "var/cache/{dnf,yum,libdnf5,PackageKit}/*",
            "var/lib/dnf/repos/*",
            "var/lib/rpm/__db.*",
        ),
    ),
    Operation(
        "pacman-cache",
        True,
        "pacman's packages and databases of the repositories",
        "`pacman -Sy` fetches them anew.",
        drop=("var/cache/pacman/pkg/*", "var/lib/pacman/sync/*"),
    ),
    Operation(
        "zypper-cache",
        True,
        "zypper's caches",
        "`zypper refresh` fetches them anew.",
        drop=("var/cache/{zypp,zypper}/*",),
    ),
    Operation(
        "portage-cache",
        True,
        "portage's sources and binary packages",
        "`emerge` fetches them anew.",
        drop=("var/cache/{distfiles,binpkgs}/*",),
        spares=(DIR,),
    ),
    Operation(
        "language-caches",
        True,
        "download caches of pip, npm and yarn",
        "What was installed from them stays; the caches are fetched anew.",
        drop=("{root,home/*}/.cache/{pip,yarn,node-gyp}", "{root,home/*}/.npm/{_cacache,_logs}"),
    ),
    Operation(
        "journal",
        True,
        "journal files",
        "Each machine has a folder of its own, named by its machine-id; var/log/journal itself stays, since it makes"
        " the journal persistent.",
        drop=("var/log/journal/*",),
    ),
    Operation(
        "logs",
        True,
        "log files",
        "They tell of the build. The files that services expect stay, empty, with owner and mode, and so do all"
        " folders; rotated ones go.",
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
        "Who logged in while the template was built is no one's business afterwards.",
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
        "They belong to the build; the folders stay.",
        drop=("tmp/*", "var/tmp/*"),
    ),
    Operation(
        "run",
        True,
        "run-time state",
        "An init mounts a fresh /run over it. The folders stay, for a container that runs a program in place of an"
        " init may need the one that its package made.",
        drop=("run/*", "var/run/*.pid", "var/lock/*"),
        spares=(DIR,),
    ),
    Operation(
        "pseudo-filesystems",
        True,
        "files below /proc and /sys",
        "The kernel's own are mounted over them; what lies there is residue of a build.",
        drop=("proc/*", "sys/*"),
    ),
    Operation(
        "shell-history",
        True,
        "histories of shells and other programs",
        "What was typed during the build may hold secrets.",
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
        "mail boxes",
        "Mail to root from cron jobs and packages of the build.",
        drop=("var/mail/*", "var/spool/mail/*", "{root,home/*}/dead.letter"),
        spares=(DIR,),
    ),
    Operation(
        "cloud-init",
        True,
        "cloud-init's state",
        "With it, cloud-init takes the container for the machine that was built; seeds and per-boot scripts stay.",
        drop=("var/lib/cloud/{data,instance,instances,sem}",),
    ),
    Operation(
        "dhcp-leases",
        True,
        "DHCP leases and client identities",
        "Containers with one identity are given one address.",
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
        "random seeds and the host's credential secret",
        "A seed that is used twice gives two machines the same random numbers; one secret opens the credentials of"
        " both.",
        drop=(
            "var/lib/systemd/{random-seed,credential.secret}",
            "var/lib/{random-seed,urandom/random-seed,misc/random-seed,seedrng/*}",
            "{etc,var/db,boot/loader}/random-seed",
        ),
    ),
    Operation(
        "ldconfig-cache",
        True,
        "ldconfig's auxiliary cache",
        "It holds inode numbers and times of the build's disk, so it differs in each build and is never valid.",
        drop=("var/cache/ldconfig/aux-cache",),
    ),
    Operation(
        "man-cache",
        True,
        "the index of manual pages",
        "It differs in each build; man-db's timer makes it anew.",
        drop=("var/cache/man/*",),
        spares=(DIR,),
    ),
    Operation(
        "schedule-stamps",
        True,
        "stamps of timers, cron, apt and logrotate",
        "They say when the build machine last ran a job, so that a new container skips its first run.",
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
        "udev's names of network cards",
        "They tie eth0 to the build machine's hardware address.",
        drop=("etc/udev/rules.d/70-persistent-net.rules",),
    ),
    Operation(
        "hardware-state",
        True,
        "records of the build machine's disks",
        "Block device caches and LVM's archives describe disks that a container does not have.",
        drop=("etc/blkid/*", "etc/blkid.tab*", "etc/lvm/{archive,backup,cache}/*", "etc/lvm/devices/system.devices"),
    ),
    Operation(
        "crash-data",
        True,
        "crash reports and core dumps",
        "They hold memory of the build's processes.",
        drop=("var/crash/*", "var/lib/systemd/coredump/*", "var/spool/abrt/*", "var/lib/apport/coredump/*"),
    ),
    Operation(
        "backup-files",
        True,
        "backup copies of configuration and accounts",
        "shadow- and the like keep old password hashes; copies that a package manager left were superseded.",
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
        "keys and registrations of this one machine",
        "Kerberos keytab, Samba's secrets, sssd's cache, Red Hat subscription and Puppet's certificate name the build"
        " machine towards others.",
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
        "what Docker and Packer leave in a container",
        "/.dockerenv makes programs believe that they run in Docker; /packer-files is the mount point of Packer's"
        " docker builder.",
        drop=(".dockerenv", ".dockerinit", "packer-files"),
    ),
    Operation(
        "docker-apt",
        True,
        "Docker's configuration of apt, dpkg and policy-rc.d",
        "Docker's Debian and Ubuntu images forbid services to start (policy-rc.d), write packages without fsync, and"
        " make apt delete its caches: right for a layer, wrong for a machine.",
        drop=(
            "usr/sbin/policy-rc.d",
            "etc/apt/apt.conf.d/docker-*",
            "etc/dpkg/dpkg.cfg.d/docker-apt-speedup",
        ),
        spares=(SYM,),  # a link to /etc/alternatives is policy-rc.d of a package: someone's wish, not Docker's
    ),
    Operation(
        "device-nodes",
        True,
        "device nodes, and whatever lies in /dev",
        "An unprivileged container may not make device nodes: tar fails, and create with it. LXC fills /dev itself.",
        drop=("dev/*",),
        types=(CHR, BLK),
    ),
    Operation(
        "python-caches",
        False,
        "compiled Python",
        "Python compiles anew when it runs, which costs time at each start where it may not write the result.",
        drop=("**/__pycache__", "usr/**/*.pyc"),
    ),
    Operation(
        "docs",
        False,
        "manual pages and documentation",
        "Saves space. Licences (usr/share/doc/*/copyright) stay, and so do the folders: packages' scripts write links"
        " into usr/share/man.",
        drop=(
            "usr/share/doc/*/{[!c]*,c[!o]*,co[!p]*}",
            "usr/share/{man,info,gtk-doc,help,lintian,linda}/*",
        ),
        spares=(DIR,),
    ),
    Operation(
        "locales",
        False,
        "translations other than English",
        "Saves space. C, en*, and locale.alias stay.",
        drop=("usr/share/locale/{[!Cel]*,e[!n]*,e,l[!o]*,l,lo,lo[!c]*}",),
    ),
)
"""In the order in which they decide: the first row that covers a path has it."""
