"""Private and public keys in PEM files, used through the openssl program.

Python's standard library has no asymmetric cryptography, and the cryptography package takes 40 to 200 ms to import.
`openssl` needs 10 ms a call. Passphrases reach it by the environment (`-passin env:`).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import EvidenceError
from lxcast.evidence.programs import reason, run
from lxcast.identifiers import SIGN_PASSPHRASE

# DER object identifiers in the AlgorithmIdentifier of a SubjectPublicKeyInfo (RFC 5480, RFC 8410, RFC 8017).
_P256 = bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107")
_ED25519 = bytes.fromhex("06032b6570")
_RSA = bytes.fromhex("06092a864886f70d010101")


@dataclass(frozen=True, slots=True)
class Key:
    """A PEM file with a key of a supported kind."""

    path: Path
    public_der: bytes
    """SubjectPublicKeyInfo."""
    is_private: bool

    @classmethod
    def read(cls, path: Path, *, is_private: bool) -> "Key":
        """Read a key. Raises EvidenceError for a file that holds no supported key, or a wrong passphrase."""
        kind = "private" if is_private else "public"
        try:
            start = path.read_bytes()[:200]
        except OSError as error:
            raise EvidenceError(f"{path}: cannot read the {kind} key: {error.strerror}") from error
        if b"SIGSTORE PRIVATE KEY" in start:
            raise EvidenceError(f"{path}: this is a key of cosign's own format", hint=f"use it as cosign:{path}")
        options = _passphrase_options() if is_private else ["-pubin"]
        finished = run(["openssl", "pkey", "-in", path, *options, "-pubout", "-outform", "DER"])
        if finished.returncode:
            hint = (
                f"set {SIGN_PASSPHRASE} to its passphrase" if b"ENCRYPTED" in start else f"expected a {kind} key in PEM"
            )
            raise EvidenceError(f"{path}: cannot read the {kind} key: {reason(finished)}", hint=hint)
        key = cls(path, finished.stdout, is_private)
        if not any(each in key.public_der[:48] for each in (_P256, _ED25519, _RSA)):
            raise EvidenceError(
                f"{path}: this kind of key is not supported: expected EC P-256, ed25519 or RSA",
                hint="make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
            )
        return key

    def sign(self, data: bytes) -> bytes:
        """Return the signature over data: ECDSA or RSA PKCS #1 v1.5 with SHA-256, or ed25519. Raises EvidenceError."""
        options = _passphrase_options()
        if _ED25519 in self.public_der[:48]:
            # ed25519 signs the whole message at once, which pkeyutl reads from a file only.
            with _temporary(data) as message:
                finished = run(["openssl", "pkeyutl", "-sign", "-inkey", self.path, *options, "-rawin", "-in", message])
        else:
            finished = run(["openssl", "dgst", "-sha256", "-sign", self.path, *options], data=data)
        if finished.returncode:
            raise EvidenceError(f"{self.path}: cannot sign: {reason(finished)}")
        return finished.stdout

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature over data was made with this key. Raises EvidenceError without openssl."""
        with _temporary(signature) as signed, _temporary(self.public_der) as public:
            key = ["-keyform", "DER"]
            if _ED25519 in self.public_der[:48]:
                with _temporary(data) as message:
                    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, *key, "-rawin"]
                    return run([*verify, "-in", message, "-sigfile", signed]).returncode == 0
            verify = ["openssl", "dgst", "-sha256", "-verify", public, *key, "-signature", signed]
            return run(verify, data=data).returncode == 0


def _passphrase_options() -> list[str]:
    # An empty passphrase keeps openssl from asking on the terminal.
    return ["-passin", f"env:{SIGN_PASSPHRASE}" if os.environ.get(SIGN_PASSPHRASE) else "pass:"]


@contextmanager
def _temporary(data: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="lxcast-") as file:
        file.write(data)
        file.flush()
        yield file.name
