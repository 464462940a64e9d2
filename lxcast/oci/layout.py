"""Which image, and which layers: what an OCI image layout and an archive of `docker save` say about themselves.

Keys and media types are the OCI image specification's (image-layout.md, image-index.md, manifest.md, config.md), and
Docker's of the same meaning; manifest.json is moby's (image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset
Format").
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lxcast.errors import ArchiveError, SourceError
from lxcast.identifiers import one_line
from lxcast.model import ImageConfig
from lxcast.oci.platform import Platform

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_LAYER = re.compile(r"application/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)([+.](gzip|zstd))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name an image, the more telling one first: Docker writes the tag alone into the other."""

MAX_JSON = 8 * 1024 * 1024
"""Bytes of an index, a manifest or a config; registries take 4 MiB."""

_MOST_TOLD = 20

DAMAGED = "write the image again: the copy was cut off or damaged"


class Blobs(Protocol):
    """The files of an image, in a folder or an archive, by paths relative to it."""

    name: str
    """For messages."""

    def size(self, path: str) -> int | None:
        """Return the bytes of a file; None where there is none."""

    def read(self, path: str) -> bytes:
        """Return what a small file holds; SourceError where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: where it lies, and what it must be."""

    path: str
    size: int
    digest: str
    """Of the bytes that lie there, "" where only the diff id is known."""
    diff_id: str
    """Of the uncompressed tar."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was chosen; its layers from the lowest up."""

    digest: str
    """Of its manifest, where that has one, else of its config: "sha256:HEX"."""
    config: ImageConfig
    layers: tuple[Layer, ...]


def find_in_layout(blobs: Blobs, ref: str, platform: Platform | None, place: str) -> Image:
    """Return the image of an OCI layout that `ref` (a name or digest, "" for the only one) and the platform choose.

    `place` is what the user writes before ":REF" to name one. Without a platform it is this machine's, or the one that
    there is. Raises SourceError for what is not there or cannot be read, ArchiveError for what is damaged.
    """
    roots = [each for each in list_manifests(blobs) if not _is_attestation(each)]
    chosen = [each for each in roots if not ref or ref in (*_names(each), each.get("digest"))]
    if not chosen:
        raise SourceError(
            f"{blobs.name}: holds no image {ref!r}" if ref else f"{blobs.name}: holds no image",
            hint=_choices(place, map(_name, roots)),
        )
    digests = dict.fromkeys(str(each.get("digest")) for each in chosen)
    if len(digests) > 1 and len({tuple(_names(each)) for each in chosen}) > 1:
        raise SourceError(
            f"{blobs.name}: holds several images, and none was named", hint=_choices(place, map(_name, chosen))
        )
    found = _of_platform(blobs, [*_expand(blobs, chosen)], platform)
    if len(digests) > 1 and len(found) > 1:
        raise SourceError(f"{blobs.name}: holds several images of one name and platform", hint=_choices(place, digests))
    manifest = _blob(blobs, found[0])
    config = _blob(blobs, _mapping(blobs, manifest, "config"))
    layers = [{**each, "path": _path(blobs, each)} for each in _list(blobs, manifest, "layers")]
    return _image(blobs, str(found[0]["digest"]), config, layers, platform, ref)


def list_manifests(blobs: Blobs) -> list[dict[str, Any]]:
    """Return the descriptors in an OCI layout's index. Raises ArchiveError where it is malformed."""
    return _list(blobs, _json(blobs, "index.json", blobs.read("index.json")), "manifests")


