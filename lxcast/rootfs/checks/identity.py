"""Checks that a template contains no machine identity, which every container created from it would share."""

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
    b"var/lib/cloud/instance": "the marker of an instance that cloud-init has configured",
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
        yield Finding(f"contains the id {content[:32]!r}", b"etc/machine-id")
    # Usually a link to /etc/machine-id. A separate file would keep the old id.
    path = b"var/lib/dbus/machine-id"
    if survey.type(path) in (REG, LNK) and (survey.text(path) or "").strip():
        yield Finding("is a file with its own id, not a link to /etc/machine-id", path)


def _random_seed(subject: Subject) -> Iterator[Finding]:
    for path in _SEEDS:
        if subject.survey.texts.get(path.encode()):
            yield Finding("contains a random seed", path.encode(), "warning")


def _hostname(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    name = (survey.text(b"etc/hostname") or "").strip()
    if _CONTAINER_ID.fullmatch(name):
        yield Finding(f"contains {name!r}, the id of the container used for the build", b"etc/hostname", "warning")
    for path in (b"etc/hostname", b"etc/hosts"):
        if "LXC_NAME" in (survey.text(path) or ""):
            yield Finding("contains distrobuilder's placeholder LXC_NAME", path, "warning")


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
            "Everyone with the template has the private keys of all containers created from it and can impersonate "
            "them. Proxmox generates new RSA, ECDSA and Ed25519 keys when it creates a container, but not for "
            "unmanaged ones."
        ),
        find=_host_keys,
        hint="enable the row ssh-host-keys, or run `rm /etc/ssh/ssh_host_*` at the end of the image build",
        reads=_HOST_KEYS,
    ),
    Check(
        id="machine-id",
        group="identity",
        heading="Machine id",
        why=(
            "machine-id(5) must be unique: DHCP leases, journals and D-Bus identify machines by it. Proxmox removes "
            "/etc/machine-id when it creates a container, but not for unmanaged ones, and the copy of D-Bus only with "
            "systemd."
        ),
        find=_machine_id,
        hint="enable the row machine-id, or empty /etc/machine-id and make /var/lib/dbus/machine-id a link to it",
        reads=("etc/machine-id", "var/lib/dbus/machine-id"),
    ),
    Check(
        id="random-seed",
        group="identity",
        heading="Random seed",
        why="A seed must be used only once (systemd-random-seed.service(8)); containers of a template would share it.",
        find=_random_seed,
        hint="enable the row random-seed, or remove the file",
        reads=_SEEDS,
    ),
    Check(
        id="hostname",
        group="identity",
        heading="Name of another container",
        why=(
            "Proxmox writes hostname and hosts for containers that it manages. Unmanaged containers and plain LXC keep "
            "the content of the template: the id of a Docker container, or the placeholder LXC_NAME of distrobuilder."
        ),
        find=_hostname,
        hint="empty /etc/hostname and remove the line from /etc/hosts",
        reads=("etc/hostname", "etc/hosts"),
    ),
    Check(
        id="other-identities",
        group="identity",
        heading="Other keys and markers of a single machine",
        why="Programs create these files once for each machine and keep existing ones.",
        find=_others,
        hint="remove the file at the end of the image build; it is created again at the first start",
    ),
)
