"""Checks for secrets and people: what a template must not carry into every container that is made from it.

No finding tells a secret, not even in part: it names the file, the line and the kind.
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
    "delete the file in the image, and make the secret invalid: whoever can read the template, an older one, "
    "or a layer of the image has it"
)

_ACCOUNTS = (b"etc/shadow", b"etc/passwd", b"etc/shadow-", b"etc/passwd-")

# crypt(5): $id$salt$hash, traditional DES, and BSDi's extended DES.
_HASH = re.compile(r"\$[^$]+\$.+|[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")

_NO_LOGIN = ("nologin", "false", "true", "sync", "halt", "shutdown")
_HUMAN_IDS = range(1000, 60000)  # UID_MIN to UID_MAX of login.defs, as Debian, Fedora and Alpine have them


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
                yield Finding(f"line {number}: {user} has an empty password: anybody can log in", path, hint=lock)
            elif _HASH.fullmatch(field):
                yield Finding(f"line {number}: {user} has a password", path)
            elif field[:1] in ("!", "*") and _HASH.fullmatch(field.lstrip("!*")):
                message = f"line {number}: {user} is locked, but the hash of a password is still there to be cracked"
                yield Finding(message, path, level="warning")


def _root_password(subject: Subject) -> Iterator[Finding]:
    return _passwords(subject, lambda user: user == "root")


def _user_passwords(subject: Subject) -> Iterator[Finding]:
    return _passwords(subject, lambda user: user != "root")


def _verdicts(subject: Subject, *kinds: str) -> Iterator[tuple[bytes, str, int]]:
    """Yield (path, kind, line) of what the scan found of these kinds."""
    for path, verdicts in sorted(subject.survey.verdicts.items()):
        for verdict in verdicts:
            kind, _, line = verdict.rpartition(":")
            if kind in kinds:
                yield path, kind, int(line)


def _authorized_keys(subject: Subject) -> Iterator[Finding]:
    for path, _, line in _verdicts(subject, AUTHORIZED_KEYS):
        yield Finding(f"line {line}: a public key that may log in to every container", path)
    for path, content in sorted(subject.survey.texts.items()):
        if path.startswith(b"var/lib/") and b"/.ssh/authorized_keys" in path:
            match = AUTHORIZED_KEY.search(content)
            if match:
                line = content.count(b"\n", 0, match.start()) + 1
                yield Finding(f"line {line}: a public key that may log in to every container", path)


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
    for folder, count in sorted(files.items()):
        noun = "file" if count == 1 else "files"
        yield Finding(f"{count} {noun} of a person or a build", folder, hint=f"delete {printable(folder)} in the image")


def _private_keys(subject: Subject) -> Iterator[Finding]:
    for path, kind, line in _verdicts(subject, PRIVATE_KEY, ENCRYPTED_KEY):
        encrypted = (
            "an encrypted private key; its passphrase can be guessed without end" if kind == ENCRYPTED_KEY else ""
        )
        yield Finding(f"line {line}: {encrypted or 'a private key'}", path)


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
            "One password in a template is the password of every container that is made from it, and its hash can be "
            "attacked by whoever reads the template. Proxmox sets root's password field itself when it creates a "
            "container ('*' where none is given, PVE/LXC/Setup/Base.pm), but not of an unmanaged one."
        ),
        find=_root_password,
        hint="lock it in the image: usermod -p '*' root",
        reads=tuple(path.decode() for path in _ACCOUNTS),
    ),
    Check(
        id="user-passwords",
        group="secrets",
        heading="No other account has a password",
        why="Proxmox changes root's password alone: that of any other account is the same in every container.",
        find=_user_passwords,
        hint="lock it in the image: usermod -p '*' USER, or delete the user",
        reads=tuple(path.decode() for path in _ACCOUNTS),
    ),
    Check(
        id="authorized-keys",
        group="secrets",
        heading="No keys that may log in",
        why=(
            "A key in authorized_keys opens every container of the template for good. Proxmox adds the keys that are "
            "given at creation (--ssh-public-keys) to those that it finds."
        ),
        find=_authorized_keys,
        hint="delete the file in the image and give keys at creation: --ssh-public-keys",
        reads=("var/lib/*/.ssh/authorized_keys", "var/lib/*/.ssh/authorized_keys2"),
    ),
    Check(
        id="human-users",
        group="secrets",
        heading="No people",
        why=(
            "Users with an id from 1000 to 59999 and a login shell are people (login.defs). Whom a container lets in "
            "is decided for each container, not for the template. Some base images bring a user of their own."
        ),
        find=_people,
        reads=("etc/passwd",),
    ),
    Check(
        id="home-files",
        group="secrets",
        heading="Nothing below /home",
        why="Files below /home are those of a person or of a build: histories, caches, checkouts, keys.",
        find=_home_files,
    ),
    Check(
        id="private-keys",
        group="secrets",
        heading="No private keys",
        why=(
            "A private key in a template is known to everybody who can read it, and shared by all containers. PEM, "
            "OpenSSH and PGP forms are found in the first 64 KiB of the files below /root, /home, /etc, /opt and /srv, "
            "also when they are encrypted. Debian's snakeoil key, which Proxmox makes anew, and what packages test "
            "themselves with are passed over; SSH host keys have a check of their own."
        ),
        find=_private_keys,
        hint="delete the file in the image and make the key anew where it is used; put keys in when a container starts",
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
