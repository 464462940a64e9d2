"""Which image, and which layers: the documents of an OCI image layout and of a `docker save` archive.

Keys and media types are those of the OCI image specification (image-layout.md, image-index.md, manifest.md, config.md),
and Docker's of the same meaning; manifest.json is moby's (image/spec/v1.2.md, "Combined Image JSON + Filesystem
Changeset Format").
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from lxcast.errors import ArchiveError, SourceError
from lxcast.identifiers import one_line
from lxcast.model import ImageConfig
from lxcast.oci.platform import Platform

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIGS = ("", "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_LAYER = re.compile(r"application/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)([+.](gzip|zstd))?")
_ANY_LAYER = re.compile(r"|application/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\..+")
"""A layer of an image, also of a kind that cannot be read: foreign or encrypted."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name an image, the complete name first: Docker writes only the tag into the other."""

MAX_JSON = 8 * 1024 * 1024
"""Bytes of an index, a manifest or a config; registries accept 4 MiB."""

_MAX_CHOICES = 20

DAMAGED = "write the image again: the copy was cut off or damaged"


class Blobs(Protocol):
    """The files of an image, in a directory or an archive, by their relative paths."""

    name: str
    """For messages."""

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it does not exist."""

    def read(self, path: str) -> bytes:
        """Return the content of a small file. Raises SourceError if it cannot be read."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its path, and what it must be."""

    path: str
    size: int
    digest: str
    """Digest of the stored bytes; "" if only the diff id is known."""
    diff_id: str
    """Digest of the uncompressed tar."""


@dataclass(frozen=True, slots=True)
class Image:
    """The chosen image; its layers from the lowest up."""

    digest: str
    """Digest of its manifest if it has one, else of its config: "sha256:HEX"."""
    config: ImageConfig
    layers: tuple[Layer, ...]
    missing: tuple[str, ...] = ()
    """Platforms that the index lists and the archive does not contain, if the image was chosen for that reason."""


def find_in_layout(blobs: Blobs, ref: str, platform: Platform | None, place: str) -> Image:
    """Return the image of an OCI layout that `ref` (a name or digest, "" for the only one) and the platform choose.

    `place` is what the user writes before ":REF" to choose one. The default platform is this machine's, or the only one
    in the layout. Raises SourceError if nothing fits or cannot be read, ArchiveError for damaged files.
    """
    roots = [each for each in list_manifests(blobs) if not _is_attestation(each)]
    named = [each for each in roots if not ref or ref in (*_names(each), each.get("digest"))]
    if not named:
        raise SourceError(
            f"{blobs.name}: contains no image {ref!r}" if ref else f"{blobs.name}: contains no image",
            hint=_choices(place, map(_name, roots)),
        )
    expanded = [(root, [*_expand(blobs, [root])]) for root in named]
    several = sum(len(manifests) for _, manifests in expanded) > 1
    # Signatures and SBOMs are dropped only if an image is left: else the error names what is wrong with them.
    images = [(root, [each for each in manifests if _is_image(blobs, each)]) for root, manifests in expanded]
    chosen = [each for each in images if each[1]] if several else []
    chosen = chosen or expanded
    digests = dict.fromkeys(str(root.get("digest")) for root, _ in chosen)
    if len(digests) > 1 and len({tuple(_names(root)) for root, _ in chosen}) > 1:
        raise SourceError(
            f"{blobs.name}: contains several images", hint=_choices(place, (_name(root) for root, _ in chosen))
        )
    found, missing = _of_platform(blobs, [each for _, manifests in chosen for each in manifests], platform)
    if len(digests) > 1 and len(found) > 1:
        raise SourceError(
            f"{blobs.name}: contains several images of one name and platform", hint=_choices(place, digests)
        )
    manifest = _blob(blobs, found[0])
    config = _blob(blobs, _mapping(blobs, manifest, "config"))
    layers = [{**each, "path": _path(blobs, each)} for each in _list(blobs, manifest, "layers")]
    return _image(blobs, str(found[0]["digest"]), config, layers, platform, ref, missing)


