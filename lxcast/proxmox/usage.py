"""Which containers were made from a template: Proxmox keeps it nowhere but in the logs of the tasks that made them.

A container does not need its template any longer once it is made, so what is read here is for people, and for a
prune that keeps what is in use.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lxcast.errors import ApiError
from lxcast.model import ProxmoxRef
from lxcast.proxmox.client import Client
from lxcast.proxmox.nodes import OFFLINE, node_states
from lxcast.proxmox.tasks import Task, list_tasks, task_log

_KINDS = ("vzcreate", "vzrestore", "vzdestroy")
"""What makes a container of a template, replaces what it was made of, and ends it (pve-container, API2/LXC.pm)."""

_TASKS = 100_000
"""More than a node keeps of its tasks; a limit of 0 would give none (pve-manager, API2/Tasks.pm)."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """A container that was made from a template, and the node that made it."""

    vmid: int
    node: str
    made: bool = True
    """False while it is being made."""

    def __str__(self) -> str:
        return f"{self.vmid} on {self.node} {'was' if self.made else 'is being'} made from it"


@dataclass(frozen=True, slots=True)
class Made:
    """A container, and the archive that it was made from, as the node that made it calls it."""

    use: Use
    archive: PurePosixPath


Uses = Mapping[str, Sequence[Use]]
"""Containers by the file name of their template. A file that is not there is of unknown use: logs do not last."""


def find_made(client: Client, warn: Callable[[str], None]) -> list[Made]:
    """Return the containers of a cluster that its tasks' logs show to be made from an archive and not destroyed since.

    The token sees the tasks of others by Sys.Audit on the nodes. `warn` is told what does not answer. Raises ApiError.
    """
    found = []
    for task in _makers(client, warn):
        try:
            archive = _archive(task_log(client, task.upid))
        except ApiError as error:  # a log goes before the list of tasks does
            warn(f"what container {task.id} was made of is not known: {error.message}")
            continue
        if archive:
            found.append(Made(Use(int(task.id), task.node, task.ended), archive))
    return found


def is_shared(client: Client, ref: ProxmoxRef) -> bool:
    """Tell whether all nodes see the same files. Raises ApiError."""
    found = client.get(f"/nodes/{ref.node}/storage", storage=ref.storage, patience=2).list()
    return any(each["shared"].number(0) for each in found)


def uses_in(client: Client, ref: ProxmoxRef, made: Sequence[Made], *, shared: bool) -> Uses:
    """Return the containers that were made from templates of a storage; of one that is not shared, of its node's."""
    known = [each for each in client.get("/storage").list() if each["storage"].text() == ref.storage]
    folder = PurePosixPath(next((each["path"].text("") for each in known), "") or "/")
    found = defaultdict(list)
    for each in made:
        if folder in each.archive.parents and (shared or each.use.node == ref.node):
            found[each.archive.name].append(each.use)
    return {file: sorted(uses) for file, uses in found.items()}


def _makers(client: Client, warn: Callable[[str], None]) -> Iterator[Task]:
    """Yield of each container the task that made it, where that is the last that is known of it."""
    last: dict[str, Task] = {}
    for node, status in node_states(client).items():
        try:
            if status == OFFLINE:
                raise ApiError("it is offline")
            tasks = list(_tasks(client, node))
        except ApiError as error:
            warn(f"what the node {node} made containers of is not known: {error.message}")
            continue
        for task in tasks:
            if task.id not in last or task.began >= last[task.id].began:
                last[task.id] = task
    yield from (task for task in last.values() if task.kind == "vzcreate" and re.fullmatch("[0-9]{1,9}", task.id))


def _tasks(client: Client, node: str) -> Iterator[Task]:
    """Yield a node's tasks that made or ended a container, and those that are about to make one."""
    for kind in _KINDS:
        for task in list_tasks(client, node, kind, limit=_TASKS, patience=1):
            if re.match("OK|WARNINGS", task.status) if task.ended else kind == "vzcreate":
                yield task


def _archive(log: Sequence[str]) -> PurePosixPath | None:
    """Return the archive that a container was made of, as its log tells (pve-container, LXC/Create.pm)."""
    found = (re.fullmatch(r"extracting archive '(.+)'", line) for line in log)
    return next((PurePosixPath(match[1]) for match in found if match), None)
