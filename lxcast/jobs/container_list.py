"""The containers that `lxcast create` made from this machine."""

from dataclasses import dataclass

from lxcast.containers.ledger import ContainerRecord, all_records
from lxcast.errors import LxcastError
from lxcast.identifiers import split_volid, stem_of
from lxcast.jobs.containers import open_recorded
from lxcast.model import Version
from lxcast.naming import parts_of
from lxcast.progress import Progress
from lxcast.settings import Settings, StorageOptions, select
from lxcast.storages.open import open_storage


@dataclass(frozen=True, slots=True)
class Listed:
    """A container of the ledger."""

    record: ContainerRecord
    state: str
    """running, stopped, gone, or unknown."""
    newest: str
    """The newest version of its template in the storage, "" if it is the one in use or unknown."""


def list_containers(settings: Settings, progress: Progress) -> list[Listed]:
    """Return the containers with their states; what cannot be asked is "unknown", with a warning."""
    newest = _newest_versions(settings, progress)
    found = []
    for record in all_records():
        try:
            with open_recorded(record, settings, progress) as backend:
                if backend.get(record) is None:
                    state = "gone"
                else:
                    state = "running" if backend.inspect(record).running else "stopped"
        except LxcastError as error:
            progress.warn(f"{record.name}: {error.message}")
            state = "unknown"
        name, version = parts_of(stem_of(split_volid(record.template_id)[1]))
        latest = newest.get(name)
        is_old = bool(latest and version and Version.parse(version) < latest)
        found.append(Listed(record, state, str(latest) if is_old else ""))
    return found


def _newest_versions(settings: Settings, progress: Progress) -> dict[str, Version]:
    """Return the newest version of each template in the storage, none if the storage cannot be read."""
    newest: dict[str, Version] = {}
    try:
        templates = open_storage(select(StorageOptions, settings)).templates().templates
    except LxcastError as error:
        progress.debug(f"newest versions are unknown: {error.message}")
        return newest
    for each in templates:
        if each.version:
            version = Version.parse(each.version)
            newest[each.name] = max(version, newest.get(each.name, version))
    return newest
