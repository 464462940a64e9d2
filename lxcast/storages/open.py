"""The storage that a user names: the only module that knows the kinds of storages."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lxcast.model import DirectoryRef, parse_storage
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.storage import Storage

if TYPE_CHECKING:
    from lxcast.settings import StorageOptions


def _open_proxmox(options: "StorageOptions") -> Storage:
    from lxcast.storages.proxmox import open_proxmox  # 60 ms: requests and ssl

    return open_proxmox(options)


SCHEMES: "dict[str, Callable[[StorageOptions], Storage]]" = {"proxmox": _open_proxmox}
"""Prefix of a storage's name, before a colon -> what opens it. Any other name is a directory."""


def open_storage(
    options: "StorageOptions", *, output: Path | None = None, warn: Callable[[str], None] | None = None
) -> Storage:
    """Return the storage with this name (PATH, ID=PATH or SCHEME:...), or the plain directory `output`.

    Nothing is asked or created yet. `warn` gets the options that the storage does not use. Raises UsageError.
    """
    if output is None and is_remote(options.storage):
        return SCHEMES[options.storage.partition(":")[0]](options)
    if warn:
        from lxcast.settings import BY_NAME, in_groups  # the data source does without

        unused = [BY_NAME[name].option for name in in_groups("nodes", "delivery") if getattr(options, name)]
        if unused:
            warn(f"{', '.join(unused)}: ignored, because {output or options.storage} is a directory")
    return open_directory(options.storage) if output is None else DirectoryStorage(output)


def open_directory(text: str) -> Storage:
    """Return the storage that PATH or ID=PATH names. Raises UsageError."""
    ref = parse_storage(text)
    assert isinstance(ref, DirectoryRef)
    return DirectoryStorage(ref.path, ref.id)


def is_remote(text: str) -> bool:
    """Return whether a name is that of a storage that is not on this machine."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme in SCHEMES


def spelled_id(text: str) -> str:
    """Return the ID of ID=PATH; "" for any other name."""
    id, equals, _ = text.partition("=")
    return id if equals and "/" not in id and not is_remote(text) else ""
