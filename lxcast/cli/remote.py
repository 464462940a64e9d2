"""The storage of the commands that need a remote one: publish, doctor."""

from dataclasses import replace

from lxcast.settings import Settings, StorageOptions, select


def remote_storage(settings: Settings) -> StorageOptions:
    """Return the options of the storage; `proxmox:` takes the place of a directory that no option names."""
    from lxcast.storages.open import is_remote

    options = select(StorageOptions, settings)
    if "storage" in settings.given or is_remote(options.storage):
        return options
    return replace(options, storage="proxmox:")