def list_layers(blobs: Blobs, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptors of an image's layers; ArchiveError where its manifest is damaged."""
    return _list(blobs, _blob(blobs, manifest), "layers")


def find_in_docker_archive(blobs: Blobs, ref: str, platform: Platform | None, place: str) -> Image:
    """Return the image of a `docker save` archive that `ref` (a tag or id, "" for the only one) chooses.

    `place` is what the user writes before ":REF" to name one. Raises SourceError for what is not there or cannot be
    read, ArchiveError for what is damaged.
    """
    manifest = _json(blobs, "manifest.json", blobs.read("manifest.json"), list)
    images = {id(each): each for each in manifest if isinstance(each, dict) and isinstance(each.get("Config"), str)}
    tags = {key: _list(blobs, each, "RepoTags", str) if each.get("RepoTags") else [] for key, each in images.items()}
    ids = {key: _config_digest(str(each["Config"])) for key, each in images.items()}

    def is_meant(key: int) -> bool:
        return not ref or ref in tags[key] or f"{ref}:latest" in tags[key] or ids[key] in (ref, f"sha256:{ref}")

    chosen = [key for key in images if is_meant(key)]
    if len(chosen) != 1:
        names = (name for key in images for name in [*filter(_can_be_typed, tags[key])] or [ids[key]])
        what = "several images, and none was named" if chosen else f"no image {ref!r}" if ref else "no image"
        raise SourceError(f"{blobs.name}: holds {what}", hint=_choices(place, names))
    image, digest = images[chosen[0]], ids[chosen[0]]
    data = _checked(blobs, str(image["Config"]), digest, None)
    layers = [{"path": path} for path in _list(blobs, image, "Layers", str)]
    return _image(blobs, digest, _json(blobs, str(image["Config"]), data), layers, platform, ref)


def _image(
    blobs: Blobs, digest: str, config: Mapping[str, Any], layers: Sequence[Any], platform: Platform | None, ref: str
) -> Image:
    """Put together what config and descriptors say; every problem of the layers is told at once."""
    found = Platform.of(config)
    if found.os not in ("", "linux"):
        raise SourceError(f"{blobs.name}: is an image for {found}, no Linux filesystem")
    if platform is not None and found.architecture and not platform.takes(found):
        raise SourceError(f"{blobs.name}: is an image for {found}, not for {platform}", hint="leave --platform out")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise SourceError(
            f"{blobs.name}: {ref or digest} is no container image: its config has no rootfs.diff_ids",
            hint="other artifacts (charts, signatures, SBOMs) lie in OCI layouts, too",
        )
    if len(diff_ids) != len(layers):
        raise ArchiveError(f"{blobs.name}: has {len(layers)} layers, and {len(diff_ids)} diff ids", hint=DAMAGED)
    refused: list[str] = []
    damaged: list[str] = []
    made = []
    for number, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True), 1):
        where = f"layer {number}"
        if not isinstance(diff_id, str) or not _DIGEST.fullmatch(diff_id):
            damaged.append(f"{where}: its diff id is {diff_id!r:.80}")
            continue
        kind = str(layer.get("mediaType") or "")
        path = layer["path"]
        size = blobs.size(path)
        expected = layer.get("size", size)
        if refusal := _refusal(kind):
            refused.append(f"{where} ({layer.get('digest')}) {refusal}")
        elif size is None:
            damaged.append(f"{where} is missing: there is no {path:.200}")
        elif size != expected:
            damaged.append(f"{where}, {path:.200}, has {size} bytes, the manifest says {expected!s:.40}")
        else:
            made.append(Layer(path, size, str(layer.get("digest") or ""), diff_id))
    if refused:
        told = one_line("; ".join(refused))
        raise SourceError(f"{blobs.name}: {told}", hint="have its builder write plain layers")
    if damaged:
        raise ArchiveError(f"{blobs.name}: {one_line('; '.join(damaged))}", hint=DAMAGED)
    return Image(digest, _config(blobs, config, found), tuple(made))


def _refusal(kind: str) -> str:
    if kind.endswith("+encrypted"):
        return "is encrypted: `skopeo copy --decryption-key` writes an image that can be read"
    if "nondistributable" in kind or ".foreign." in kind:
        return "is foreign: its content lies on its maker's server, not in the image"
    return "" if not kind or _LAYER.fullmatch(kind) else f"is of the unknown kind {kind:.100}"


