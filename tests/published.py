"""A template and its record as a build leaves them in a storage, without the build."""

import os
from dataclasses import asdict
from pathlib import Path

from lxcast.record import Origin, Record
from lxcast.references import pin_file


def publish(storage: Path, name: str, number: int, content: bytes = b"template") -> Record:
    """Lay a template and its record into a storage's folder, as a build leaves them."""
    folder = storage / "template" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(
        name=name,
        version=f"v{number}",
        file=f"{name}-v{number}.tar.zst",
        template_id=f"local:vztmpl/{name}-v{number}.tar.zst",
        storage="local",
        size=len(content),
        unpacked_size=4096,
        members=12,
        sha256="a" * 64,
        diff_id="sha256:" + "b" * 64,
        format="zst",
        compressor="zstd 1.5.7 level 3",
        ostype="debian",
        release="12",
        arch="amd64",
        created="2026-11-21T10:33:00Z",
        lxcast="0.1.0",
        source=Origin("tar", "rootfs.tar"),
        cleanup={"tmp": {"members": 2, "bytes": 10}},
        checks={"no-init": "allowed: täglich <neu>"},
    )
    template = folder / record.file
    template.write_bytes(content)
    os.utime(template, (1_700_000_000, 1_700_000_000))
    (folder / f"{name}-v{number}.json").write_text(record.to_json())
    return record


def pin(file: Path, record: Record) -> None:
    """Write a template's pin into a pin file, as `lxcast pin write` does."""
    data = file.read_bytes() if file.exists() else b""
    file.write_bytes(pin_file.with_pin(data, file, record.name, pin_file.Pin.of(asdict(record))))
