"""The checksum file that lies beside downloads and builds, as sha256sum(1) writes it."""

import re
from pathlib import Path

from lxcast.errors import SourceError

NAMES = ("SHA256SUMS", "sha256sums.txt")
"""As distributions call it, and as hakim does."""

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")
_MAX = 4 * 1024 * 1024


def listed(path: Path) -> str:
    """Return the digest ("sha256:HEX") that the checksums beside a file name for it, "" where they name none.

    Raises SourceError where two of them differ, or one cannot be read.
    """
    found: dict[str, str] = {}
    for name in NAMES:
        sums = path.parent / name
        if sums.is_file():
            found |= dict.fromkeys(_digests(sums, path.name), name)
    if len(found) > 1:
        told = "; ".join(f"{name} says {digest}" for digest, name in found.items())
        raise SourceError(f"{path}: {told}", hint="keep the line that is right")
    return next((f"sha256:{digest}" for digest in found), "")


def _digests(sums: Path, name: str) -> set[str]:
    try:
        with sums.open("rb") as file:
            text = file.read(_MAX).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SourceError(f"{sums}: cannot be read: {error.strerror}", hint="see `ls -l` of it") from error
    matches = map(_LINE.fullmatch, text.splitlines())
    return {match[1].lower() for match in matches if match and match[2] == name}
