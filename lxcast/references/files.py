"""Reading files that people keep in Git, within one limit of size.

The Terraform data source starts with this on every plan, so paths are strings and the imports few.
"""

import os
import stat

from lxcast.errors import PinError

FilePath = str | os.PathLike[str]

MAX_BYTES = 4 << 20
"""Limit for a configuration or a pin file: 1,000 pins with their previous values take 2 MB."""


def read_file(path: FilePath) -> bytes:
    """Return a regular file's bytes; PinError if it is something else or larger than MAX_BYTES, OSError as usual."""
    # A pipe without a writer would block open(2).
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise PinError(f"{path} is not a regular file", hint="name an HCL file or a pin file")
        with open(fd, "rb", closefd=False) as content:
            data = content.read(MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise PinError(
            f"{path} has {max(state.st_size, len(data))} bytes, expected at most {MAX_BYTES}",
            hint="keep pins in a file of their own",
        )
    return data
