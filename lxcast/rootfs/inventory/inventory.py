"""Collects the packages of a root filesystem from the members that a table of readers asks for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from lxcast.model import Package
from lxcast.rootfs.globs import Matcher
from lxcast.rootfs.inventory.databases import parse_apk, parse_dpkg, parse_pacman
from lxcast.rootfs.inventory.languages import GO_MAGIC, parse_go, parse_java, parse_node, parse_python
from lxcast.rootfs.inventory.package import Reader, Unread, UnreadableError
from lxcast.rootfs.inventory.rpm import parse_rpm
from lxcast.tar.member import HEAD, REG, Member

READERS = (
    Reader(
        "dpkg-packages",
        True,
        "dpkg and opkg packages",
        "Debian, Ubuntu and Devuan keep installed packages in /var/lib/dpkg/status, distroless images in status.d.",
        parse_dpkg,
        paths=("var/lib/dpkg/status", "var/lib/dpkg/status.d/*", "{usr,var}/lib/opkg/status"),
    ),
    Reader(
        "apk-packages",
        True,
        "apk packages",
        "Alpine keeps installed packages in /lib/apk/db/installed.",
        parse_apk,
        paths=("{lib,usr/lib}/apk/db/installed",),
    ),
    Reader(
        "rpm-packages",
        True,
        "rpm packages",
        "Fedora and EL 9 keep installed packages in an SQLite database. Older formats are reported as not read.",
        parse_rpm,
        paths=("{var/lib,usr/share,usr/lib/sysimage}/rpm/{rpmdb.sqlite,rpmdb.sqlite-wal,Packages,Packages.db}",),
    ),
    Reader(
        "pacman-packages",
        True,
        "pacman packages",
        "Arch Linux keeps a file for each installed package in /var/lib/pacman/local.",
        parse_pacman,
        paths=("var/lib/pacman/local/*/desc",),
    ),
    Reader(
        "python-packages",
        True,
        "Python distributions",
        "pip and distributions store the metadata of each Python package in a dist-info or egg-info directory.",
        parse_python,
        suffixes=(".dist-info/METADATA", ".egg-info/PKG-INFO", ".egg-info"),
    ),
    Reader(
        "node-packages",
        True,
        "Node.js packages",
        "npm and yarn install packages with their package.json into node_modules.",
        parse_node,
        suffixes=("/package.json",),
    ),
    Reader(
        "go-modules",
        True,
        "Go modules",
        "Go programs contain the versions of the modules that they were built from.",
        parse_go,
        executables=True,
    ),
    Reader(
        "java-archives",
        True,
        "Java archives",
        "Java archives contain Maven coordinates, or a name and version in their manifest. Archives in other archives"
        " are not read.",
        parse_java,
        suffixes=(".jar", ".war", ".ear"),
    ),
)
"""Every reader, in the order in which packages are listed."""

SMALLEST_PROGRAM = 512 * 1024
"""Bytes of the smallest executable that is searched: Go programs are larger."""

_LARGEST_ARCHIVE = 16 << 20
"""Bytes of the largest file that suffix rows read, which keep it in memory."""

_GO_WINDOW = 1 << 20
"""Bytes kept from the start of Go's build information."""


@dataclass(frozen=True, slots=True)
class PackageList:
    """The packages of a root filesystem, sorted, each once, and what could not be read."""

    packages: tuple[Package, ...] = ()
    unread: tuple[Unread, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of packages of each kind."""
        return {kind: len(list(group)) for kind, group in groupby(self.packages, key=lambda package: package.kind)}


class Inventory:
    """Reads packages from members; `wants` selects the members, `read` consumes their bodies."""

    def __init__(self, readers: Iterable[Reader] = READERS) -> None:
        self._readers = tuple(readers)
        self._find = Matcher({pattern: reader for reader in self._readers for pattern in reader.paths}).find
        self._suffixes = {suffix.encode(): reader for reader in self._readers for suffix in reader.suffixes}
        self._ends = tuple(self._suffixes)
        self._program = next((reader for reader in self._readers if reader.executables), None)
        self._packages: set[Package] = set()
        self._unread: list[Unread] = []

    def reader(self, member: Member) -> Reader | None:
        """Return the row that reads a member, if any."""
        if member.type != REG:
            return None
        path = member.path
        if path.endswith(self._ends):
            return next(reader for suffix, reader in self._suffixes.items() if path.endswith(suffix))
        if self._program and member.size >= SMALLEST_PROGRAM and member.mode & 0o111:
            return self._program if bytes(member.head()[:4]) == b"\x7fELF" else None
        return self._find(path)

    def read(self, member: Member) -> None:
        """Read the packages of a member that a row asks for; its body is consumed."""
        reader = self.reader(member)
        if reader is None:
            return
        if member.sparse is not None:
            self._unread.append(Unread(member.path, "is a sparse file"))
        elif reader.suffixes and member.size > _LARGEST_ARCHIVE:
            reason = f"has {member.size} bytes; files of this kind are read up to {_LARGEST_ARCHIVE}"
            self._unread.append(Unread(member.path, reason))
        else:
            chunks = map(bytes, member.chunks())
            self._parse(reader, member.path, _go_part(chunks) if reader.executables else b"".join(chunks))

    def _parse(self, reader: Reader, path: bytes, content: bytes) -> None:
        try:
            self._packages.update(reader.parse(path, content))
        except UnreadableError as error:
            self._unread.append(Unread(path, str(error)))

    def result(self) -> PackageList:
        """Return the packages read so far."""
        return PackageList(tuple(sorted(self._packages)), tuple(self._unread))


def _go_part(chunks: Iterator[bytes]) -> bytes:
    """Return the start of Go's build information in a body, without keeping the rest; b"" if there is none."""
    tail = b""
    for chunk in chunks:
        block = tail + chunk
        at = block.find(GO_MAGIC)
        if at < 0:
            tail = block[1 - len(GO_MAGIC) :]
            continue
        kept = block[at:]
        for following in chunks:
            if len(kept) >= _GO_WINDOW:
                break
            kept += following
        return kept[:_GO_WINDOW]
    return b""


assert SMALLEST_PROGRAM > HEAD  # a program's first bytes tell its format without reading the rest
