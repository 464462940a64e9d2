"""A root filesystem as builders of system containers pack it: next to its metadata, or with it in one archive.

distrobuilder writes the pair rootfs.tar.xz and meta.tar.xz for LXC, and for Incus and LXD rootfs.squashfs with
incus.tar.xz, or one unified archive of metadata.yaml, templates/ and rootfs/. Some users wrap the pair in another
archive. An inner archive is decompressed while the outer one streams.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from lxcast.compression import Readable, compress, sniff
from lxcast.errors import ArchiveError, SourceError
from lxcast.incus.metadata import MAX_FILE, YAML, Metadata, read_metadata
from lxcast.model import ImageConfig
from lxcast.record import Origin
from lxcast.sources.archive import SQUASHFS, Archive, open_file, read_start
from lxcast.sources.checksums import Sums, expected_digest
from lxcast.sources.paths import is_file, list_files
from lxcast.sources.source import Members
from lxcast.sources.squashfs import open_squashfs
from lxcast.tar.member import DIR, LNK, REG, Member, printable, regular
from lxcast.tar.reader import Limits, Reader
from lxcast.tar.writer import Writer

_TAR = r"(tar(\.(xz|gz|zst|bz2))?|txz|tgz)"
_INNER = re.compile(rf"rootfs\.{_TAR}".encode())
_META = re.compile(rf"(meta|metadata|incus|lxd)\.{_TAR}")
_BESIDE = re.compile(
    rf"|(meta|metadata|incus|lxd)\.{_TAR}|metadata\.yaml|templates(/.*)?|config(-user)?(\.\d+)?|create-message|expiry|"
    r"excludes-user|build_id|SHA256SUMS|sha256sums\.txt".encode()
)
_ROOTFS = b"rootfs"
_PLACEHOLDER = b"LXC_NAME"
_NAME = b"localhost"

_MAX_FILES = 4 * 1024 * 1024
"""Bytes of all metadata of a root filesystem."""

_SMALL = Limits(members=10_000, size=16 * _MAX_FILES)
"""Limits for an archive of metadata."""


def is_packed(path: bytes) -> bool:
    """Return whether a member may be a packed root filesystem, or something that is packed with one."""
    return _INNER.fullmatch(path) is not None or _BESIDE.fullmatch(path) is not None or is_in_rootfs(path)


class PackagedSource:
    """A root filesystem with its builder's metadata.

    With `unified` it is the directory rootfs/ of its archive. LXC_NAME is replaced in the files that the metadata lists
    as templates.
    """

    def __init__(self, root: Archive, metadata: Metadata, kept: bytes = b"", *, unified: bool = False) -> None:
        self.metadata = metadata
        self.origin, self.rereadable = root.origin, root.rereadable
        self.size, self.warnings, self.config = root.size, root.warnings, cast(ImageConfig | None, None)
        self._root, self._kept, self._unified = root, kept, unified

    @property
    def read(self) -> int:
        """Bytes of the archive read so far."""
        return self._root.read

    @contextmanager
    def members(self, limits: Limits | None = None) -> Iterator[Members]:
        """Open the archive and yield the members of the root filesystem."""
        with self._root.members(limits) as reader:
            if self._unified or self.metadata.placeholders:
                sums = Sums(self.origin.reference, self.warnings) if self._unified else None
                yield _Inner(reader, sums, self.metadata.placeholders, self.origin.reference)
            else:
                yield reader

    def metadata_archive(self) -> bytes:
        """Return the metadata as a .tar.xz: the builder's own file if it is one."""
        if sniff(self._kept[:512]) == "xz":
            return self._kept
        out = io.BytesIO()
        compressor = compress(out, "xz")
        writer = Writer(compressor.write)
        for name, content in sorted(self.metadata.files.items()):
            writer.add(regular(name.encode("utf-8", "surrogateescape"), content))
        writer.finish()
        compressor.finish()
        return out.getvalue()


class _Inner:
    """The members of a root filesystem, with their names in it and with placeholders replaced."""

    def __init__(self, reader: Reader, sums: Sums | None, placeholders: frozenset[bytes], name: str) -> None:
        """Take the members of an archive; `sums` is None unless it is a unified one."""
        self._reader, self._sums, self._placeholders, self._name = reader, sums, placeholders, name
        self.before_refill: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[Member]:
        self._reader.before_refill = self._refill
        for member in self._reader:
            if self._sums and not self._strip_prefix(member):
                require_companion(member, self._name)
                self._sums.take(member)
                continue
            if member.path in self._placeholders and member.type == REG and member.size <= MAX_FILE:
                content = b"".join(bytes(chunk) for chunk in member.chunks()).replace(_PLACEHOLDER, _NAME)
                yield member.changed(body=content, size=len(content), sparse=None)
            else:
                yield member
        if self._sums:
            self._sums.compare(_ROOTFS)

    def _refill(self) -> None:
        self.before_refill()

    def _strip_prefix(self, member: Member) -> bool:
        """Remove "rootfs/" from a member's names; return whether it belongs to the root filesystem."""
        if not is_in_rootfs(member.path):
            return False
        member.path, member.front = member.path[len(_ROOTFS) + 1 :], None
        if member.type == LNK:
            if not is_in_rootfs(member.link):
                raise ArchiveError(
                    f"{self._name}: {printable(member.path)} is a hard link to {printable(member.link)}, which is not "
                    "below rootfs/"
                )
            member.link = member.link[len(_ROOTFS) + 1 :]
        return True


