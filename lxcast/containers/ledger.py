"""The ledger of containers: one JSON file for each container that lxcast created from this machine.

A file is written before the container exists, so that a run that was killed leaves a trace: `state` is then "creating".
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lxcast import durable
from lxcast.errors import StorageError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One container; the keys of the file are the fields."""

    schema: int = SCHEMA
    name: str
    backend: str
    location: str
    node: str = ""
    id: str = ""
    """"" until an id was chosen."""
    marker: str
    """A random string that the container's notes hold too."""
    template_id: str
    sha256: str = ""
    """The template's; "" if it has no record."""
    state: str = "creating"
    """creating, created, or verified."""
    created: str
    """RFC 3339 in UTC."""
    lxcast: str
    addresses: list[str] = field(default_factory=list)
    spec: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Print it as the file holds it."""
        return json.dumps(asdict(self), indent=2) + "\n"


class ContainerLedger:
    """The container records of one location, in a directory on this machine."""

    def __init__(self, location: str) -> None:
        self.directory = _root() / quote(location, safe="[].")

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other runs from creating or destroying a container of this name; wait for one that does."""
        durable.make_directory(self.directory)
        path = self.directory / f".{name}.lock"
        with durable.explained(path):
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
                if path.exists() and os.fstat(fd).st_ino == path.stat().st_ino:
                    break
                os.close(fd)  # the run that held it removed the file
        try:
            yield
        finally:
            if not self._path(name).exists():
                path.unlink(missing_ok=True)
            os.close(fd)

    def read(self, name: str) -> ContainerRecord | None:
        """Return the record of a container, None if there is none. Raises StorageError."""
        path = self._path(name)
        with durable.explained(path):
            if not path.exists():
                return None
            text = path.read_text(encoding="utf-8")
        return _parse(text, path)

    def records(self) -> list[ContainerRecord]:
        """Return all records by name. Raises StorageError."""
        with durable.explained(self.directory):
            paths = sorted(self.directory.glob("*.json")) if self.directory.is_dir() else []
            return [_parse(path.read_text(encoding="utf-8"), path) for path in paths]

    def write(self, record: ContainerRecord) -> None:
        """Write a record, which replaces the one of the same name. Raises StorageError."""
        durable.make_directory(self.directory)
        with durable.Temporary(self.directory) as temporary:
            temporary.write(record.to_json().encode())
            temporary.sync()
            durable.replace(temporary.path, self._path(record.name))

    def remove(self, name: str) -> None:
        """Remove a record. Raises StorageError."""
        with durable.explained(self.directory):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"


def all_records() -> list[ContainerRecord]:
    """Return the records of all locations. Raises StorageError."""
    root = _root()
    with durable.explained(root):
        directories = sorted(root.iterdir()) if root.is_dir() else []
    return [record for each in directories for record in ContainerLedger(unquote(each.name)).records()]


def _root() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.local/state"
    return Path(state, "lxcast", "containers")


def _parse(text: str, path: Path) -> ContainerRecord:
    hint = "remove the file if the container is gone"
    try:
        data = json.loads(text)
        names = {each.name for each in fields(ContainerRecord)}
        record = ContainerRecord(**{key: value for key, value in data.items() if key in names})
    except (ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is not a valid container record: {error}", hint=hint) from error
    if record.schema > SCHEMA:
        raise StorageError(f"{path} has schema {record.schema}, expected at most {SCHEMA}", hint="update lxcast")
    wrong = [
        each.name for each in fields(record) if each.type is str and not isinstance(getattr(record, each.name), str)
    ]
    if wrong:
        raise StorageError(f"{path} is not a valid container record: {', '.join(wrong)} must be strings", hint=hint)
    return record
