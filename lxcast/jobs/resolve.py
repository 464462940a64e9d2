"""The template that a user names: a volid, a file name, NAME, NAME:vN, NAME/VARIANT:vN, or a path."""

import os
import re
from pathlib import Path

from lxcast.errors import StorageError, UsageError
from lxcast.identifiers import VERSION, split_volid, suffix_of
from lxcast.model import Version
from lxcast.settings import StorageOptions
from lxcast.sources import is_prefixed
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Storage, StoredTemplate

_NAME = re.compile(rf"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)(/(?P<variant>[A-Za-z0-9_.-]*))?(:(?P<version>{VERSION}))?")


def find_template(what: str, storage: Storage) -> StoredTemplate:
    """Return the template in a storage that a volid, a file name, NAME, NAME:vN or NAME/VARIANT:vN names.

    Without a version it is the newest. Raises UsageError for an invalid name, StorageError that lists the choices if
    there is none or if several variants are meant, and what listing the storage raises.
    """
    id, file = split_volid(what)
    if id and id != storage.id:
        raise StorageError(
            f"{what} is on the storage {id!r}, and {storage.location} is {storage.id or 'a plain directory'!r}",
            hint=f"name it: --storage {id}=PATH, or proxmox:NODE/{id}",
        )
    file = file or (what if suffix_of(what) else "")
    match = _NAME.fullmatch(what)
    if not file and match is None:
        raise UsageError(f"invalid template {what!r}", hint="use a volid, NAME, NAME:vN, NAME/VARIANT:vN or a path")
    listing = storage.templates()
    if not file and match:
        version = Version.parse(match["version"]) if match["version"] else None
        return listing.select(match["name"], version, match["variant"])
    found = listing.find(file)
    if found is None:
        names = ", ".join(sorted({each.file for each in listing.templates}))
        raise StorageError(
            f"{listing.location}: {file} not found", hint=f"available: {names}" if names else "the storage is empty"
        )
    return found


def find_file(what: str, options: StorageOptions) -> Path:
    """Return the file on this machine of the template that a path, or a name as in `find_template`, names.

    Raises StorageError if the storage is remote and this machine has no copy, and what `find_template` raises.
    """
    path = os.path.expanduser(what)  # noqa: PTH111 - pathlib raises if a home directory is unknown
    if what and (os.path.lexists(path) or what.startswith((".", "~", "/"))):
        return Path(path)
    storage = open_storage(options)
    found = find_template(what, storage)
    if found.path is None:
        raise StorageError(
            f"{found.template_id} is in {storage.location}, and this machine has no copy of the file",
            hint="Proxmox VE offers no download of templates: name the file that it was published from",
        )
    return found.path


def resolve_source(what: str, options: StorageOptions) -> str:
    """Return a source as `open_source` reads it, with a template of the storage replaced by the path of its file.

    Paths, prefixed sources, URLs and "-" stay as they are. So does a name that the storage does not have: it may be a
    container or an image. Raises StorageError for an ambiguous name, and for a volid that is not found.
    """
    is_volid = bool(split_volid(what)[1])
    if not is_volid and (is_prefixed(what) or what in ("", "-") or os.path.lexists(os.path.expanduser(what))):  # noqa: PTH111
        return what
    return str(find_file(what, options)) if is_volid or _is_stored(what, options) else what


def _is_stored(what: str, options: StorageOptions) -> bool:
    """Return whether the storage, if it exists, has a template with this name or file name."""
    match = _NAME.fullmatch(what)
    if match is None:
        return False
    try:
        listing = open_storage(options).templates()
    except (StorageError, UsageError):
        return False
    return any(what == each.file or match["name"] == each.name for each in listing.templates)
