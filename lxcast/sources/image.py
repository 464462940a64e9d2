"""An image at rest: its layers become the members of one root filesystem, in two readings and without a copy.

The first reading sees the headers of all layers, as many at a time as there are processors; the second one hands out
what stays.
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
from lxcast.oci.layout import Image, Layer, find_in_docker_archive, find_in_layout
from lxcast.oci.merge import FOLDER, LINK, SYMLINK, WHITEOUT, Attributes, Entry, Merge, Plan
from lxcast.oci.platform import Platform
from lxcast.record import Origin
from lxcast.sources.blobs import Blobs, DirectoryBlobs, list_archive
from lxcast.sources.verified import Verified
from lxcast.tar.member import CHR, DIR, LNK, REG, SYM, Member
from lxcast.tar.reader import Limits, Reader


def open_layout(text: str, platform: str) -> "ImageSource":
    """Return the image of an OCI layout, `FOLDER[:REF]` or `ARCHIVE[:REF]`. Raises SourceError and its children."""
    path, ref = _split(text)
    return _layout(_blobs(path), path, ref, platform)


def open_docker_archive(text: str, platform: str) -> "ImageSource":
    """Return an image of `docker save`, `ARCHIVE[:REF]` or the folder of one. Raises SourceError and its children."""
    path, ref = _split(text)
    return _docker_archive(_blobs(path), path, ref, platform)


def open_if_image(path: Path, platform: str) -> "ImageSource | None":
    """Return the image that a folder or file holds, told by its content; None where it holds something else."""
    blobs: Blobs | None = DirectoryBlobs(path) if path.is_dir() else list_archive(path, judge=True)
    if blobs is None:
        return None
    if blobs.size("oci-layout") is not None and blobs.size("index.json") is not None:
        return _layout(blobs, path, "", platform)
    if blobs.size("manifest.json") is not None and not (path / "etc").exists():
        return _docker_archive(blobs, path, "", platform)
    return None


def _layout(blobs: Blobs, path: Path, ref: str, platform: str) -> "ImageSource":
    if blobs.size("oci-layout") is None or blobs.size("index.json") is None:
        raise SourceError(f"{path}: is no OCI image layout: it has no oci-layout and index.json", hint=_OTHER)
    kind = "oci" if path.is_dir() else "oci-archive"
    image = find_in_layout(blobs, ref, Platform.parse(platform) if platform else None, f"{kind}:{path}")
    return ImageSource(Origin(kind, _named(path, ref), image.digest), path, blobs, image)


def _docker_archive(blobs: Blobs, path: Path, ref: str, platform: str) -> "ImageSource":
    if blobs.size("manifest.json") is None:
        raise SourceError(f"{path}: is no archive of docker save: it has no manifest.json", hint=_OTHER)
    kind = "docker-archive"
    image = find_in_docker_archive(blobs, ref, Platform.parse(platform) if platform else None, f"{kind}:{path}")
    return ImageSource(Origin(kind, _named(path, ref), image.digest), path, blobs, image)


_OTHER = "without the prefix, its content tells what kind of source it is"


def _named(path: Path, ref: str) -> str:
    return f"{path}:{ref}" if ref else str(path)


def _split(text: str) -> tuple[Path, str]:
    """Part PATH:REF at the first colon behind which the path exists; both may hold colons."""
    at = len(text)
    cuts = [at, *(index for index, char in enumerate(text) if char == ":")]
    for at in cuts:
        path = Path(text[:at]).expanduser()
        if text[:at] and path.exists():
            return path, text[at + 1 :]
    raise SourceError(f"{text.partition(':')[0]}: no such file or folder", hint=f"here is {Path.cwd()}")


def _blobs(path: Path) -> Blobs:
    if path.is_dir():
        return DirectoryBlobs(path)
    blobs = list_archive(path)
    assert blobs is not None
    return blobs


class ImageSource:
    """An image in a layout or an archive, which lies at `path`."""

    rereadable = True

    def __init__(self, origin: Origin, path: Path, blobs: Blobs, image: Image) -> None:
        self.origin, self.path = origin, path
        self.config: ImageConfig | None = image.config
        self.warnings: list[str] = []
        self.size: int | None = 2 * sum(layer.size for layer in image.layers)
        self._blobs, self._layers = blobs, image.layers
        self._read = [0] * len(image.layers)
        self._stopped = threading.Event()
        self._plan: Plan | None = None
        self._ends: list[int] = []

    @property
    def read(self) -> int:
        """Bytes of the layers that were read so far."""
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
                            hint="raise --max-members or --max-size where the image is right",
                        )
                    merge.add_layer(_drained(entries))
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                self._stopped.clear()
        return merge.plan()

    def _scan(self, number: int, limits: Limits) -> tuple[list[Entry], int]:
        """Return the entries of a layer, and the bytes of its files."""
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
                    entries.append((member.path, FOLDER, facts))
                elif type in (SYM, LNK):
                    entries.append((member.path, SYMLINK if type == SYM else LINK, member.link))
                elif type == CHR and member.device == (0, 0):
                    entries.append((member.path, WHITEOUT, b""))  # as overlayfs keeps it (its kernel documentation)
                else:
                    entries.append(member.path)
        return entries, size

    @contextmanager
    def _open(self, number: int, limits: Limits, *, first: bool = False) -> Iterator[Reader]:
        """Open a layer; whatever is wrong with its bytes is raised here, at the latest when all were read.

        Hashing costs as much as decompression, so the first reading compares a compressed layer's diff id, the second
        its digest, and an uncompressed one is verified in the second alone.
        """
        layer = self._layers[number]
        name = f"{self.origin.reference}, layer {number + 1}"
        try:
            with self._blobs.open(layer.path) as raw:
                digest = "" if first else layer.digest
                stored = Verified(raw, digest, f"{name} ({layer.path})", lambda got: self._count(number, got))
                peeked = Peeked(stored)
                stream = decompress(peeked, name)
                plain = sniff(peeked.start) == "tar"
                diff_id = layer.diff_id if (first and not plain) or (not first and not layer.digest) else ""
                content = Verified(stream, diff_id, f"{name}, uncompressed,")
                if first and plain:
                    yield Reader(content, name, limits)  # nothing to decompress and nothing to hash
                else:
                    # The first reading has little else to do than to hash, the second compresses beside it.
                    prefetch = Prefetch(stream, content.take) if first else Prefetch(content)
                    with closing(prefetch) as ahead:
                        yield Reader(ahead, name, limits)
                content.finish()
                stored.finish()
        except ArchiveError:
            self._verify(layer, name)  # that bytes are not the right ones tells more than what follows from it
            raise

    def _verify(self, layer: Layer, name: str) -> None:
        with self._blobs.open(layer.path) as raw:
            Verified(raw, layer.digest, f"{name} ({layer.path})").finish()

    def _count(self, number: int, got: int) -> None:
        if self._stopped.is_set():
            raise SourceError(f"{self.origin.reference}: the reading was given up")
        self._read[number] += got


class Merged:
    """The members that stay, in the order of the layers, parents first."""

    def __init__(
        self, plan: Plan, ends: list[int], open_layer: Callable[[int], AbstractContextManager[Reader]]
    ) -> None:
        self.before_refill: Callable[[], None] = lambda: None
        self._plan, self._ends, self._open = plan, ends, open_layer
        self._running = self._run()

    def __iter__(self) -> Iterator[Member]:
        return self._running

    def close(self) -> None:
        """Close the layer that is open."""
        self._running.close()

    def _run(self) -> Generator[Member, None, None]:
        verdicts = self._plan.verdicts
        for layer in range(len(self._ends) - 1):
            number, end = self._ends[layer], self._ends[layer + 1]
            with self._open(layer) as reader:
                reader.before_refill = self._refill
                for member in reader:
                    verdict = verdicts[number] if number < end else 0
                    if verdict == 1:
                        yield member
                    elif verdict:
                        yield from self._unusual(member, number)
                    number += 1
            if number != end:
                raise SourceError(f"layer {layer + 1} changed while it was read", hint="build it again")

    def _unusual(self, member: Member, number: int) -> Iterator[Member]:
        """Yield what comes before an entry, and the entry under its names."""
        for path, facts in self._plan.folders.get(number, ()):
            if path == member.path and member.type == DIR:
                member.mode, member.uid, member.gid, member.mtime, member.xattrs = facts
                yield member
            else:
                mode, uid, gid, mtime, xattrs = facts
                yield Member(path, DIR, mode, uid, gid, mtime=mtime, xattrs=xattrs)
        if self._plan.verdicts[number] & 1:
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
    """Yield the entries and let go of them: the tree that they go into takes their place in memory."""
    entries.reverse()
    while entries:
        yield entries.pop()
