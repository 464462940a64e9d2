"""An image in files: its layers become the members of one root filesystem, in two readings and without a copy.

The first reading sees the headers of all layers, in parallel; the second one yields the members that are kept.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from lxcast.compression import Peeked, Prefetch, decompress, sniff
from lxcast.errors import ArchiveError, SourceError
from lxcast.model import ImageConfig
from lxcast.oci.layout import (
    Image,
    Layer,
    find_in_docker_archive,
    find_in_layout,
    has_docker_images,
    names_more_images,
)
from lxcast.oci.merge import DIRECTORY, LINK, SYMLINK, WHITEOUT, Attributes, Entry, Merge, Plan
from lxcast.oci.platform import Platform
from lxcast.record import Origin
from lxcast.sources.blobs import Blobs, DirectoryBlobs, list_archive
from lxcast.sources.paths import exists, expand, is_directory, missing_file
from lxcast.sources.verified import Verified
from lxcast.tar.member import CHR, DIR, LNK, REG, SYM, Member
from lxcast.tar.reader import Limits, Reader


def open_layout(text: str, platform: str) -> "ImageSource":
    """Return the image of an OCI layout, `DIR[:REF]` or `ARCHIVE[:REF]`. Raises SourceError and its children."""
    path, ref = _split(text)
    blobs = _blobs(path)
    if not _is_layout(blobs):
        raise SourceError(
            f"{path}: not an OCI image layout: oci-layout or index.json is missing", hint=_suggest(blobs, path, ref)
        )
    return _layout(blobs, path, ref, platform)


def open_docker_archive(text: str, platform: str) -> "ImageSource":
    """Return an image of `docker save`, `ARCHIVE[:REF]` or `DIR[:REF]`. Raises SourceError and its children."""
    path, ref = _split(text)
    blobs = _blobs(path)
    if blobs.size("manifest.json") is None:
        raise SourceError(
            f"{path}: not an archive of docker save: manifest.json is missing", hint=_suggest(blobs, path, ref)
        )
    return _docker_archive(blobs, path, ref, platform)


def open_if_image(path: Path, platform: str, name: str = "") -> "ImageSource | None":
    """Return the image in a directory or file, detected by its content; None if it contains something else.

    `name` stands for the path of a temporary file in messages.
    """
    blobs: Blobs | None = DirectoryBlobs(path) if is_directory(path) else list_archive(path, name, images_only=True)
    if blobs is None:
        return None
    saved = blobs.size("manifest.json") is not None and has_docker_images(blobs)
    if _is_layout(blobs) and not (saved and names_more_images(blobs)):
        return _layout(blobs, path, "", platform, name)
    # A root filesystem may have a manifest.json, too.
    if saved and not exists(path / "etc"):
        return _docker_archive(blobs, path, "", platform, name)
    return None


def _is_layout(blobs: Blobs) -> bool:
    return blobs.size("oci-layout") is not None and blobs.size("index.json") is not None


def _layout(blobs: Blobs, path: Path, ref: str, platform: str, name: str = "") -> "ImageSource":
    kind = "oci" if is_directory(path) else "oci-archive"
    image = find_in_layout(
        blobs, ref, Platform.parse(platform) if platform else None, f"{kind}:{'FILE' if name else path}"
    )
    return ImageSource(Origin(kind, _with_ref(name or str(path), ref), image.digest), path, blobs, image)


def _docker_archive(blobs: Blobs, path: Path, ref: str, platform: str, name: str = "") -> "ImageSource":
    kind = "docker-archive"
    image = find_in_docker_archive(
        blobs, ref, Platform.parse(platform) if platform else None, f"{kind}:{'FILE' if name else path}"
    )
    return ImageSource(Origin(kind, _with_ref(name or str(path), ref), image.digest), path, blobs, image)


def _suggest(blobs: Blobs, path: Path, ref: str) -> str:
    """Return a hint that names the prefix which fits the content."""
    if _is_layout(blobs):
        return f"use {'oci' if is_directory(path) else 'oci-archive'}:{_with_ref(str(path), ref)}"
    if blobs.size("manifest.json") is not None:
        return f"use docker-archive:{_with_ref(str(path), ref)}"
    return f"omit the prefix to detect the kind of source by its content: {path}"


def _with_ref(name: str, ref: str) -> str:
    return f"{name}:{ref}" if ref else name


def _split(text: str) -> tuple[Path, str]:
    """Split PATH:REF at the first colon after which the path exists; both may contain colons."""
    cuts = [len(text), *(index for index, char in enumerate(text) if char == ":")]
    for at in cuts:
        path = expand(text[:at])
        if text[:at] and exists(path):
            return path, text[at + 1 :]
    raise missing_file(expand(text.partition(":")[0]))


def _blobs(path: Path) -> Blobs:
    if is_directory(path):
        return DirectoryBlobs(path)
    blobs = list_archive(path)
    assert blobs is not None
    return blobs


class ImageSource:
    """An image in a layout or an archive at `path`."""

    rereadable = True

    def __init__(self, origin: Origin, path: Path, blobs: Blobs, image: Image) -> None:
        self.origin, self.path = origin, path
        self.config: ImageConfig | None = image.config
        self.warnings: list[str] = []
        if image.missing:
            self.warnings.append(
                f"{origin.reference}: contains only {image.config.architecture or 'one platform'}; "
                f"its index also lists {', '.join(image.missing)}"
            )
        self.size: int | None = 2 * sum(layer.size for layer in image.layers)
        self._blobs, self._layers = blobs, image.layers
        self._read = [0] * len(image.layers)
        self._stopped = threading.Event()
        self._plan: Plan | None = None
        self._ends: list[int] = []

    @property
    def read(self) -> int:
        """Bytes of the layers read so far."""
        return sum(self._read)

    @contextmanager
    def members(self, limits: Limits | None = None) -> Iterator["Merged"]:
        """Read the layers' headers, then yield the members of the root filesystem."""
        self._read = [0] * len(self._layers)
        limits = limits or Limits()
        try:
            if self._plan is None:
                self._plan = self._index(limits)
            with closing(Merged(self._plan, self._ends, lambda number: self._open(number, limits))) as merged:
                yield merged
        finally:
            self._blobs.release()

    def _index(self, limits: Limits) -> Plan:
        merge = Merge(self.origin.reference)
        self._ends = [0]
        total = 0
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(self._layers) or 1), "lxcast-layer") as pool:
            numbers = range(len(self._layers))
            order = sorted(numbers, key=lambda number: self._blobs.order(self._layers[number].path))
            scans = {number: pool.submit(self._scan, number, limits) for number in order}
            try:
                for number in numbers:
                    entries, size = scans.pop(number).result()
                    total += size
                    self._ends.append(self._ends[-1] + len(entries))
                    if self._ends[-1] > limits.members or total > limits.size:
                        raise ArchiveError(
                            f"{self.origin.reference}: has {self._ends[-1]} members and {total} bytes up to layer "
                            f"{len(self._ends) - 1}: the limits are {limits.members} members and {limits.size} bytes",
                            hint="if the image is right, raise --max-members or --max-size",
                        )
                    merge.add_layer(_drained(entries))
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                self._stopped.clear()
        return merge.plan()

    def _scan(self, number: int, limits: Limits) -> tuple[list[Entry], int]:
        """Return the entries of a layer, and the total size of its files in bytes."""
        entries: list[Entry] = []
        size = 0
        with self._open(number, limits, first=True) as reader:
            for member in reader:
                type = member.type
                if type == REG:
                    size += member.size
                    entries.append(member.path)
                elif type == DIR:
                    facts = Attributes(member.mode, member.uid, member.gid, member.mtime, member.xattrs)
                    entries.append((member.path, DIRECTORY, facts))
                elif type in (SYM, LNK):
                    entries.append((member.path, SYMLINK if type == SYM else LINK, member.link))
                elif type == CHR and member.device == (0, 0):
                    entries.append((member.path, WHITEOUT, b""))  # as overlayfs stores it (kernel documentation)
                else:
                    entries.append(member.path)
        return entries, size

    @contextmanager
    def _open(self, number: int, limits: Limits, *, first: bool = False) -> Iterator[Reader]:
        """Open a layer. Raises ArchiveError for damaged bytes, at the latest at their end.

        Hashing costs as much as decompression, so the first reading compares a compressed layer's diff id, the second
        one its digest; an uncompressed layer is verified in the second reading only.
        """
        layer = self._layers[number]
        name = f"{self.origin.reference}, layer {number + 1}"
        try:
            with self._blobs.open(layer.path) as raw:
                digest = "" if first else layer.digest
                stored = Verified(raw, digest, f"{name} ({layer.path})", lambda got: self._count(number, got))
                peeked = Peeked(stored)
                # A layer of 0 bytes is one without changes, as some builders write it.
                plain = not peeked.start or sniff(peeked.start) == "tar"
                stream = peeked if plain else decompress(peeked, name)
                # Uncompressed, the digest should be the diff id: then one comparison is enough.
                needed = (not first and layer.digest != layer.diff_id) if plain else (first or not layer.digest)
                diff_id = layer.diff_id if needed else ""
                content = Verified(stream, diff_id, f"{name}, uncompressed,")
                if first and plain:
                    yield Reader(content, name, limits, verified=True)  # nothing to decompress, nothing to hash
                else:
                    # The first reading mostly hashes; the second one runs in parallel to the compressor.
                    prefetch = Prefetch(stream, content.take) if first else Prefetch(content)
                    with closing(prefetch) as ahead:
                        yield Reader(ahead, name, limits, verified=True)
                content.finish()
                stored.finish()
        except ArchiveError:
            self._verify(layer, name)  # wrong bytes explain more than the error that follows from them
            raise

    def _verify(self, layer: Layer, name: str) -> None:
        with self._blobs.open(layer.path) as raw:
            Verified(raw, layer.digest, f"{name} ({layer.path})").finish()

    def _count(self, number: int, got: int) -> None:
        if self._stopped.is_set():
            raise SourceError(f"{self.origin.reference}: reading was stopped")
        self._read[number] += got


