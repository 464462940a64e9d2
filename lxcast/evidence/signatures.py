"""Signatures of templates: who can make one, and which sidecar it is written to.

ssh and gpg sign the checksum file NAME-vN.tar.zst.sha256, so that the tools every administrator has can verify it;
cosign and key sign the provenance statement, as supply-chain tools expect.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import EvidenceError, UsageError
from lxcast.evidence.envelope import Envelope, parse_envelope, write_bundle, write_envelope
from lxcast.evidence.keys import Key
from lxcast.evidence.programs import reason, run
from lxcast.identifiers import SIGN_PASSPHRASE

NAMESPACE = "lxcast"
"""What ssh signatures are bound to (ssh-keygen -n), so that one for another purpose does not verify here."""

SSH_SUFFIX, GPG_SUFFIX = ".sha256.sig", ".sha256.asc"
"""Suffixes of the sidecars that follow the template's whole file name."""
ENVELOPE_SUFFIX, BUNDLE_SUFFIX = ".dsse.json", ".sigstore.json"
"""Suffixes of the sidecars that follow the template's name without its suffix."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed of a template."""

    file: str
    """The template's file name."""
    checksum: bytes
    """The checksum file, as `sha256sum -c` reads it."""
    statement: bytes
    """The provenance statement; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A kind of signature and the key that makes it: ssh:KEY, gpg:KEYID, cosign:KEY or key:PEM."""

    kind: str
    key: str

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read KIND:KEY. Raises UsageError."""
        kind, _, key = text.partition(":")
        if kind not in _SIGN or not key:
            raise UsageError(
                f"--sign {text}: expected KIND:KEY with one of {', '.join(_SIGN)}",
                hint="for example --sign ssh:~/.ssh/id_ed25519, gpg:KEYID, cosign:cosign.key or key:key.pem",
            )
        return cls(kind, key)

    def sign(self, subject: Subject) -> Mapping[str, bytes]:
        """Return the sidecars with the signature, by suffix.

        Raises EvidenceError if a program or key is missing, the passphrase is wrong, or there is no statement to sign.
        """
        return _SIGN[self.kind](self.key, subject)


def _sign_by_ssh(key: str, subject: Subject) -> Mapping[str, bytes]:
    path = Path(key).expanduser()
    if not path.is_file():
        raise EvidenceError(
            f"ssh:{key}: key file not found", hint="name the private key, or the public key of one in ssh-agent"
        )
    command = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", path]
    with tempfile.TemporaryDirectory(prefix="lxcast-") as directory:
        finished = run(command, data=subject.checksum, environ=_askpass(Path(directory)))
    if finished.returncode or not finished.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise EvidenceError(
            f"ssh:{key}: cannot sign {subject.file}: {reason(finished)}",
            hint=f"load the key into ssh-agent, or set {SIGN_PASSPHRASE} to its passphrase",
        )
    return {SSH_SUFFIX: finished.stdout}


def _askpass(directory: Path) -> Mapping[str, str]:
    """Return variables by which ssh-keygen gets the passphrase from the environment; it never asks on a terminal."""
    script = directory / "askpass"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "${SIGN_PASSPHRASE}"\n')
    script.chmod(stat.S_IRWXU)
    return {
        "SSH_ASKPASS": str(script),
        "SSH_ASKPASS_REQUIRE": "force",
        SIGN_PASSPHRASE: os.environ.get(SIGN_PASSPHRASE, ""),
    }


def _sign_by_gpg(key: str, subject: Subject) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="lxcast-") as directory:
        file = Path(directory, f"{subject.file}.sha256")
        file.write_bytes(subject.checksum)
        command = ["gpg", "--batch", "--yes", "--armor", "--local-user", key, "--output", "-"]
        passphrase = os.environ.get(SIGN_PASSPHRASE)
        if passphrase is not None:
            command += ["--pinentry-mode", "loopback", "--passphrase-fd", "0"]
        finished = run([*command, "--detach-sign", file], data=(passphrase or "").encode())
    if finished.returncode:
        raise EvidenceError(
            f"gpg:{key}: cannot sign {subject.file}: {reason(finished)}",
            hint=f"gpg --list-secret-keys lists the keys; {SIGN_PASSPHRASE} or gpg-agent gives the passphrase",
        )
    return {GPG_SUFFIX: finished.stdout}


def _sign_by_key(key: str, subject: Subject) -> Mapping[str, bytes]:
    statement = _require_statement(subject)
    private = Key.read(Path(key).expanduser(), is_private=True)
    signature = private.sign(Envelope(statement, ()).signed_bytes)
    return {
        ENVELOPE_SUFFIX: write_envelope(statement, signature, private.public_der),
        BUNDLE_SUFFIX: write_bundle(statement, signature, private.public_der),
    }


def _sign_by_cosign(key: str, subject: Subject) -> Mapping[str, bytes]:
    """Sign with cosign 3, which works offline only with a signing configuration without services."""
    statement = _require_statement(subject)
    environ = {"COSIGN_PASSWORD": os.environ.get(SIGN_PASSPHRASE) or os.environ.get("COSIGN_PASSWORD", "")}
    with tempfile.TemporaryDirectory(prefix="lxcast-") as directory:
        file, config, bundle = (Path(directory, name) for name in ("statement.json", "signing.json", "bundle.json"))
        file.write_bytes(statement)
        created = run(["cosign", "signing-config", "create"])
        config.write_bytes(created.stdout)
        command = ["cosign", "attest-blob", "--yes", "--statement", file, "--key", key, "--bundle", bundle]
        finished = run([*command, "--signing-config", config], environ=environ) if not created.returncode else created
        data = b""
        with suppress(OSError):
            data = bundle.read_bytes()
    if finished.returncode or not data:
        raise EvidenceError(
            f"cosign:{key}: cannot sign {subject.file}: {reason(finished)}",
            hint=f"cosign 3.0.4 or later is required; {SIGN_PASSPHRASE} or COSIGN_PASSWORD gives the passphrase",
        )
    parse_envelope(data, "the bundle that cosign wrote")
    return {BUNDLE_SUFFIX: data}


def _require_statement(subject: Subject) -> bytes:
    if not subject.statement:
        raise EvidenceError(
            f"{subject.file} has no provenance statement to sign",
            hint="build it again with provenance, or sign its checksum: --sign ssh:KEY or gpg:KEYID",
        )
    return subject.statement


_SIGN: Mapping[str, Callable[[str, Subject], Mapping[str, bytes]]] = {
    "ssh": _sign_by_ssh,
    "gpg": _sign_by_gpg,
    "cosign": _sign_by_cosign,
    "key": _sign_by_key,
}


def verify_ssh(checksum: bytes, signature: bytes, allowed_signers: Path) -> str:
    """Return the principal in an allowed signers file (ssh-keygen(1)) that signed a checksum file.

    Raises EvidenceError if nobody in the file did.
    """
    _require_readable(allowed_signers, "allowed signers file")
    with tempfile.NamedTemporaryFile(prefix="lxcast-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        found = run(["ssh-keygen", "-Y", "find-principals", "-s", file.name, "-f", allowed_signers])
        principals = found.stdout.decode(errors="replace").split("\n")
        if found.returncode or not principals[0]:
            raise EvidenceError(f"ssh signature: no signer of {allowed_signers} made it: {reason(found)}")
        finished = found
        for principal in filter(None, principals):
            command = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-f", allowed_signers]
            finished = run([*command, "-I", principal, "-s", file.name], data=checksum)
            if finished.returncode == 0:
                return principal
    raise EvidenceError(f"ssh signature: does not match the checksum file: {reason(finished)}")


def verify_gpg(checksum: bytes, signature: bytes, keyring: Path) -> str:
    """Return the user id of the key in a keyring (binary or armored) that signed a checksum file.

    Raises EvidenceError if no key of the keyring did, or the key is expired or revoked.
    """
    _require_readable(keyring, "keyring")
    with tempfile.TemporaryDirectory(prefix="lxcast-") as directory:
        home = Path(directory)
        (home / "signature").write_bytes(signature)
        gpg = ["gpg", "--batch", "--no-autostart", "--homedir", home, "--status-fd", "1"]
        imported = run([*gpg, "--import", keyring])
        if b"[GNUPG:] IMPORT_OK" not in imported.stdout:
            raise EvidenceError(f"{keyring}: no public key found: {reason(imported)}")
        finished = run([*gpg, "--trust-model", "always", "--verify", home / "signature", "-"], data=checksum)
    lines = finished.stdout.decode(errors="replace").split("\n")
    good = [line.split(" ", 3) for line in lines if line.startswith("[GNUPG:] GOODSIG ")]
    if finished.returncode or not good:
        raise EvidenceError(f"gpg signature: not made by a valid key of {keyring}: {reason(finished)}")
    return good[0][3]


def verify_envelope(data: bytes, where: str, public_key: Path) -> bytes:
    """Return the statement in an envelope or Sigstore bundle that a public key verifies. Raises EvidenceError."""
    envelope = parse_envelope(data, where)
    key = Key.read(public_key, is_private=False)
    if not any(key.verifies(envelope.signed_bytes, signature) for signature in envelope.signatures):
        raise EvidenceError(f"{where}: the signature was not made with {public_key}, or the statement was changed")
    return envelope.payload


def _require_readable(path: Path, what: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot read the {what}: {error.strerror}") from error
