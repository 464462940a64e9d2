"""Checks for secrets and user accounts that a template must not copy into every container.

No finding contains a secret or a part of one: it names the file, the line and the kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from lxcast.rootfs.checks.credentials import (
    AUTHORIZED_KEY,
    AUTHORIZED_KEYS,
    CREDENTIALS,
    ENCRYPTED_KEY,
    PRIVATE_KEY,
)
from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.tar.member import DIR, printable

_REVOKE = (
    "delete the file in the image and revoke the secret: everyone who can read this template, an older one or a layer "
    "of the image has it"
)

_ACCOUNTS = (b"etc/shadow", b"etc/passwd", b"etc/shadow-", b"etc/passwd-")

# crypt(5): $id$salt$hash, traditional DES, and BSDi's extended DES.
_HASH = re.compile(r"\$[^$]+\$.+|[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")

_NO_LOGIN = ("nologin", "false", "true", "sync", "halt", "shutdown")
_HUMAN_IDS = range(1000, 60000)  # UID_MIN to UID_MAX in login.defs of Debian, Fedora and Alpine


def _entries(subject: Subject, path: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a colon-separated file."""
    for number, line in enumerate((subject.survey.text(path) or "").splitlines(), 1):
        fields = line.split(":")
        if len(fields) > 1 and not line.startswith("#"):
            yield number, fields


def _passwords(subject: Subject, wanted: Callable[[str], bool]) -> Iterator[Finding]:
    for path in _ACCOUNTS:
        for number, (user, field, *_) in _entries(subject, path):
            if not wanted(user):
                continue
            if field == "" and not path.endswith(b"-"):
                lock = f"lock it in the image: usermod -p '*' {user}"
                yield Finding(f"line {number}: {user} has an empty password, so anyone can log in", path, hint=lock)
            elif _HASH.fullmatch(field):
                yield Finding(f"line {number}: {user} has a password", path)
            elif field[:1] in ("!", "*") and _HASH.fullmatch(field.lstrip("!*")):
                message = f"line {number}: {user} is locked, but the line still contains a password hash"
                yield Finding(message, path, level="warning")


def _root_password(subject: Subject) -> Iterator[Finding]:
    return _passwords(subject, lambda user: user == "root")


def _user_passwords(subject: Subject) -> Iterator[Finding]:
    return _passwords(subject, lambda user: user != "root")


def _verdicts(subject: Subject, *kinds: str) -> Iterator[tuple[bytes, str, int]]:
    """Yield (path, kind, line) of the scan results of these kinds."""
    for path, verdicts in sorted(subject.survey.verdicts.items()):
        for verdict in verdicts:
            kind, _, line = verdict.rpartition(":")
            if kind in kinds:
                yield path, kind, int(line)


def _authorized_keys(subject: Subject) -> Iterator[Finding]:
    for path, _, line in _verdicts(subject, AUTHORIZED_KEYS):
        yield Finding(f"line {line}: a public key that can log in to every container", path)
    for path, content in sorted(subject.survey.texts.items()):
        if path.startswith(b"var/lib/") and b"/.ssh/authorized_keys" in path:
            match = AUTHORIZED_KEY.search(content)
            if match:
                line = content.count(b"\n", 0, match.start()) + 1
                yield Finding(f"line {line}: a public key that can log in to every container", path)


def _people(subject: Subject) -> Iterator[Finding]:
    for number, fields in _entries(subject, b"etc/passwd"):
        if len(fields) < 7 or not fields[2].isdecimal() or int(fields[2]) not in _HUMAN_IDS:
            continue
        shell = fields[6] or "/bin/sh"
        if shell.rpartition("/")[2] not in _NO_LOGIN:
            message = f"line {number}: user {fields[0]} (uid {fields[2]}) with the login shell {shell}"
            yield Finding(message, b"etc/passwd", hint=f"userdel --remove {fields[0]} in the image")


