"""Which containers were created from a template: only the logs of Proxmox's tasks tell.

A container no longer needs its template once it is created, so the result is for people, and for a prune that keeps
templates in use.
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
"""The tasks that create a container, restore another one over it, and destroy it (pve-container, API2/LXC.pm)."""

_TASKS = 100_000
"""More tasks than a node keeps; a limit of 0 would return none (pve-manager, API2/Tasks.pm)."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """A container that was created from a template, and the node that created it."""

    vmid: int
    node: str
    made: bool = True
    """False while it is being created."""

    def __str__(self) -> str:
        return f"{self.vmid} on {self.node} {'was' if self.made else 'is being'} created from it"


@dataclass(frozen=True, slots=True)
class Made:
    """A container, and the path of the archive that it was created from on its node."""

    use: Use
    archive: PurePosixPath


Uses = Mapping[str, Sequence[Use]]
"""Containers by the file name of their template. A file without an entry may still be in use: logs expire."""


def find_made(client: Client, warn: Callable[[str], None]) -> list[Made]:
    """Return the containers that the cluster's task logs show as created from an archive and not destroyed since.

    To see the tasks of other users the token needs Sys.Audit on the nodes. `warn` gets a line for each node or log
    that cannot be read. Raises ApiError.
    """
    found = []
    for task in _makers(client, warn):
        try:
            archive = _archive(task_log(client, task.upid))
        except ApiError as error:  # a log goes before the list of tasks does
            warn(f"the template of container {task.id} is unknown: {error.message}")
            continue
        if archive:
            found.append(Made(Use(int(task.id), task.node, task.ended), archive))
    return found


def is_shared(client: Client, ref: ProxmoxRef) -> bool:
    """Return whether all nodes share the storage's files. Raises ApiError."""
    found = client.get(f"/nodes/{ref.node}/storage", storage=ref.storage, patience=2).list()
    return any(each["shared"].number(0) for each in found)


def uses_in(client: Client, ref: ProxmoxRef, made: Sequence[Made], *, shared: bool) -> Uses:
    """Return the containers created from templates of a storage; if it is not shared, only those of its node."""
    configured = [each for each in client.get("/storage").list() if each["storage"].text() == ref.storage]
    directory = PurePosixPath(next((each["path"].text("") for each in configured), "") or "/")
    found = defaultdict(list)
    for each in made:
        if directory in each.archive.parents and (shared or each.use.node == ref.node):
            found[each.archive.name].append(each.use)
    return {file: sorted(uses) for file, uses in found.items()}


def _makers(client: Client, warn: Callable[[str], None]) -> Iterator[Task]:
    """Yield the task that created each container, unless a later task is known for it."""
    last: dict[str, Task] = {}
    for node, status in node_states(client).items():
        try:
            if status == OFFLINE:
                raise ApiError("the node is offline")
            tasks = list(_tasks(client, node))
        except ApiError as error:
            warn(f"the templates of containers on node {node} are unknown: {error.message}")
            continue
        for task in tasks:
            if task.id not in last or task.began >= last[task.id].began:
                last[task.id] = task
    yield from (task for task in last.values() if task.kind == "vzcreate" and re.fullmatch("[0-9]{1,9}", task.id))


def _tasks(client: Client, node: str) -> Iterator[Task]:
    """Yield a node's tasks that created or destroyed a container, and those that are creating one."""
    for kind in _KINDS:
        for task in list_tasks(client, node, kind, limit=_TASKS, patience=1):
            if re.match("OK|WARNINGS", task.status) if task.ended else kind == "vzcreate":
                yield task


def _archive(log: Sequence[str]) -> PurePosixPath | None:
    """Return the archive that a container was created from, read from its log (pve-container, LXC/Create.pm)."""
    found = (re.fullmatch(r"extracting archive '(.+)'", line) for line in log)
    return next((PurePosixPath(match[1]) for match in found if match), None)
