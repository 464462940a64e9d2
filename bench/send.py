"""An upload to a Proxmox storage and no more: `python -m bench.send FILE NAME SHA256`, with PM_* in the environment."""

import os
import sys
from pathlib import Path

from lxcast.proxmox.client import Client, File, UploadBody, load_profile, stamp


def main(path: str, name: str, sha256: str) -> None:
    """Send a file as `lxcast publish` does, without a look before or after."""
    with Path(path).open("rb") as opened:
        file = File(Path(path), name, os.fstat(opened.fileno()).st_size, sha256, stamp(opened.fileno()))
    profile = load_profile()
    with Client(profile) as client:
        client.upload(f"/nodes/{profile.node}/storage/{profile.storage}/upload", UploadBody(file, lambda _: None))


if __name__ == "__main__":
    main(*sys.argv[1:])