def list_manifests(blobs: Blobs) -> list[dict[str, Any]]:
    """Return the descriptors in an OCI layout's index; none for null (Docker 25). Raises ArchiveError."""
    index = _json(blobs, "index.json", blobs.read("index.json"))
    return [] if index.get("manifests") is None else _list(blobs, index, "manifests")


def list_layers(blobs: Blobs, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptors of an image's layers. Raises ArchiveError for a damaged manifest."""
    return _list(blobs, _blob(blobs, manifest), "layers")


def names_more_images(blobs: Blobs) -> bool:
    """Return whether manifest.json names images that index.json does not lead to.

    Docker 25 writes a null index, and images saved by one digest share a descriptor.
    """
    with suppress(ArchiveError):  # raised when the layout is read
        configs = {_config_digest(blobs, each) for each in _docker_images(blobs)}
        roots = [each for each in list_manifests(blobs) if blobs.size(_path(blobs, each))]
        manifests = (each for each in _expand(blobs, roots) if blobs.size(_path(blobs, each)))
        return bool(configs - {_mapping(blobs, _blob(blobs, each), "config").get("digest") for each in manifests})
    return False


def has_docker_images(blobs: Blobs) -> bool:
    """Return whether manifest.json describes images: other programs use the name, too."""
    with suppress(ArchiveError):
        return bool(_docker_images(blobs))
    return False


def find_in_docker_archive(blobs: Blobs, ref: str, platform: Platform | None, place: str) -> Image:
    """Return the image of a `docker save` archive that `ref` (a tag or id, "" for the only one) chooses.

    The archive may be of any writer: crane, kaniko, Jib and Bazel name the config and the layers in their own ways.
    `place` is what the user writes before ":REF" to choose one. Raises SourceError if nothing fits or cannot be read,
    ArchiveError for damaged files.
    """
    images = [(each, _config_digest(blobs, each)) for each in _docker_images(blobs)]
    tags = [_list(blobs, each, "RepoTags", str) if each.get("RepoTags") else [] for each, _ in images]
    chosen = [
        each
        for each, names in zip(images, tags, strict=True)
        if not ref or ref in names or f"{ref}:latest" in names or each[1] in (ref, f"sha256:{ref}")
    ]
    if len(chosen) != 1:
        choices = (
            name
            for (_, digest), names in zip(images, tags, strict=True)
            for name in [*filter(_can_be_typed, names)] or [digest]
        )
        what = "several images" if chosen else f"no image {ref!r}" if ref else "no image"
        raise SourceError(f"{blobs.name}: contains {what}", hint=_choices(place, choices))
    image, digest = chosen[0]
    path = _relative(image["Config"])
    data = _checked(blobs, path, digest, None)
    layers = [{"path": _relative(each)} for each in _list(blobs, image, "Layers", str)]
    return _image(blobs, digest, _json(blobs, path, data), layers, platform, ref)


def _docker_images(blobs: Blobs) -> list[dict[str, Any]]:
    manifest = _json(blobs, "manifest.json", blobs.read("manifest.json"), list)
    return [each for each in manifest if isinstance(each, dict) and isinstance(each.get("Config"), str)]


def _image(
    blobs: Blobs,
    digest: str,
    config: Mapping[str, Any],
    layers: Sequence[Any],
    platform: Platform | None,
    ref: str,
    missing: tuple[str, ...] = (),
) -> Image:
    """Combine the config and the descriptors; all problems of the layers are reported at once."""
    found = Platform.of(config)
    if found.os not in ("", "linux"):
        raise SourceError(f"{blobs.name}: is an image for {found}, expected one for Linux")
    if platform is not None and found.architecture and not platform.takes(found):
        raise SourceError(f"{blobs.name}: is an image for {found}, not for {platform}", hint="omit --platform")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise SourceError(
            f"{blobs.name}: {ref or digest} is not a container image: its config has no rootfs.diff_ids",
            hint="it may be another artifact in the layout, such as a chart, a signature or an SBOM",
        )
    if len(diff_ids) != len(layers):
        raise ArchiveError(f"{blobs.name}: has {len(layers)} layers, but {len(diff_ids)} diff ids", hint=DAMAGED)
    refused: list[str] = []
    damaged: list[str] = []
    made = []
    for number, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True), 1):
        where = f"layer {number}"
        if not isinstance(diff_id, str) or not _DIGEST.fullmatch(diff_id):
            damaged.append(f"{where} has the invalid diff id {diff_id!r:.80}")
            continue
        kind = str(layer.get("mediaType") or "")
        path = layer["path"]
        size = blobs.size(path)
        expected = layer.get("size", size)
        if refusal := _refusal(kind):
            refused.append(f"{where} ({layer.get('digest')}) {refusal}")
        elif size is None:
            damaged.append(f"{where} is missing: {path:.200} does not exist")
        elif size != expected:
            damaged.append(f"{where}, {path:.200}, has {size} bytes, expected {expected!s:.40}")
        else:
            made.append(Layer(path, size, str(layer.get("digest") or ""), diff_id))
    if refused:
        raise SourceError(
            f"{blobs.name}: {one_line('; '.join(refused))}", hint="build the image again with plain layers"
        )
    if damaged:
        raise ArchiveError(f"{blobs.name}: {one_line('; '.join(damaged))}", hint=DAMAGED)
    return Image(digest, _config(blobs, config, found), tuple(made), missing)


