"""The checksum file that lies beside downloads and builds, or in one archive with them, as sha256sum(1) writes it."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from lxcast.errors import SourceError
from lxcast.tar.member import REG, Member

NAMES = ("SHA256SUMS", "sha256sums.txt")
"""As distributions call it, and as hakim does."""

HINT = "copy it again; or take out its line in the checksum file, where that is of another file"

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
    return {digest for digest, named in _lines(text) if named == name}


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each digest and the name that it is told of."""
    for match in map(_LINE.fullmatch, text.splitlines()):
        if match:
            yield match[1].lower(), match[2]


class Sums:
    """What the checksum files in an archive say of what lies beside them there, and what that is.

    `name` is the archive's, and `warnings` gets what could not be compared.
    """

    def __init__(self, name: str, warnings: list[str]) -> None:
        self._name, self._warnings = name, warnings
        self._listed: list[tuple[str, str, str]] = []
        self._found: dict[str, str] = {}

    def take(self, member: Member) -> None:
        """Take a member, all of it."""
        if member.type != REG or member.sparse is not None:
            return
        path, data = _path(member.path), bytearray()
        for chunk in self.chunks(member):
            if path in NAMES and len(data) < _MAX:
                data += chunk
        text = data.decode("utf-8", "surrogateescape")
        self._listed += [(path, digest, named) for digest, named in _lines(text)]

    def chunks(self, member: Member) -> Iterator[memoryview]:
        """Yield a member's body, and know its digest at the end."""
        digest = hashlib.sha256()
        for chunk in member.chunks():
            digest.update(chunk)
            yield chunk
        self._found[_path(member.path)] = digest.hexdigest()

    def compare(self, root: bytes) -> None:
        """Raise ArchiveError for a member that is not what a checksum file says; warn where none tells of `root`."""
        if not self._listed:
            return
        from lxcast.oci.layout import verify

        for sums, digest, named in self._listed:
            if named in self._found:
                what = f"{self._name}: {named}, by the {sums} in it,"
                verify(what, f"sha256:{digest}", self._found[named], HINT)
        told = {named for _, _, named in self._listed}
        unsaid = f"{self._name}: its checksums name no {_path(root)}, which was not compared"
        if _path(root) not in told and unsaid not in self._warnings:
            self._warnings.append(unsaid)


def _path(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
