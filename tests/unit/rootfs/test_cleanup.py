import pytest

from lxcast.errors import UsageError
from lxcast.rootfs.cleanup import Cleanup, Hit
from lxcast.rootfs.operations import OPERATIONS
from lxcast.tar.member import BLK, CHR, DIR, FIFO, LNK, REG, SYM, Member, regular

ROWS = {row.id: row for row in OPERATIONS}

EXAMPLES = """
ssh-host-keys
    drop     etc/ssh/ssh_host_rsa_key etc/ssh/ssh_host_ed25519_key.pub etc/dropbear/dropbear_rsa_host_key
    spare    etc/ssh/ etc/ssh/sshd_config etc/ssh/ssh_config.d/a.conf root/.ssh/id_rsa etc/dropbear/banner
machine-id
    drop     var/lib/dbus/machine-id etc/hostid var/lib/yum/uuid
    drop     var/lib/zypp/AnonymousUniqueId
    truncate etc/machine-id
    spare    etc/machine-id@ var/lib/dbus/machine-id@ var/lib/dbus/ etc/machine-info
apt-cache
    drop     var/lib/apt/lists/deb.example_InRelease var/lib/apt/lists/lock var/lib/apt/lists/partial/x
    drop     var/cache/apt/pkgcache.bin var/cache/apt/archives/bash.deb var/cache/apt/archives/lock
    spare    var/lib/apt/lists/ var/lib/apt/lists/partial/ var/cache/apt/archives/partial/
    spare    var/lib/apt/extended_states var/cache/debconf/config.dat
dpkg-old
    drop     var/lib/dpkg/status-old var/lib/dpkg/diversions-old var/cache/debconf/templates.dat-old
    drop     var/lib/ucf/registry.0
    spare    var/lib/dpkg/status var/lib/dpkg/info/a.list var/cache/debconf/templates.dat var/lib/ucf/registry
apk-cache
    drop     var/cache/apk/APKINDEX.1.tar.gz etc/apk/cache/a.apk
    spare    var/cache/apk/ etc/apk/cache@ lib/apk/db/installed
dnf-cache
    drop     var/cache/dnf/x/ var/cache/dnf/x/repodata var/cache/yum/a var/cache/libdnf5/a var/lib/rpm/__db.001
    drop     var/lib/dnf/repos/a/countme
    spare    var/cache/dnf/ var/lib/rpm/rpmdb.sqlite var/lib/dnf/history.sqlite
pacman-cache
    drop     var/cache/pacman/pkg/a.pkg.tar.zst var/lib/pacman/sync/core.db
    spare    var/cache/pacman/pkg/ var/lib/pacman/local/a/desc
zypper-cache
    drop     var/cache/zypp/raw/a var/cache/zypper/a
    spare    var/cache/zypp/ var/lib/zypp/AutoInstalled
portage-cache
    drop     var/cache/distfiles/a.tar.xz var/cache/binpkgs/a.gpkg
    spare    var/cache/distfiles/ var/db/pkg/a
language-caches
    drop     root/.cache/pip/ root/.cache/pip/http/a home/u/.npm/_cacache/x home/u/.cache/yarn/a
    spare    root/.cache/ root/.cache/ms-playwright/a root/.npmrc root/pip
journal
    drop     var/log/journal/0123456789abcdef/ var/log/journal/0123456789abcdef/system.journal
    spare    var/log/journal/ var/log/journald
logs
    drop     var/log/dpkg.log.1 var/log/syslog.10 var/log/apt/term.log.2.gz var/log/messages-20240131
    drop     var/log/a/b/c.old var/log/x-2024-01-31.log
    truncate var/log/wtmp var/log/btmp var/log/lastlog var/log/apt/history.log var/log/nginx/access.log
    truncate var/account/pacct
    spare    var/log/ var/log/apt/ var/log/postgresql.1/ var/log/current@ var/logs/a
logins
    drop     var/lib/lastlog/lastlog2.db var/lib/wtmpdb/wtmp.db var/lib/sudo/lectured/u var/run/utmp
    spare    var/lib/sudo/ var/lib/lastlog/ etc/sudoers
tmp
    drop     tmp/a tmp/b/ tmp/b/c var/tmp/a tmp/.X11-unix/
    spare    tmp/ var/tmp/ usr/tmp/a
run
    drop     run/utmp run/lock/a run/.containerenv run/secrets/token run/initctl@ var/run/sshd.pid var/lock/a
    spare    run/ run/lock/ run/nginx/ var/run@
pseudo-filesystems
    drop     proc/a sys/kernel/ proc/self@
    spare    proc/ sys/ etc/proc
shell-history
    drop     root/.bash_history home/u/.zsh_history root/.python_history root/.lesshst home/u/.viminfo
    drop     root/.local/share/fish/fish_history root/.local/state/bash/history
    spare    root/.bashrc home/u/ home/.bash_history root/.config/history
mail
    drop     var/mail/root var/spool/mail/u root/dead.letter
    spare    var/mail/ var/spool/mail@ var/spool/postfix/active/a
cloud-init
    drop     var/lib/cloud/instance@ var/lib/cloud/instances/i-1/user-data.txt var/lib/cloud/data/instance-id
    drop     var/lib/cloud/sem/a
    spare    var/lib/cloud/ var/lib/cloud/seed/nocloud/meta-data var/lib/cloud/scripts/per-boot/a
    spare    etc/cloud/cloud.cfg
dhcp-leases
    drop     var/lib/dhclient/a.leases var/lib/dhcp/dhclient.eth0.leases var/lib/dhcpcd/duid etc/dhcpcd.duid
    drop     var/lib/NetworkManager/secret_key var/lib/NetworkManager/x.lease var/lib/connman/wifi/data
    truncate var/lib/dhcp/dhcpd.leases var/lib/dhcpd/dhcpd6.leases
    spare    var/lib/dhcp/ var/lib/NetworkManager/NetworkManager.state etc/dhcpcd.conf
random-seed
    drop     var/lib/systemd/random-seed var/lib/systemd/credential.secret var/lib/urandom/random-seed
    drop     var/lib/seedrng/seed boot/loader/random-seed
    spare    var/lib/systemd/ var/lib/urandom/ var/lib/systemd/linger/u
ldconfig-cache
    drop     var/cache/ldconfig/aux-cache
    spare    var/cache/ldconfig/ etc/ld.so.cache
man-cache
    drop     var/cache/man/index.db var/cache/man/de/index.db
    spare    var/cache/man/ var/cache/man/de/
schedule-stamps
    drop     var/lib/systemd/timers/stamp-apt-daily.timer var/spool/anacron/cron.daily var/lib/logrotate/status
    drop     var/lib/apt/periodic/update-stamp var/lib/logrotate.status
    spare    var/lib/systemd/timers/ var/spool/cron/crontabs/root etc/anacrontab
udev-persistent-net
    drop     etc/udev/rules.d/70-persistent-net.rules
    spare    etc/udev/rules.d/ etc/udev/rules.d/80-mine.rules
hardware-state
    drop     etc/blkid/blkid.tab etc/blkid.tab etc/lvm/backup/vg0 etc/lvm/devices/system.devices
    spare    etc/lvm/ etc/lvm/lvm.conf etc/lvm/archive/
crash-data
    drop     var/crash/a.crash var/lib/apport/coredump/a var/lib/systemd/coredump/core.x var/spool/abrt/a/
    spare    var/crash/ var/lib/systemd/coredump/
backup-files
    drop     etc/passwd- etc/shadow- etc/gshadow- etc/subuid- etc/ssh/sshd_config.dpkg-old etc/a.ucf-dist
    drop     etc/b/c/d.rpmnew etc/a.apk-new etc/hosts~ var/backups/dpkg.status.0 etc/pacman.d/mirrorlist.pacnew
    spare    etc/passwd etc/shadow etc/a.bak var/backups/ usr/share/a.dpkg-old etc/dpkg-old
registrations
    drop     etc/krb5.keytab var/lib/samba/private/secrets.tdb var/lib/sss/db/cache_x.ldb
    drop     etc/pki/consumer/key.pem etc/sysconfig/rhn/systemid var/lib/rhsm/facts/facts.json
    drop     var/lib/puppet/ssl/private_keys/a.pem
    spare    etc/krb5.conf etc/samba/smb.conf var/lib/sss/db/ etc/pki/consumer/ etc/pki/tls/cert.pem
docker-residue
    drop     .dockerenv .dockerinit packer-files/ packer-files/x
    spare    etc/.dockerenv root/packer-files/ .profile
build-residue
    drop     provenance.json provenance-linux_amd64.json sbom.spdx.json sbom-x.json sbom.x.json
    drop     .prefetch.landmark .no.prefetch.landmark stargz.index.json fastboot etc/vzdump/pct.conf
    spare    etc/vzdump/ opt/provenance.json sbomx.json sbom.txt
bookkeeping-xattrs
docker-apt
    drop     usr/sbin/policy-rc.d etc/apt/apt.conf.d/docker-clean etc/apt/apt.conf.d/docker-no-languages
    drop     etc/dpkg/dpkg.cfg.d/docker-apt-speedup
    spare    usr/sbin/policy-rc.d@ etc/apt/apt.conf.d/01autoremove etc/dpkg/dpkg.cfg.d/docker
    spare    etc/docker/daemon.json
device-nodes
    drop     dev/null dev/console dev/shm/ dev/fd@
    spare    dev/ opt/dev/null etc/dev
python-caches
    drop     usr/lib/python3/__pycache__/ usr/lib/python3/__pycache__/a.pyc usr/share/a.pyc
    drop     opt/x/__pycache__/b.pyc
    spare    usr/lib/python3/a.py opt/x/a.pyc
docs
    drop     usr/share/doc/bash/README usr/share/doc/bash/changelog.gz usr/share/doc/bash/examples/a
    drop     usr/share/man/man1/a.1.gz usr/share/info/a.info usr/share/doc/bash/contrib
    spare    usr/share/doc/bash/copyright usr/share/doc/bash/ usr/share/man/man1/ usr/share/common-licenses/GPL
locales
    drop     usr/share/locale/de/ usr/share/locale/de/LC_MESSAGES/a.mo usr/share/locale/lo/
    drop     usr/share/locale/es_MX/ usr/share/locale/eo/ usr/share/locale/lt/
    spare    usr/share/locale/ usr/share/locale/C/ usr/share/locale/en_GB/x usr/share/locale/en/
    spare    usr/share/locale/locale.alias usr/lib/locale/C.utf8/LC_CTYPE
"""
"""Row by row, what it shall drop, truncate and spare: a closing "/" means a folder, "@" a symbolic link."""


