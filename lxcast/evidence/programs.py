"""The programs that sign and verify: run without a shell, with secrets in the environment or on standard input only."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from lxcast.errors import EvidenceError

_PACKAGES = {
    "ssh-keygen": "openssh-client (8.2 or later)",
    "gpg": "gpg and gpg-agent (gnupg)",
    "openssl": "openssl (3.0 or later)",
    "cosign": "cosign (3.0.4 or later)",
}


def find_program(name: str) -> str:
    """Return the path of a program. Raises EvidenceError with the package to install."""
    path = shutil.which(name)
    if path is None:
        raise EvidenceError(f"{name} is not installed", hint=f"install {_PACKAGES[name]}")
    return path


def run(
    arguments: Sequence[object], *, data: bytes = b"", environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program with `data` on standard input; return its exit code and what it printed.

    The program gets the caller's variables with `environ` added, in the C locale. Raises EvidenceError if it is not
    installed.
    """
    name, *rest = map(str, arguments)
    variables = {**os.environ, **(environ or {}), "LC_ALL": "C"}
    command = [find_program(name), *rest]
    return subprocess.run(command, input=data, env=variables, capture_output=True, check=False)  # noqa: S603 - no shell


def reason(finished: "subprocess.CompletedProcess[bytes]") -> str:
    """Return what a program said about its failure, as one line."""
    lines = finished.stderr.decode(errors="replace").split("\n")
    said = "; ".join(line.strip() for line in lines if line.strip())
    return said[:500] or f"exit code {finished.returncode}"
