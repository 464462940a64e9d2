"""The templates of a storage."""

from lxcast.errors import UsageError
from lxcast.model import ProxmoxRef, parse_storage
from lxcast.storages.directory import DirectoryStorage, Entry


def list_templates(storage: str) -> list[Entry]:
    """Return the templates of a storage, with and without records, by name, version and file.

    Raises UsageError for a text that names no storage which can be listed, and StorageError where it is not there.
    """
    ref = parse_storage(storage)
    if isinstance(ref, ProxmoxRef):
        raise UsageError(
            f"{ref}: only a folder can be listed",
            hint=f"on the node itself: lxcast list --storage /mnt/pve/{ref.storage}",
        )
    return DirectoryStorage(ref).entries()