def parsed(text: str) -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = {}
    row = ""
    for line in text.strip().splitlines():
        verb, *names = line.split()
        if names:
            table[row][verb] += names
        else:
            row = verb
            table[row] = {"drop": [], "truncate": [], "spare": []}
    return table


TABLE = parsed(EXAMPLES)


def action(cleanup: Cleanup, name: str) -> Hit | None:
    return cleanup.action(name.rstrip("/@").encode(), {"/": DIR, "@": SYM}.get(name[-1], REG))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_takes_what_it_names_and_spares_its_neighbours(row: str) -> None:
    examples = TABLE[row]
    alone, together = Cleanup([ROWS[row]]), Cleanup([ROWS[row], *OPERATIONS])
    for cleanup in (alone, together):
        assert [name for name in examples["drop"] if action(cleanup, name) != Hit(row, "drop")] == []
        assert [name for name in examples["truncate"] if action(cleanup, name) != Hit(row, "truncate")] == []
    assert [name for name in examples["spare"] if action(alone, name) is not None] == []


@pytest.mark.parametrize("row", ROWS)
def test_each_pattern_of_a_row_is_shown_by_an_example(row: str) -> None:
    examples = TABLE[row]["drop"] + TABLE[row]["truncate"]
    unused = []
    for kind in ("drop", "truncate"):
        for pattern in getattr(ROWS[row], kind):
            alone = Cleanup([], remove=[pattern])
            if not any(action(alone, name) for name in examples):
                unused.append(pattern)
    assert unused == []