def _config(blobs: Blobs, config: Mapping[str, Any], platform: Platform) -> ImageConfig:
    history = config.get("history") or []
    try:
        commands = tuple(str(each.get("created_by") or "") for each in history if isinstance(each, dict))
        return ImageConfig.parse(
            config.get("config") or {},
            "/".join(filter(None, (platform.architecture, platform.variant))),
            str(config.get("created") or ""),
            commands,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ArchiveError(f"{blobs.name}: its config is malformed: {error}", hint=DAMAGED) from error


def _expand(blobs: Blobs, descriptors: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the manifests that descriptors lead to; each nested index is opened once."""
    opened = set()
    left = [*descriptors][::-1]
    while left:
        each = left.pop()
        if _is_attestation(each):
            continue
        if each.get("mediaType") not in _INDEXES:
            yield each
        elif (path := _path(blobs, each)) not in opened:
            opened.add(path)
            left += _list(blobs, _blob(blobs, each), "manifests")[::-1]


def _of_platform(blobs: Blobs, manifests: list[dict[str, Any]], platform: Platform | None) -> list[dict[str, Any]]:
    """Return the manifests of a platform, at least one; without one this machine's, or the only one that there is."""
    unique = {str(each.get("digest")): each for each in manifests}
    if len(unique) == 1 and platform is None:
        return manifests[:1]  # whatever it is for: lxcast runs nothing of it
    wanted = platform or Platform.machine()
    platforms = {digest: _platform(blobs, each) for digest, each in unique.items()}
    matching = [unique[digest] for digest, found in platforms.items() if wanted.takes(found)]
    if not matching:
        names = sorted({str(found) for found in platforms.values()})
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        there = ", ".join(names[:_MOST_TOLD])
        raise SourceError(
            f"{blobs.name}: holds no image for {wanted}: there is {there or 'nothing'}{more}",
            hint="name one by --platform",
        )
    return matching


def _platform(blobs: Blobs, descriptor: dict[str, Any]) -> Platform:
    said = descriptor.get("platform")
    if isinstance(said, dict):
        return Platform.of(said)
    return Platform.of(_blob(blobs, _mapping(blobs, _blob(blobs, descriptor), "config")))


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    # BuildKit puts provenance beside the images (docs/attestations/attestation-storage.md).
    return _annotations(descriptor).get("vnd.docker.reference.type") == "attestation-manifest"


def _annotations(descriptor: dict[str, Any]) -> dict[str, Any]:
    found = descriptor.get("annotations")
    return found if isinstance(found, dict) else {}


def _names(descriptor: dict[str, Any]) -> list[str]:
    annotations = _annotations(descriptor)
    return [str(annotations[key]) for key in _NAMES if key in annotations]


def _name(descriptor: dict[str, Any]) -> str:
    return next(filter(_can_be_typed, _names(descriptor)), f"{descriptor.get('digest')!s:.200}")


def _can_be_typed(name: str) -> bool:
    return name.isprintable() and len(name) <= 200


def _choices(place: str, names: Iterable[str]) -> str:
    """Return what the user may write in place of what was not clear."""
    from shlex import quote  # only where something is wrong

    told = [quote(f"{place}:{name}") for name in dict.fromkeys(names)]
    more = f" or one of {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return one_line(f"say which: {', '.join(told[:_MOST_TOLD])}{more}") if told else "there is none in it"


def _path(blobs: Blobs, descriptor: Mapping[str, Any]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ArchiveError(f"{blobs.name}: {digest!r:.100} is no digest of SHA-256 or SHA-512", hint=DAMAGED)
    return f"blobs/{digest.replace(':', '/')}"


def _blob(blobs: Blobs, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that a descriptor names, verified."""
    path = _path(blobs, descriptor)
    found: dict[str, Any] = _json(blobs, path, _checked(blobs, path, descriptor["digest"], descriptor.get("size")))
    return found


def _checked(blobs: Blobs, path: str, digest: str, size: int | None) -> bytes:
    data = blobs.read(path)
    if size is not None and len(data) != size:
        raise ArchiveError(f"{blobs.name}: {path} has {len(data)} bytes, the one that names it says {size!s:.40}")
    verify(f"{blobs.name}: {path}", digest, hashlib.new(digest.partition(":")[0], data).hexdigest())
    return data


def verify(what: str, expected: str, hexdigest: str, hint: str = DAMAGED) -> None:
    """Raise ArchiveError where `what` has another digest than it should."""
    algorithm = expected.partition(":")[0]
    if expected != f"{algorithm}:{hexdigest}":
        raise ArchiveError(f"{what} is damaged: it has {algorithm}:{hexdigest}, not {expected}", hint=hint)


def _config_digest(path: str) -> str:
    """Return the digest that the path of a config in a docker archive tells; old ones name it HEX.json."""
    match = re.fullmatch(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?", path)
    if match is None:
        raise SourceError(f"{path!r:.100} is no path of a config in an archive of docker save", hint=DAMAGED)
    return f"sha256:{match[1]}"


def _json(blobs: Blobs, path: str, data: bytes, kind: Callable[..., Any] = dict) -> Any:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{blobs.name}: {path} is no JSON: {error}", hint=DAMAGED) from error
    if type(found) is not kind:
        raise ArchiveError(f"{blobs.name}: {path} holds no {kind.__name__} but {data[:60]!r}", hint=DAMAGED)
    return found


def _mapping(blobs: Blobs, data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise ArchiveError(f"{blobs.name}: {key} is {value!r:.60}, not an object", hint=DAMAGED)
    return value


def _list(blobs: Blobs, data: Mapping[str, Any], key: str, kind: type = dict) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
        raise ArchiveError(f"{blobs.name}: {key} is {value!r:.60}, not a list of {kind.__name__}", hint=DAMAGED)
    return value
