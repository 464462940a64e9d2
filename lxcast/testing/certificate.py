"""A certificate authority and a server's certificate, as a cluster has: each made by a run of openssl."""

import hashlib
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM form: the authority that a client trusts, the server's certificate and its key."""

    ca: Path
    server: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the server's certificate as Proxmox prints it: upper-case pairs with colons."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.server.read_text())).digest().hex(":").upper()

    def context(self) -> ssl.SSLContext:
        """Serve TLS 1.2 and 1.3 with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.key)
        return context


def make_certificate(folder: Path, names: Sequence[str]) -> Certificate:
    """Make an authority and a certificate for host names and addresses, or return those in the directory.

    Raises subprocess.CalledProcessError, or FileNotFoundError where there is no openssl program.
    """
    ca, ca_key = folder / "pve-root-ca.pem", folder / "pve-root-ca.key"
    made = Certificate(ca, folder / "pve-ssl.pem", folder / "pve-ssl.key")
    if made.server.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    alternatives = ",".join(
        ("IP:" if ":" in name or name.replace(".", "").isdigit() else "DNS:") + name for name in names
    )
    run("-subj", "/CN=Proxmox Virtual Environment/O=PVE Cluster Manager CA", "-keyout", ca_key, "-out", ca)
    signed = ("-CA", ca, "-CAkey", ca_key, "-addext", f"subjectAltName={alternatives}")
    leaf = ("-addext", "basicConstraints=critical,CA:FALSE")
    run("-subj", f"/CN={names[0]}", "-keyout", made.key, "-out", made.server, *signed, *leaf)
    return made


def run(*arguments: str | Path) -> None:
    """Let openssl make a key and a certificate for it."""
    command = ["openssl", "req", "-x509", "-days", "3650", *KEY, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments
