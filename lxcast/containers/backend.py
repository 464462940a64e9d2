"""What every backend does: plan, create, start, inspect and destroy containers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lxcast.containers.ledger import ContainerRecord
from lxcast.containers.spec import ContainerSpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Existing:
    """A container that exists under a name."""

    id: str
    node: str
    marker: str
    """The marker in its notes, "" if lxcast did not create it."""
    template_id: str
    """From its notes, "" if unknown."""
    locked: str = ""
    """The lock that a task or a killed one holds."""

    @property
    def location(self) -> str:
        """What messages call it."""
        return f"container {self.id} on {self.node}" if self.node else f"container {self.id}"


@dataclass(frozen=True, slots=True)
class State:
    """What can be seen of a container from outside."""

    running: bool
    settings: Mapping[str, str]
    addresses: Sequence[str] = ()
    uptime: int = 0
    """Seconds, as its host counts them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check before anything is created: `state` is ok, warning, error or unchecked."""

    subject: str
    state: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a create would do. Nothing was created yet."""

    steps: Sequence[str]
    """API calls or command lines, in order."""
    privileges: Sequence[tuple[str, str]] = ()
    """Path of the permissions tree, and privilege."""
    root_only: Sequence[tuple[str, str]] = ()
    """What an API token cannot set, and the command for root."""
    findings: Sequence[Finding] = ()

    @property
    def errors(self) -> list[Finding]:
        """The findings that forbid the create."""
        return [each for each in self.findings if each.state == "error"]


_ONLY_PROXMOX = ("nameserver", "searchdomain", "timezone", "tags", "pool", "notes", "startup", "protection", "ssh_keys")


def unsupported(spec: ContainerSpec, tool: str) -> Iterator[Finding]:
    """Yield a warning for each option that only Proxmox has."""
    for name in _ONLY_PROXMOX:
        if getattr(spec, name):
            yield Finding("options", "warning", f"{tool} has no option for {name}: it is ignored")


class Backend(Protocol):
    """Creates containers by one tool. Methods raise ApiError or ContainerError."""

    name: str
    """proxmox, pct, lxc, runc or crun."""
    location: str
    """The host, as the ledger's directory is named."""

    def find(self, name: str) -> list[Existing]:
        """Return the containers with this host name."""

    def get(self, record: ContainerRecord) -> Existing | None:
        """Return the container of a record, None if it is gone."""

    def plan(self, spec: ContainerSpec) -> Plan:
        """Return the steps and check everything that they need. Creates nothing."""

    def create(self, spec: ContainerSpec, record: ContainerRecord, save: Callable[[ContainerRecord], None]) -> str:
        """Create the container and return its id; `save` gets the record with the id before the container exists.

        After an error the container may exist: `destroy` removes it.
        """

    def start(self, record: ContainerRecord) -> None:
        """Start the container and wait until it has started."""

    def inspect(self, record: ContainerRecord) -> State:
        """Return the state of the container, its settings as the API or configuration file has them."""

    def differences(self, spec: ContainerSpec, state: State) -> list[str]:
        """Return every setting that differs from the plan."""

    def destroy(self, record: ContainerRecord) -> None:
        """Stop and remove the container of a record, if it still is that one, and confirm that it is gone."""
