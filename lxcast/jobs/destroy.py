"""Removes a container that lxcast created."""

from dataclasses import dataclass

from lxcast.containers.backend import Existing
from lxcast.containers.ledger import ContainerLedger, ContainerRecord, all_records
from lxcast.errors import ConflictError, StorageError
from lxcast.jobs.containers import open_recorded
from lxcast.progress import Progress
from lxcast.settings import Settings


@dataclass(frozen=True, slots=True)
class Removal:
    """The container of a record, None if it is gone already."""

    record: ContainerRecord
    existing: Existing | None
    done: bool


def destroy(name: str, settings: Settings, progress: Progress, *, backend: str = "", apply: bool = False) -> Removal:
    """Plan or carry out the removal of a container whose record and notes agree that lxcast created it.

    Raises StorageError without a record, ConflictError if another container has its id now, ApiError, ContainerError.
    """
    records = [each for each in all_records() if each.name == name and backend in ("", each.backend)]
    if not records:
        names = sorted({each.name for each in all_records()})
        raise StorageError(
            f"no record of a container {name!r} on this machine",
            hint=f"recorded: {', '.join(names)}"
            if names
            else "only containers that `lxcast create` made here are known",
        )
    if len(records) > 1:
        places = ", ".join(f"{each.backend} at {each.location}" for each in records)
        raise ConflictError(f"several containers are called {name}: {places}", hint="choose one by --backend")
    (record,) = records
    ledger = ContainerLedger(record.location)
    with open_recorded(record, settings, progress) as opened, ledger.locked(name):
        existing = opened.get(record)
        if existing is None and record.id and (others := [x for x in opened.find(name) if x.id == record.id]):
            raise ConflictError(
                f"{others[0].location} was not created by this record: its notes have another marker",
                hint="remove it by hand if it should go",
            )
        if apply:
            if existing:
                with progress.step(f"removing {existing.location}"):
                    opened.destroy(record)
            ledger.remove(name)
        return Removal(record, existing, apply)
