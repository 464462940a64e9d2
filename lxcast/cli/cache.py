"""The commands `cache list` and `cache prune`."""

from typing import Annotated

from lxcast.cli.command import Json, Option, command, group
from lxcast.cli.console import Console, columns
from lxcast.errors import StorageError, UsageError
from lxcast.model import rfc3339
from lxcast.progress import amount
from lxcast.settings import Settings, StorageOptions, in_groups, select

_HEX = 12
"""Digits of a digest that a table shows, as many as Docker does."""

group("cache", "Show and clear the build cache.", example="lxcast cache list")


@command("cache list", *in_groups("storage", "access"), example="lxcast cache list --storage /var/lib/vz")
def list_(console: Console, settings: Settings, json: Json = False) -> None:
    """List what a build can reuse.

    These are the templates of the storage whose records have the digests of source and rules, and the downloads in the
    user's cache directory. Removing a template from the storage removes it from the list.
    """
    from lxcast.sources.download_cache import list_downloads
    from lxcast.storages.open import open_storage

    options = select(StorageOptions, settings)
    records = []
    try:
        found = (each.record for each in open_storage(options).templates().templates)
        records = [each for each in found if each and each.source.digest and each.rules]
    except StorageError as error:
        console.progress.warn(error.message)
    downloads = list_downloads()
    if json:
        told = [
            {"template_id": each.template_id, "source": each.source.digest, "rules": each.rules} for each in records
        ]
        files = [{"file": str(each.path), "size": each.size, "used": rfc3339(int(each.used))} for each in downloads]
        console.document({"storage": options.storage, "templates": told, "downloads": files})
        return
    if records:
        rows = [("TEMPLATE", "SOURCE", "RULES", "KIND")]
        rows += [
            (each.template_id, _short(each.source.digest), _short(each.rules), each.source.kind) for each in records
        ]
        console.out(columns(rows))
    if downloads:
        rows = [("DOWNLOAD", "SIZE", "USED", "FILE")]
        rows += [(each.sha256[:_HEX], amount(each.size), rfc3339(int(each.used)), str(each.path)) for each in downloads]
        console.out(columns(rows))


@command("cache prune", example="lxcast cache prune --days 0")
def prune(
    console: Console,
    days: Annotated[
        int, Option("--days", metavar="N", help="Remove downloads that no build used for N days; 0: all.")
    ] = 30,
    json: Json = False,
) -> None:
    """Remove old downloads and print their files.

    Templates are not removed: use `lxcast prune`.
    """
    from lxcast.sources import download_cache

    if days < 0:
        raise UsageError(f"--days {days}: expected a whole number from 0")
    removed = download_cache.prune(days)
    if json:
        console.document({"removed": [{"file": str(each.path), "size": each.size} for each in removed]})
    elif removed:
        console.out("\n".join(str(each.path) for each in removed))
    size = sum(each.size for each in removed)
    console.progress.say(f"{len(removed)} downloads removed, {amount(size)}")


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_HEX]