def _refusal(kind: str) -> str:
    if kind.endswith("+encrypted"):
        return "is encrypted: `skopeo copy --decryption-key` writes an image that can be read"
    if "nondistributable" in kind or ".foreign." in kind:
        return "is foreign: its content is on a server of its vendor, not in the image"
    return "" if not kind or _LAYER.fullmatch(kind) else f"has the unsupported media type {kind:.100}"


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
    """Yield the manifests that descriptors lead to; each nested index is read once, a missing one is skipped."""
    opened = set()
    left = [*descriptors][::-1]
    while left:
        each = left.pop()
        if _is_attestation(each):
            continue
        if each.get("mediaType") not in _INDEXES:
            yield each
        elif (path := _path(blobs, each)) not in opened and (blobs.size(path) is not None or each in descriptors):
            opened.add(path)
            left += _list(blobs, _blob(blobs, each), "manifests")[::-1]


def _of_platform(
    blobs: Blobs, manifests: list[dict[str, Any]], platform: Platform | None
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the manifests of a platform, at least one, and the platforms that are missing if that decided.

    Without a platform, the only image is returned, whatever it is for: lxcast runs nothing of it. If there are several,
    it is the one for this machine, or the only one that the archive contains (`docker save --platform` leaves the
    others out).
    """
    unique = {str(each.get("digest")): each for each in manifests}
    if len(unique) == 1 and platform is None:
        return manifests[:1], ()
    platforms = {digest: _platform(blobs, each) for digest, each in unique.items()}
    held = [digest for digest, each in unique.items() if _is_held(blobs, each)]
    wanted = platform or Platform.machine()
    matching = [digest for digest, found in platforms.items() if wanted.takes(found) and (digest in held or not held)]
    if not matching and platform is None and len(held) == 1:
        return [unique[held[0]]], _names_of(found for digest, found in platforms.items() if digest not in held)
    if not matching:
        names = _names_of(platforms[digest] for digest in held or platforms)
        more = f" and {len(names) - _MAX_CHOICES} more" if len(names) > _MAX_CHOICES else ""
        raise SourceError(
            f"{blobs.name}: contains no image for {wanted}, only for {', '.join(names[:_MAX_CHOICES])}{more}",
            hint="choose one with --platform",
        )
    return [unique[digest] for digest in matching], ()


def _names_of(platforms: Iterable[Platform]) -> tuple[str, ...]:
    return tuple(sorted({str(each) for each in platforms}))


def _is_held(blobs: Blobs, descriptor: dict[str, Any]) -> bool:
    """Return whether an archive contains a manifest, its config and its layers."""
    if blobs.size(_path(blobs, descriptor)) is None:
        return False
    manifest = _blob(blobs, descriptor)
    parts = (_mapping(blobs, manifest, "config"), *_list(blobs, manifest, "layers"))
    return all(blobs.size(_path(blobs, each)) is not None for each in parts)


def _is_image(blobs: Blobs, descriptor: dict[str, Any]) -> bool:
    """Return whether a manifest is that of an image: attestations, signatures and other artifacts are not."""
    platform = descriptor.get("platform")
    if isinstance(platform, dict):
        return platform.get("os") != "unknown"  # as BuildKit marks attestations
    if blobs.size(_path(blobs, descriptor)) is None:
        return True
    manifest = _blob(blobs, descriptor)
    config, layers = _mapping(blobs, manifest, "config"), _list(blobs, manifest, "layers")
    kinds = [str(each.get("mediaType") or "") for each in layers]
    return str(config.get("mediaType") or "") in _CONFIGS and (not kinds or any(map(_ANY_LAYER.fullmatch, kinds)))


def _platform(blobs: Blobs, descriptor: dict[str, Any]) -> Platform:
    platform = descriptor.get("platform")
    if isinstance(platform, dict):
        return Platform.of(platform)
    return Platform.of(_blob(blobs, _mapping(blobs, _blob(blobs, descriptor), "config")))


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    # BuildKit adds provenance to the images of an index (docs/attestations/attestation-storage.md).
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
    """Return a hint that lists what the user may write instead."""
    from shlex import quote  # only for errors

    choices = [quote(f"{place}:{name}") for name in dict.fromkeys(names)]
    more = f" or one of {len(choices) - _MAX_CHOICES} more" if len(choices) > _MAX_CHOICES else ""
    return one_line(f"choose one: {', '.join(choices[:_MAX_CHOICES])}{more}") if choices else ""


def _path(blobs: Blobs, descriptor: Mapping[str, Any]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ArchiveError(f"{blobs.name}: {digest!r:.100} is not a valid SHA-256 or SHA-512 digest", hint=DAMAGED)
    return f"blobs/{digest.replace(':', '/')}"


def _blob(blobs: Blobs, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that a descriptor refers to, verified."""
    path = _path(blobs, descriptor)
    found: dict[str, Any] = _json(blobs, path, _checked(blobs, path, descriptor["digest"], descriptor.get("size")))
    return found


def _checked(blobs: Blobs, path: str, digest: str, size: int | None) -> bytes:
    data = blobs.read(path)
    if size is not None and len(data) != size:
        raise ArchiveError(f"{blobs.name}: {path} has {len(data)} bytes, expected {size!s:.40}")
    verify(f"{blobs.name}: {path}", digest, hashlib.new(digest.partition(":")[0], data).hexdigest())
    return data


def verify(what: str, expected: str, hexdigest: str, hint: str = DAMAGED) -> None:
    """Raise ArchiveError if `what` does not have the expected digest."""
    algorithm = expected.partition(":")[0]
    if expected != f"{algorithm}:{hexdigest}":
        raise ArchiveError(f"{what} is damaged: its digest is {algorithm}:{hexdigest}, expected {expected}", hint=hint)


def _relative(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")


def _config_digest(blobs: Blobs, image: Mapping[str, Any]) -> str:
    """Return the digest of a config in a docker archive: most writers put it into the file's name, Jib does not."""
    path = str(image["Config"])
    match = re.search(r"(?:^|[/:])([0-9a-f]{64})(?:\.json)?$", path)
    return f"sha256:{match[1] if match else hashlib.sha256(blobs.read(_relative(path))).hexdigest()}"


_WORDS: dict[Callable[..., Any], str] = {dict: "an object", list: "a list"}
_ITEMS: dict[type, str] = {dict: "objects", str: "strings"}


def _json(blobs: Blobs, path: str, data: bytes, kind: Callable[..., Any] = dict) -> Any:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{blobs.name}: {path} is not valid JSON: {error}", hint=DAMAGED) from error
    if type(found) is not kind:
        raise ArchiveError(f"{blobs.name}: {path} is invalid: expected {_WORDS[kind]}, got {data[:60]!r}", hint=DAMAGED)
    return found


def _mapping(blobs: Blobs, data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise ArchiveError(f"{blobs.name}: invalid {key}: expected an object, got {value!r:.60}", hint=DAMAGED)
    return value


def _list(blobs: Blobs, data: Mapping[str, Any], key: str, kind: type = dict) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
        raise ArchiveError(
            f"{blobs.name}: invalid {key}: expected a list of {_ITEMS[kind]}, got {value!r:.60}", hint=DAMAGED
        )
    return value
