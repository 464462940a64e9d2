"""Checks that a template carries no identity: what it has, every container made of it has too."""

import re
from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.tar.member import LNK, REG

_HOST_KEYS = ("etc/ssh/ssh_host_*_key", "etc/dropbear/dropbear_*_host_key")
_HOST_KEY = re.compile(rb"etc/(ssh/ssh_host_[^/]*_key|dropbear/dropbear_[^/]*_host_key)")

_SEEDS = (
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    "var/lib/random-seed",
    "var/lib/misc/random-seed",
)

_OTHERS = {
    b"var/lib/systemd/credential.secret": "the key of systemd's encrypted credentials",
    b"var/lib/NetworkManager/secret_key": "the key of NetworkManager's stable addresses and client ids",
    b"etc/iscsi/initiatorname.iscsi": "the name of an iSCSI initiator",
    b"etc/salt/pki/minion/minion.pem": "the key of a Salt minion",
    b"etc/salt/minion_id": "the name of a Salt minion",
    b"var/lib/tailscale/tailscaled.state": "the identity of a Tailscale node",
    b"var/lib/cloud/instance": "the mark of an instance that cloud-init has set up",
}

_CONTAINER_ID = re.compile(r"[0-9a-f]{12}")


def _host_keys(subject: Subject) -> Iterator[Finding]:
    for path in subject.survey.texts:
        if _HOST_KEY.fullmatch(path) and subject.survey.texts[path]:
            yield Finding("is a private host key", path)


def _machine_id(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    content = (survey.text(b"etc/machine-id") or "").strip()
    if content not in ("", "uninitialized"):
        yield Finding(f"holds {content[:32]!r}", b"etc/machine-id")
    # A link leads to /etc/machine-id; a file of its own would outlive the one there.
    path = b"var/lib/dbus/machine-id"
    if survey.type(path) in (REG, LNK) and (survey.text(path) or "").strip():
        yield Finding("is a copy of its own beside /etc/machine-id", path)


def _random_seed(subject: Subject) -> Iterator[Finding]:
    for path in _SEEDS:
        if subject.survey.texts.get(path.encode()):
            yield Finding("holds a random seed", path.encode(), "warning")


def _hostname(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    name = (survey.text(b"etc/hostname") or "").strip()
    if _CONTAINER_ID.fullmatch(name):
        yield Finding(f"holds {name!r}, the id of the container that it was built in", b"etc/hostname", "warning")
    for path in (b"etc/hostname", b"etc/hosts"):
        if "LXC_NAME" in (survey.text(path) or ""):
            yield Finding("holds distrobuilder's placeholder LXC_NAME", path, "warning")


def _others(subject: Subject) -> Iterator[Finding]:
    for path, what in _OTHERS.items():
        if subject.survey.type(path) is not None:
            yield Finding(f"is {what}", path, "warning")


IDENTITY = (
    Check(
        id="ssh-host-keys",
        group="identity",
        heading="SSH host keys",
        why=(
            "Whoever has the template has the private keys of every container made of it and can pose as each. Proxmox "
            "makes new RSA, ECDSA and Ed25519 keys at create, but not in unmanaged containers, and no one else does."
        ),
        find=_host_keys,
        hint="leave the operation ssh-host-keys on, or `rm /etc/ssh/ssh_host_*` at the end of the build",
        reads=_HOST_KEYS,
    ),
    Check(
        id="machine-id",
        group="identity",
        heading="Machine id",
        why=(
            "machine-id(5) is to be unique: DHCP leases, journals and D-Bus tell machines apart by it. Proxmox removes "
            "/etc/machine-id at create, but not in unmanaged containers, and D-Bus's copy only beside systemd."
        ),
        find=_machine_id,
        hint="leave the operation machine-id on, or empty /etc/machine-id and link /var/lib/dbus/machine-id to it",
        reads=("etc/machine-id", "var/lib/dbus/machine-id"),
    ),
    Check(
        id="random-seed",
        group="identity",
        heading="Random seed",
        why="A seed is to be used once (systemd-random-seed.service(8)); in a template it is shared.",
        find=_random_seed,
        hint="leave the operation random-seed on, or remove the file",
        reads=_SEEDS,
    ),
    Check(
        id="hostname",
        group="identity",
        heading="Name of another container",
        why=(
            "Proxmox writes hostname and hosts of the containers that it sets up; unmanaged ones and plain LXC keep "
            "the template's: the id of a Docker container, or LXC_NAME, for which distrobuilder's tools put the name."
        ),
        find=_hostname,
        hint="empty /etc/hostname and take the line out of /etc/hosts",
        reads=("etc/hostname", "etc/hosts"),
    ),
    Check(
        id="other-identities",
        group="identity",
        heading="Other keys and marks of one machine",
        why="These are made once for each machine and are not made again where they are there already.",
        find=_others,
        hint="remove it at the end of the build: it is made anew at the first start",
    ),
)
