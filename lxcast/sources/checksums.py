"""Checksum files next to a download, or in one archive with a root filesystem, in every form that tools write.

GNU's `HEX  FILE`, `HEX *FILE` and their escaped form (coreutils, digest.c), BSD's `SHA256 (FILE) = HEX` and
`HEX FILE`, OpenSSL's `SHA2-256(FILE)= HEX`, `sha256:HEX`, and a digest alone in FILE.sha256; also inside a PGP
signature, as in Fedora's CHECKSUM.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import SourceError
from lxcast.oci.layout import verify
from lxcast.sources.paths import explained, is_file, list_files
from lxcast.tar.member import REG, Member

NAMES = ("SHA256SUMS", "sha256sums.txt")
"""Checksum files in archives: the name that distributions use, and hakim's."""

_FILES = re.compile(
    r"(SHA(256|512)SUMS?|(sha(256|512)sums?|checksums?)(\.txt)?|CHECKSUMS?|.+-CHECKSUM)(\.asc)?", re.ASCII
)
_OWN_SUFFIXES = (".sha256", ".sha256sum", ".sha512", ".sha512sum")

HINT = "copy it again; if the checksum file's line is of another file, remove the line"

_MAX = 16 * 1024 * 1024
_HEX_DIGITS = {64: "sha256", 128: "sha512", 96: "sha384", 56: "sha224", 40: "sha1", 32: "md5"}
_BY_PREFERENCE = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
_TAGGED = re.compile(r"(?P<tag>[A-Za-z0-9/-]+) ?\((?P<name>.+)\) ?= ?(?P<hex>[0-9a-fA-F]+)")
_PLAIN = re.compile(r"((?P<tag>[A-Za-z0-9]+):)?(?P<hex>[0-9a-fA-F]{32,128})([ \t][ *]?(?P<name>.+))?")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a checksum file; "" for what it lacks."""

    text: str
    name: str = ""
    algorithm: str = ""
    digest: str = ""

    def concerns(self, name: str) -> bool:
        """Return whether a line that cannot be read mentions a file."""
        return re.search(rf"(^|[\s(*/\\]){re.escape(name)}($|[\s):;,])", self.text) is not None


def expected_digest(path: Path) -> str:
    """Return the digest ("sha256:HEX") that the checksum files next to a file list for it, "" if they do not.

    Raises SourceError if two of them differ, or one cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    names = [name for name in list_files(path.parent) if _FILES.fullmatch(name) and name != path.name]
    for sums in [path.parent / name for name in names] + [Path(f"{path}{suffix}") for suffix in _OWN_SUFFIXES]:
        if is_file(sums):
            for line in _lines_of(sums, path.name, own=sums.name.startswith(path.name)):
                found.setdefault(line.algorithm, {})[line.digest] = sums.name
    for algorithm in _BY_PREFERENCE:
        digests = found.get(algorithm, {})
        if len(digests) > 1:
            listed = "; ".join(f"{name} lists {digest}" for digest, name in digests.items())
            raise SourceError(f"{path}: {listed}", hint="remove the line that is wrong")
        for digest in digests:
            return f"{algorithm}:{digest}"
    return ""


def _lines_of(sums: Path, name: str, *, own: bool) -> list[_Line]:
    """Return the lines for a file; `own` is for a checksum file of this file alone."""
    with explained(sums), sums.open("rb") as file:
        data = file.read(_MAX + 1)
    if len(data) > _MAX:
        raise SourceError(f"{sums}: has more than {_MAX} bytes, the limit for checksum files")
    lines = [*_parse(data)]
    ours = [line for line in lines if line.name == name]
    if own and len(lines) == 1 and lines[0].algorithm:
        ours = lines  # whatever it was called when the checksum was made
    readable = [line for line in ours if line.algorithm]
    for line in lines:
        # A tag of an unknown algorithm does no harm next to a known one.
        if not line.algorithm and ((line.name == name and not readable) or (not line.name and line.concerns(name))):
            raise SourceError(
                f"{sums}: cannot read the line for {name}: {line.text[:200]!r}",
                hint=f"write it again: sha256sum {name} > {sums.name}",
            )
    return readable


def _parse(data: bytes) -> Iterator[_Line]:
    """Yield the lines of a checksum file, without comments and the armor of a PGP signature."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, "surrogateescape" if encoding == "utf-8-sig" else "replace")
    text = text.partition("-----BEGIN PGP SIGNATURE-----")[0]
    for line in text.split("\n"):
        line = line.removesuffix("\r").lstrip(" \t").removeprefix("- ")
        if line and not line.startswith(("#", "-----", "Hash: ")):
            yield _read(line)


def _read(line: str) -> _Line:
    escaped = line.startswith("\\")
    match = _TAGGED.fullmatch(line[escaped:]) or _PLAIN.fullmatch(line[escaped:].rstrip(" \t"))
    if match is None:
        return _Line(line)
    name, digits = match["name"] or "", match["hex"].lower()
    if escaped:
        name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)
    algorithm = _HEX_DIGITS.get(len(digits), "")
    tag = (match["tag"] or "").lower().replace("sha2-", "sha").replace("-", "")
    if tag and tag != algorithm:
        # The digits of a known algorithm are wrong; of an unknown one, only its name is known.
        return _Line(line) if tag in _BY_PREFERENCE else _Line(line, name)
    return _Line(line, name.removeprefix("./"), algorithm, digits) if algorithm else _Line(line)


class Sums:
    """The checksum files in an archive, and the digests of the members next to them.

    `name` is the archive's, and `warnings` takes what could not be compared.
    """

    def __init__(self, name: str, warnings: list[str]) -> None:
        self._name, self._warnings = name, warnings
        self._lines: list[tuple[str, _Line]] = []
        self._found: dict[str, str] = {}

    def take(self, member: Member) -> None:
        """Take a whole member."""
        if member.type != REG or member.sparse is not None:
            return
        path, data = _path(member.path), bytearray()
        for chunk in self.chunks(member):
            if path in NAMES and len(data) < _MAX:
                data += chunk
        self._lines += [(path, line) for line in _parse(bytes(data))]

    def chunks(self, member: Member) -> Iterator[memoryview]:
        """Yield a member's body, and note its digest."""
        digest = hashlib.sha256()
        for chunk in member.chunks():
            digest.update(chunk)
            yield chunk
        self._found[_path(member.path)] = digest.hexdigest()

    def compare(self, root: bytes) -> None:
        """Raise ArchiveError for a member that differs from its checksum; warn if none is listed for `root`."""
        if not self._lines:
            return
        for sums, line in self._lines:
            if line.algorithm == "sha256" and line.name in self._found:
                what = f"{self._name}: {line.name}, by its {sums},"
                verify(what, f"sha256:{line.digest}", self._found[line.name], HINT)
            elif not line.algorithm and any(map(line.concerns, self._found)):
                raise SourceError(f"{self._name}: cannot read a line of its {sums}: {line.text[:200]!r}", hint=HINT)
        warning = f"{self._name}: its checksums do not list {_path(root)}, which was not compared"
        if warning not in self._warnings and not any(
            line.name == _path(root) and line.algorithm == "sha256" for _, line in self._lines
        ):
            self._warnings.append(warning)


def _path(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
