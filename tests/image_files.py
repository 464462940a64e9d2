"""Images as a builder writes them, made of a few lines: layers as tars, in an OCI layout or as docker save has them."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

Line = tuple[str, str, Any]
"""A path; "dir", "file", "link" (hard), "symlink" or "dev"; the mode, the content, the target, or (major, minor)."""

_TYPES = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "link": tarfile.LNKTYPE,
    "symlink": tarfile.SYMTYPE,
    "dev": tarfile.CHRTYPE,
}


def layer(lines: Iterable[Line], pax: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, kind, value in lines:
            info = tarfile.TarInfo(path)
            info.type = _TYPES[kind]
            info.mode = value if kind == "dir" else 0o644
            info.pax_headers = dict(pax or {}) if kind == "file" else {}
            body = value if kind == "file" else b""
            info.size = len(body)
            if kind in ("link", "symlink"):
                info.linkname = value
            elif kind == "dev":
                info.devmajor, info.devminor = value
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def packed(tar: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(tar, 1)
    return zstandard.compress(tar) if kind == "zstd" else tar


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(layers: Sequence[bytes], architecture: str = "amd64", **more: Any) -> bytes:
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers]},
            **more,
        }
    ).encode()


class Layout:
    """An OCI layout in a folder, to which images are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        self.path(digest(data)).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def path(self, name: str) -> Path:
        return self.folder / "blobs" / name.replace(":", "/")

    def manifest(
        self, layers: Sequence[bytes], kind: str = "", media_type: str = "", config_data: bytes = b"", **more: Any
    ) -> dict[str, Any]:
        """Write an image; `kind` is how its layers are compressed."""
        suffix = f"+{kind}" if kind else ""
        media_type = media_type or f"application/vnd.oci.image.layer.v1.tar{suffix}"
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(config_data or config(layers, **more), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(packed(each, kind), media_type) for each in layers],
        }
        return self.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")

    def add(self, descriptor: dict[str, Any], name: str = "") -> None:
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        self.manifests.append({**descriptor, **annotations})
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.manifests}))


def layout(folder: Path, layers: Sequence[Iterable[Line]], kind: str = "gzip", name: str = "") -> Layout:
    """Write a layout with one image."""
    made = Layout(folder)
    made.add(made.manifest([layer(each) for each in layers], kind), name)
    return made


def docker_archive(path: Path, layers: Sequence[bytes], tags: Sequence[str] = ("small:latest",)) -> Path:
    """Write what docker save wrote before it wrote OCI layouts: a shared layer as a link, manifest.json last."""
    made = config(layers)
    name = digest(made).removeprefix("sha256:")
    with tarfile.open(path, "w") as tar:

        def put(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        paths: list[str] = []
        first: dict[bytes, str] = {}
        for number, data in sorted(enumerate(layers), reverse=True):
            folder = hashlib.sha256(b"%d" % number).hexdigest()
            paths.insert(0, f"{folder}/layer.tar")
            put(f"{folder}/VERSION", b"1.0")
            if data in first:
                link = tarfile.TarInfo(paths[0])
                link.type, link.linkname = tarfile.SYMTYPE, f"../{first[data]}"
                tar.addfile(link)
            else:
                first[data] = paths[0]
                put(paths[0], data)
        put(f"{name}.json", made)
        manifest = [{"Config": f"{name}.json", "RepoTags": list(tags), "Layers": paths}]
        put("manifest.json", json.dumps(manifest).encode())
    return path


def tarred(folder: Path, archive: Path, mode: str = "w") -> Path:
    """Put a layout's folder into an archive."""
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload] # the mode is a literal there
        for each in sorted(folder.iterdir(), reverse=True):
            tar.add(each, each.name)
    return archive