VITAL = """
bin@ sbin@ lib@ usr/ usr/sbin/init@ usr/lib/systemd/systemd etc/ etc/passwd etc/shadow etc/group etc/fstab
etc/os-release@ etc/debian_version etc/ld.so.cache etc/localtime@ etc/hostname etc/hosts etc/resolv.conf
etc/mtab@ etc/network/interfaces etc/inittab etc/ssl/certs/ca-certificates.crt etc/alternatives/awk@
etc/apt/sources.list etc/apt/apt.conf.d/70debconf etc/systemd/system/multi-user.target.wants/ssh.service@ dev/
proc/ sys/ run/ tmp/ var/tmp/ root/ root/.bashrc root/.profile home/ home/u/.ssh/authorized_keys var/ var/run@
var/lock@ var/lib/dpkg/status var/lib/dpkg/info/libc6:amd64.list var/lib/dpkg/alternatives/awk
var/lib/dpkg/triggers/File var/lib/apt/extended_states var/lib/apt/lists/partial/
var/cache/apt/archives/partial/ var/cache/debconf/config.dat var/lib/rpm/rpmdb.sqlite
usr/lib/sysimage/rpm/rpmdb.sqlite lib/apk/db/installed var/lib/pacman/local/ALPM_DB_VERSION var/lib/pam/auth
var/lib/systemd/deb-systemd-helper-enabled/a.dsh-also var/log/ var/log/journal/ var/log/apt/
var/spool/cron/crontabs/root var/cache/ldconfig/ usr/share/zoneinfo/UTC usr/lib/locale/locale-archive
usr/share/doc/bash/copyright boot/ opt/app/data srv/ usr/lib/x86_64-linux-gnu/libc.so.6
"""


