"""SSH host keys: cleanup removes them, and each container generates its own."""

import re

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits.units import READS, systemd

UNIT = b"etc/systemd/system/lxcast-ssh-host-keys.service"
LINK = b"etc/systemd/system/multi-user.target.wants/lxcast-ssh-host-keys.service"

# DefaultDependencies=no, because the defaults order the unit after sockets.target and therefore after ssh.socket.
TEXT = """\
[Unit]
Description=Make the SSH host keys of this container
Documentation=man:ssh-keygen(1)
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=ssh.socket sshd.socket ssh.service sshd.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def _ssh_host_keys(fitting: Fitting) -> None:
    if not systemd(fitting) or not fitting.resolve(b"usr/sbin/sshd") or not fitting.resolve(b"usr/bin/ssh-keygen"):
        return
    if any(re.fullmatch(rb"etc/ssh/ssh_host_.*_key", path) for path in fitting.survey.paths()):
        return
    # Fedora and its derivatives, Arch and SUSE ship such a unit. The one in Debian 13 runs only at the first boot, and
    # with an existing, empty machine-id no boot counts as the first (machine-id(5)).
    keygens = re.compile(r"ssh-keygen|sshd?-?gen-?keys|sshd-keygen")
    others = [fitting.text(path) or "" for path in fitting.files(READS) if b"ssh" in path and path != UNIT]
    if any(keygens.search(text) and "\nConditionFirstBoot=" not in text for text in others):
        return
    fitting.write(UNIT, TEXT, "added a unit that generates missing SSH host keys")
    fitting.link(LINK, b"/" + UNIT, "enabled the unit")


FITS = (
    Fit(
        "ssh-host-keys-at-boot",
        True,
        "add a unit that generates SSH host keys at the first boot",
        "Debian and Ubuntu generate host keys only when sshd is installed, and sshd does not start without them."
        " Proxmox generates keys when it creates a container, and the unit then does nothing. Plain LXC and unmanaged"
        " containers need it.",
        _ssh_host_keys,
        holds=(UNIT.decode(), LINK.decode()),
        reads=READS,
    ),
)
