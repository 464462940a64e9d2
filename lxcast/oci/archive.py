"""An OCI archive of one layer, in the shape that Proxmox VE takes from 9.1 on.

Proxmox unpacks a volume as an image only if its name ends in .tar and tar lists oci-layout, index.json and blobs/ by
just these names; it takes the first entry of index.json that is an image manifest, and layers of OCI's own media types
(PVE/LXC/Create.pm, archive_is_oci_format and restore_oci_archive). Anything else that looks like an image is unpacked
as a root filesystem. Keys and media types are the OCI image specification's (image-layout.md, manifest.md, config.md).

The layer's header, which tells its digest and size, comes before the layer: its place is kept free, and filled when the
layer is written.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxcast.errors import SourceError
from lxcast.model import ImageConfig
from lxcast.oci.layout import Blobs, list_layers, list_manifests

_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
_LAYERS = (_LAYER, _LAYER.replace("zstd", "gzip"), _LAYER.removesuffix("+zstd"))
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_BLOCK = 512
_FOLDERS = ("blobs", "blobs/sha256")

FRONT = (len(_FOLDERS) + 1) * _BLOCK
"""Bytes before the layer."""

_GO = {"armhf": ("arm", "v7"), "i386": ("386", ""), "arm64": ("arm64", "v8")}
"""Proxmox's name of an architecture -> Go's, and the variant, where they differ."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the archive: SHA-256 in hexadecimal digits, and bytes."""

    digest: str
    size: int

    def describe(self, kind: str) -> dict[str, Any]:
        """Return the descriptor that names it."""
        return {"mediaType": kind, "digest": f"sha256:{self.digest}", "size": self.size}


def front(layer: Blob) -> bytes:
    """Return what comes before the layer."""
    return b"".join((*(_header(f"{name}/", 0, tarfile.DIRTYPE) for name in _FOLDERS), _blob_header(layer)))


def rest(layer: Blob, config: bytes) -> bytes:
    """Return what comes behind the layer: padding, the config, the manifest and the index that lead to it."""
    configured = Blob(hashlib.sha256(config).hexdigest(), len(config))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": configured.describe(_CONFIG),
            "layers": [layer.describe(_LAYER)],
        }
    )
    described = Blob(hashlib.sha256(manifest).hexdigest(), len(manifest))
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described.describe(_MANIFEST)]})
    return b"".join(
        (
            bytes(-layer.size % _BLOCK),
            _blob_header(configured) + _padded(config),
            _blob_header(described) + _padded(manifest),
            _header("index.json", len(index)) + _padded(index),
            _header("oci-layout", len(_LAYOUT)) + _padded(_LAYOUT),
            bytes(2 * _BLOCK),
        )
    )


def image_config(said: ImageConfig, architecture: str, diff_id: str, *, init: bool) -> bytes:
    """Return the config of an image: `said`, with /sbin/init instead of the process if `init` is set.

    `architecture` is Proxmox's word. No times are in it: the same content gives the same bytes. Raises SourceError for
    values at which Proxmox's create fails: it puts them into the container's configuration, line by line.
    """
    config: Mapping[str, Any] = {
        "User": said.user,
        "Env": list(said.env),
        "Entrypoint": ["/sbin/init"] if init else list(said.entrypoint),
        "Cmd": [] if init else list(said.cmd),
        "Volumes": {each: {} for each in said.volumes},
        "WorkingDir": said.working_dir,
        "Labels": dict(sorted(said.labels.items())),
        "StopSignal": said.stop_signal,
    }
    _require_printable(config)
    name, variant = _GO.get(architecture, (architecture or "amd64", ""))
    return _json(
        {
            "architecture": name,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "config": {key: value for key, value in config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    )


def refused(blobs: Blobs) -> list[str]:
    """Say why Proxmox would not take an image: it reads only a part of what the specification allows.

    Raises ArchiveError where the image that it would take, the first one, is damaged.
    """
    named = [each for each in list_manifests(blobs) if each.get("mediaType") == _MANIFEST]
    if not named:
        return [f"index.json names nothing of the kind {_MANIFEST}, the only one that Proxmox reads"]
    problems = [f"holds {len(named)} images, and Proxmox takes the first one"] if len(named) > 1 else []
    for number, layer in enumerate(list_layers(blobs, named[0]), 1):
        kind = layer.get("mediaType")
        if kind not in _LAYERS:
            problems.append(f"layer {number} is of the kind {kind!r:.100}, which Proxmox does not read")
    return problems


def _require_printable(config: Mapping[str, Any]) -> None:
    values = [
        *((key, config[key]) for key in ("User", "WorkingDir", "StopSignal")),
        *(("Env", each) for each in config["Env"]),
        *(("Entrypoint or Cmd", each) for each in (*config["Entrypoint"], *config["Cmd"])),
        *(("Volumes", each) for each in config["Volumes"]),
    ]
    wrong = [f"{key} {value.partition('=')[0]!a:.60}" for key, value in values if _CONTROL.search(value)]
    if wrong:
        raise SourceError(
            f"the image's config holds control characters, which Proxmox refuses: {', '.join(wrong)}",
            hint="change them in the image, or build another format (--format zst)",
        )


_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _blob_header(blob: Blob) -> bytes:
    return _header(f"blobs/sha256/{blob.digest}", blob.size)


def _header(name: str, size: int, type: bytes = tarfile.REGTYPE) -> bytes:
    """Return one block: GNU's form holds sizes above 8 GiB in it, which a pax header would not."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size, type, 0o755 if type == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)