def test_with_every_row_on_what_a_system_needs_to_boot_and_to_be_updated_stays() -> None:
    cleanup = Cleanup(OPERATIONS)
    assert {name: hit for name in VITAL.split() if (hit := action(cleanup, name))} == {}


@pytest.mark.parametrize("type", [CHR, BLK])
def test_device_nodes_go_wherever_they_are(type: bytes) -> None:
    cleanup = Cleanup(OPERATIONS)
    assert cleanup.action(b"var/lib/chroot/null", type) == Hit("device-nodes", "drop")
    assert cleanup.action(b"var/lib/chroot/pipe", FIFO) is None


def test_only_regular_files_are_truncated() -> None:
    cleanup = Cleanup(OPERATIONS)
    assert {type for type in (REG, LNK, SYM, DIR, FIFO) if cleanup.action(b"var/log/app", type)} == {REG}


def test_removals_of_the_user_win_over_every_row_and_are_counted() -> None:
    cleanup = Cleanup(OPERATIONS, remove=("usr/share/big", "var/log/app"))
    hit = cleanup.action(b"usr/share/big/a", REG)
    assert hit == Hit("remove", "drop")
    assert cleanup.action(b"var/log/app", REG) == Hit("remove", "drop")
    cleanup.count(hit, regular(b"usr/share/big/a", b"12345"))
    cleanup.count(hit, regular(b"usr/share/big/b", b"1"))
    assert cleanup.report()["remove"] == {"members": 2, "bytes": 6}


def test_an_empty_log_is_not_counted_as_emptied() -> None:
    cleanup = Cleanup([ROWS["logs"]])
    for content in (b"", b"text"):
        hit = cleanup.action(b"var/log/app", REG)
        assert hit
        cleanup.count(hit, regular(b"var/log/app", content))
    assert cleanup.report() == {"logs": {"members": 1, "bytes": 4}}


def test_the_report_names_every_chosen_row() -> None:
    assert list(Cleanup(OPERATIONS).report()) == list(ROWS)
    assert Cleanup([ROWS["tmp"]]).report() == {"tmp": {"members": 0, "bytes": 0}}


def test_a_removal_outside_the_root_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\.\./etc"):
        Cleanup(OPERATIONS, remove=("../etc",))


def test_identifiers_are_unique_and_no_row_is_without_reason() -> None:
    assert len(ROWS) == len(OPERATIONS)
    assert [row.id for row in OPERATIONS if not (row.heading and row.why.endswith("."))] == []


@pytest.mark.parametrize(
    "path",
    [
        b"provenance.json",
        b"provenance-linux_amd64.json",
        b"sbom.spdx.json",
        b"sbom-scanner.spdx.json",
        b"stargz.index.json",
        b".prefetch.landmark",
        b".no.prefetch.landmark",
        b"etc/vzdump/pct.conf",
        b"etc/vzdump/pct.fw",
        b"fastboot",
    ],
)
def test_files_of_image_builders_and_backups_are_left_out(path: bytes) -> None:
    cleanup = Cleanup(OPERATIONS)
    assert cleanup.action(path, REG) == Hit("build-residue", "drop")
    assert cleanup.action(b"usr/share/" + path, REG) is None


def test_bookkeeping_attributes_of_overlay_and_rootless_builders_are_removed() -> None:
    cleanup = Cleanup(OPERATIONS)
    kept = {b"user.mine": b"1", b"security.capability": b"2"}
    residue = (
        b"user.overlay.opaque",
        b"trusted.overlay.origin",
        b"user.rootlesscontainers",
        b"user.containers.override_stat",
    )
    member = Member(b"usr/x", xattrs={**kept, **dict.fromkeys(residue, b"y")})
    cleanup.strip(member)
    assert member.xattrs == kept
    only = Member(b"usr/y", xattrs={b"user.fuseoverlayfs.opaque": b"y"})
    cleanup.strip(only)
    assert only.xattrs is None
    assert cleanup.report()["bookkeeping-xattrs"] == {"members": 2, "bytes": 0}