class Merged:
    """The members that are kept, in the order of the layers, parents first."""

    def __init__(
        self, plan: Plan, ends: list[int], open_layer: Callable[[int], AbstractContextManager[Reader]]
    ) -> None:
        self.before_refill: Callable[[], None] = lambda: None
        self._plan, self._ends, self._open = plan, ends, open_layer
        self._running = self._run()

    def __iter__(self) -> Iterator[Member]:
        return self._running

    def close(self) -> None:
        """Close the open layer."""
        self._running.close()

    def _run(self) -> Generator[Member, None, None]:
        actions = self._plan.actions
        for layer in range(len(self._ends) - 1):
            number, end = self._ends[layer], self._ends[layer + 1]
            with self._open(layer) as reader:
                reader.before_refill = self._refill
                for member in reader:
                    action = actions[number] if number < end else 0
                    if action == 1:
                        yield member
                    elif action:
                        yield from self._unusual(member, number)
                    number += 1
            if number != end:
                raise SourceError(f"layer {layer + 1} changed during the build", hint="build it again")

    def _unusual(self, member: Member, number: int) -> Iterator[Member]:
        """Yield the directories before an entry, and the entry under its names."""
        for path, facts in self._plan.directories.get(number, ()):
            if path == member.path and member.type == DIR:
                member.mode, member.uid, member.gid, member.mtime, member.xattrs = facts
                yield member
            else:
                mode, uid, gid, mtime, xattrs = facts
                yield Member(path, DIR, mode, uid, gid, mtime=mtime, xattrs=xattrs)
        if self._plan.actions[number] & 1:
            yield member
        names = sorted(self._plan.names.get(number, ()))
        if names:
            target = member.path if member.path in names else names[0]
            facts = Attributes(member.mode, member.uid, member.gid, member.mtime)
            member.path, member.front = target, None
            yield member
            for name in names:
                if name != target:
                    yield Member(name, LNK, facts.mode, facts.uid, facts.gid, mtime=facts.mtime, link=target)

    def _refill(self) -> None:
        self.before_refill()


def _drained(entries: list[Entry]) -> Iterator[Entry]:
    """Yield the entries and release them: the tree that they go into needs their memory."""
    entries.reverse()
    while entries:
        yield entries.pop()