def open_if_packed(path: Path) -> PackagedSource | None:
    """Return the root filesystem in an archive that contains nothing but it and its metadata, else None.

    For an archive of metadata only, it is the root filesystem next to it. Raises ArchiveError for several root
    filesystems or invalid metadata, SourceError if there is no root filesystem.
    """
    outer = open_file(path)
    files: dict[str, bytes] = {}
    roots: list[bytes] = []
    unified = False
    with outer.members() as members:
        for member in members:
            if is_root(member):
                roots.append(member.path)
            elif is_in_rootfs(member.path):
                unified = True
            elif not is_companion(member):
                return None
            elif member.type == REG:
                _keep(member, files, str(path))
            if (roots or unified) and _is_complete(files):
                break
    outer.digest = expected_digest(path)  # compared when all of it is read
    meta, kept = unpacked(files, str(path))
    if unified and not roots and YAML in files:
        return PackagedSource(outer, meta, kept, unified=True)
    if unified or (not roots and not meta.values):
        return None
    if not roots:
        return _pair(_find_root(path), path)
    if len(roots) > 1:
        raise _several(str(path), roots)
    outer.warnings.append(f"{path}: reading {printable(roots[0])[1:]} in it")
    return nested(outer, roots[0], meta, kept)


def open_if_pair(directory: Path) -> PackagedSource | None:
    """Return the packed root filesystem in a directory, with its metadata; None if there is none."""
    roots = [name for name in list_files(directory) if _INNER.fullmatch(os.fsencode(name)) or name == "rootfs.squashfs"]
    if not roots:
        return None
    if len(roots) > 1:
        raise _several(str(directory), [os.fsencode(name) for name in roots])
    root = directory / roots[0]
    return _pair(root, _find_metadata(root))


def open_with_metadata(path: Path) -> Archive | PackagedSource:
    """Return the archive in a file, with the metadata next to it if there is any."""
    metadata = _find_metadata(path)
    return _root(path) if metadata is None else _pair(path, metadata)


def _pair(root: Path, metadata: Path | None) -> PackagedSource:
    archive = _root(root)
    if metadata is None:
        return PackagedSource(archive, Metadata())
    if metadata.name == YAML:
        files = {YAML: _small(metadata)}
        return PackagedSource(archive, read_metadata(files, str(metadata)))
    kept = _small(metadata)
    return PackagedSource(archive, read_metadata(_files(kept, str(metadata)), str(metadata)), kept)


def _root(path: Path) -> Archive:
    archive = open_squashfs(path) if read_start(path).startswith(SQUASHFS) else open_file(path)
    archive.digest = expected_digest(path) if archive.rereadable else ""
    return archive


def _small(path: Path) -> bytes:
    """Return the content of a metadata file, compared with the checksum files next to it."""
    archive = open_file(path)
    if (archive.size or 0) > _MAX_FILES:
        raise SourceError(f"{path}: has {archive.size} bytes, the limit for metadata is {_MAX_FILES}")
    archive.digest = expected_digest(path)
    with archive.stored() as stream:
        buffer = bytearray(_MAX_FILES + 1)
        view, got = memoryview(buffer), 0
        while more := stream.readinto(view[got:]):
            got += more
    return bytes(buffer[:got])


def _find_metadata(root: Path) -> Path | None:
    """Return the metadata next to a root filesystem, by the names that builders use."""
    if not is_file(root):
        return None
    stem = re.sub(rf"\.({_TAR}|squashfs)$", "", root.name)
    names = list_files(root.parent, _MAX_FILES)
    own = [name for name in names if re.fullmatch(rf"{re.escape(stem)}\.meta\.{_TAR}", name)]
    if root.suffix == ".squashfs":  # as `incus image export` names the two
        own += [name for name in names if re.fullmatch(rf"{re.escape(stem)}\.{_TAR}", name)]
    if stem == "rootfs":
        own += [name for name in names if _META.fullmatch(name) or name == YAML]
    return root.parent / own[0] if own else None


