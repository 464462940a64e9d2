"""SSH host keys: cleanup takes them out, each container makes its own."""

import re

from lxcast.rootfs.fit import Fit, Fitting
from lxcast.rootfs.fits.units import READS, systemd

UNIT = b"etc/systemd/system/lxcast-ssh-host-keys.service"
LINK = b"etc/systemd/system/multi-user.target.wants/lxcast-ssh-host-keys.service"

# Without default dependencies, since those order it after sockets.target and so after an ssh.socket.
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
    # Fedora and its kin, Arch and SUSE bring a unit of their own. Debian 13's is for a first boot alone; but where
    # nobody removes the empty machine-id, no boot is the first (machine-id(5)).
    keygens = re.compile(r"ssh-keygen|sshd?-?gen-?keys|sshd-keygen")
    others = [fitting.text(path) or "" for path in fitting.files(READS) if b"ssh" in path and path != UNIT]
    if any(keygens.search(text) and "\nConditionFirstBoot=" not in text for text in others):
        return
    fitting.write(UNIT, TEXT, "added a unit that makes SSH host keys where there are none")
    fitting.link(LINK, b"/" + UNIT, "enabled it")


FITS = (
    Fit(
        "ssh-host-keys-at-boot",
        True,
        "a unit that makes SSH host keys at the first boot",
        "Debian and Ubuntu make host keys when sshd is installed, and never again: without them sshd does not start."
        " Proxmox makes keys at create, then the unit has nothing to do; plain LXC and unmanaged containers need it.",
        _ssh_host_keys,
        holds=(UNIT.decode(), LINK.decode()),
        reads=READS,
    ),
)