def _home_files(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    files: Counter[bytes] = Counter()
    for path in survey.paths():
        if path.startswith(b"home/") and survey.type(path) != DIR:
            files[b"/".join(path.split(b"/", 2)[:2])] += 1
    for home, count in sorted(files.items()):
        noun = "file" if count == 1 else "files"
        yield Finding(
            f"contains {count} {noun} of a user or build", home, hint=f"delete {printable(home)} in the image"
        )


def _private_keys(subject: Subject) -> Iterator[Finding]:
    for path, kind, line in _verdicts(subject, PRIVATE_KEY, ENCRYPTED_KEY):
        what = "an encrypted private key, open to offline guessing" if kind == ENCRYPTED_KEY else "a private key"
        yield Finding(f"line {line}: {what}", path)


_RESIDUE = {
    b"etc/vzdump/pct.conf": "the configuration of a container in a backup",
    b"etc/vzdump/pct.fw": "the firewall rules of a container in a backup",
    b"etc/vzdump/vps.conf": "the configuration of an OpenVZ container in a backup",
    b"stargz.index.json": "the index of an eStargz layer",
    b".prefetch.landmark": "a marker of an eStargz layer",
    b".no.prefetch.landmark": "a marker of an eStargz layer",
}
_ATTESTATION = re.compile(rb"(?:provenance|sbom)(?:[-.][^/]*)?\.json")


def _residue(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    for path, what in _RESIDUE.items():
        if survey.type(path) not in (None, DIR):
            yield Finding(f"is {what}", path)
    for path in (path for path in survey.paths_with(b".json") if _ATTESTATION.fullmatch(path)):
        yield Finding("is an attestation of BuildKit, which contains the build arguments", path)


def _credential(id: str, what: str) -> Callable[[Subject], Iterator[Finding]]:
    def find(subject: Subject) -> Iterator[Finding]:
        for path, _, line in _verdicts(subject, id):
            yield Finding(f"line {line}: {what}", path)

    return find


SECRETS = (
    Check(
        id="root-password",
        group="secrets",
        heading="Root has no password",
        why=(
            "A password in a template is valid in every container created from it, and everyone who can read the "
            "template can attack its hash. Proxmox sets root's password field when it creates a container ('*' if no "
            "password is given, PVE/LXC/Setup/Base.pm), but not for an unmanaged one."
        ),
        find=_root_password,
        hint="lock it in the image: usermod -p '*' root",
        reads=tuple(path.decode() for path in _ACCOUNTS),
    ),
    Check(
        id="user-passwords",
        group="secrets",
        heading="No other account has a password",
        why="Proxmox sets only root's password. The password of any other account is the same in every container.",
        find=_user_passwords,
        hint="lock it in the image: usermod -p '*' USER, or delete the user",
        reads=tuple(path.decode() for path in _ACCOUNTS),
    ),
    Check(
        id="authorized-keys",
        group="secrets",
        heading="No authorized SSH keys",
        why=(
            "A key in authorized_keys gives permanent access to every container of the template. Proxmox adds the keys "
            "given at creation (--ssh-public-keys) to the existing ones."
        ),
        find=_authorized_keys,
        hint="delete the file in the image and pass keys when you create containers: --ssh-public-keys",
        reads=("var/lib/*/.ssh/authorized_keys", "var/lib/*/.ssh/authorized_keys2"),
    ),
    Check(
        id="human-users",
        group="secrets",
        heading="No user accounts",
        why=(
            "Accounts with an id from 1000 to 59999 and a login shell belong to people (login.defs). Access is granted "
            "for each container, not in the template. Some base images contain such an account."
        ),
        find=_people,
        reads=("etc/passwd",),
    ),
    Check(
        id="home-files",
        group="secrets",
        heading="Nothing below /home",
        why="Files below /home belong to a person or to the build: history files, caches, checkouts, keys.",
        find=_home_files,
    ),
    Check(
        id="private-keys",
        group="secrets",
        heading="No private keys",
        why=(
            "Everyone who can read a template knows its private keys, and all its containers share them. The check "
            "finds PEM, OpenSSH and PGP keys, encrypted or not, in the first 64 KiB of files below /root, /home, /etc, "
            "/opt and /srv. It skips Debian's snakeoil key, which Proxmox generates again, and test keys of packages. "
            "SSH host keys have their own check."
        ),
        find=_private_keys,
        hint="delete the file in the image, replace the key, and install keys when a container starts",
    ),
    Check(
        id="build-residue",
        group="secrets",
        heading="No files of image builders and container backups",
        why=(
            "BuildKit's attestations in the root directory contain the build arguments, which can be secret. The "
            "configuration in a backup by vzdump contains the name, the addresses and the firewall rules of a "
            "container."
        ),
        find=_residue,
        hint="run `lxcast repack FILE`, which leaves them out",
    ),
    *(
        Check(
            id=credential.id,
            group="secrets",
            heading=credential.heading,
            why=credential.why,
            find=_credential(credential.id, credential.what),
            hint=_REVOKE,
        )
        for credential in CREDENTIALS
    ),
)