def _find_root(metadata: Path) -> Path:
    """Return the root filesystem next to a metadata archive. Raises SourceError if there is none."""
    stem = re.sub(rf"(\.meta)?\.{_TAR}$", "", metadata.name)
    for name in list_files(metadata.parent):
        own = re.fullmatch(rf"{re.escape(stem)}\.(squashfs|{_TAR})", name) and name != metadata.name
        common = _META.fullmatch(metadata.name) and (_INNER.fullmatch(os.fsencode(name)) or name == "rootfs.squashfs")
        if own or common:
            return metadata.parent / name
    raise SourceError(
        f"{metadata}: contains only the metadata of a root filesystem",
        hint=f"put rootfs.tar.xz or rootfs.squashfs into {metadata.parent}",
    )


def nested(outer: Archive, inner: bytes, metadata: Metadata, kept: bytes) -> PackagedSource:
    """Return the root filesystem whose archive is a member of another one, with its metadata."""
    name = outer.name

    @contextmanager
    def opener() -> Iterator[Readable]:
        sums = Sums(name, outer.warnings)
        with outer.members() as members:
            rest = iter(members)
            for member in rest:
                if member.path == inner:
                    body = Chunks(sums.chunks(member))
                    break
                sums.take(member)
            else:
                raise ArchiveError(f"{name}: {printable(inner)} disappeared during the build", hint="build it again")
            yield body
            body.drain()
            for member in rest:
                require_companion(member, name)
                sums.take(member)
        sums.compare(inner)

    root = Archive(Origin("tar", f"{name}: {printable(inner)[1:]}"), opener, outer.rereadable, warnings=outer.warnings)
    packaged = PackagedSource(root, metadata, kept)
    packaged.origin = outer.origin
    return packaged


def is_in_rootfs(path: bytes) -> bool:
    """Return whether a member belongs to the root filesystem of a unified archive."""
    return path == _ROOTFS or path.startswith(_ROOTFS + b"/")


def _is_complete(files: dict[str, bytes]) -> bool:
    """Return whether the metadata read so far is complete."""
    if YAML not in files:
        return any(map(_META.fullmatch, files))
    return YAML in files and b"templates:" not in files[YAML]


def is_root(member: Member) -> bool:
    """Return whether a member is the archive of a root filesystem."""
    return member.type == REG and member.sparse is None and _INNER.fullmatch(member.path) is not None


def is_companion(member: Member) -> bool:
    """Return whether a member may accompany a root filesystem."""
    return member.type in (REG, DIR) and _BESIDE.fullmatch(member.path) is not None


def require_companion(member: Member, name: str) -> None:
    """Raise ArchiveError for a member that is not metadata."""
    if _INNER.fullmatch(member.path):
        raise _several(name, [member.path])
    if not is_companion(member):
        raise ArchiveError(
            f"{name}: contains {printable(member.path)} in addition to a root filesystem and its metadata",
            hint=f"extract the root filesystem and build from that: tar -xf {name} NAME",
        )


def _several(name: str, roots: list[bytes]) -> ArchiveError:
    return ArchiveError(
        f"{name}: contains several root filesystems: {', '.join(map(printable, roots))}",
        hint="extract one of them and build from that: tar -xf ARCHIVE NAME",
    )


def _keep(member: Member, files: dict[str, bytes], where: str) -> None:
    room = _MAX_FILES - sum(map(len, files.values()))
    if member.size > room or (member.size > MAX_FILE and not _META.fullmatch(member.path.decode("latin-1"))):
        raise ArchiveError(
            f"{where}: {printable(member.path)} has {member.size} bytes, the limit for a metadata file is {MAX_FILE}"
        )
    name = member.path.decode("utf-8", "surrogateescape")
    files[name] = b"".join(bytes(chunk) for chunk in member.chunks())


def unpacked(files: Mapping[str, bytes], where: str) -> tuple[Metadata, bytes]:
    """Return the metadata among the files of an archive, and the inner archive that contains it, b"" without one."""
    inner = next((name for name in sorted(files) if _META.fullmatch(name)), None)
    if inner is None:
        return read_metadata(files, where), b""
    return read_metadata(_files(files[inner], f"{where}: {inner}"), f"{where}: {inner}"), files[inner]


def _files(data: bytes, where: str) -> dict[str, bytes]:
    """Return the small files of a metadata archive."""

    @contextmanager
    def opener() -> Iterator[Readable]:
        yield io.BytesIO(data)

    files: dict[str, bytes] = {}
    with Archive(Origin("tar", where), opener, rereadable=True).members(_SMALL) as members:
        for member in members:
            if member.type == REG and member.sparse is None:
                _keep(member, files, where)
    return files


class Chunks:
    """A member's body as a stream."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of `buffer`."""
        while not len(self._left):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def drain(self) -> None:
        """Skip the rest."""
        for _ in self._chunks:
            pass
