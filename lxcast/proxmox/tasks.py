"""The tasks of a Proxmox cluster: one that is awaited, and those that write templates, which are watched."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from lxcast.errors import ApiError
from lxcast.identifiers import NODE
from lxcast.model import conceal
from lxcast.proxmox.client import NODE_DOWN, Client, may_pass

Say = Callable[[str], None]
Answer = TypeVar("Answer")

PATIENCE = 120.0
"""Seconds for which a server that does not answer is asked again about a task that it has begun."""

_KINDS = ("imgcopy", "download")
"""The tasks that write a template: an upload's, and that of download-url (pve-storage, API2/Storage/Status.pm)."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a node lists it."""

    upid: str
    kind: str
    id: str
    """Of what it is about: a container's number, a file's name, or ""."""
    node: str
    owner: str
    """USER@REALM, and !TOKEN where it was one."""
    began: int
    """Seconds since 1970."""
    ended: bool
    status: str
    """How it ended."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A task that wrote a template, or may have: what does not tell its file in time may be writing any."""

    upid: str
    kind: str
    owner: str
    """USER@REALM, and !TOKEN where it was one."""
    file: str
    """"" where it does not tell."""
    node: str
    """That it wrote to; "" where it does not tell."""


class Watch:
    """What else wrote templates on any node of a cluster since this watch began. Many threads may share it."""

    def __init__(self, client: Client, nodes: Collection[str]) -> None:
        self.unseen: set[str] = set()
        """The nodes that did not answer."""
        self._nodes = sorted(nodes)
        self._own: set[str] = set()
        self._before = {task.upid for task in self._tasks(client) if task.ended}

    def leave_out(self, upid: str) -> None:
        """Take a task for this program's own; it has one for each target."""
        self._own.add(upid)

    def of(self, client: Client, file: str) -> list[Writing]:
        """Return the tasks since then, but the own, that wrote a file of this name, or may have. Raises ApiError."""
        new = (task for task in self._tasks(client) if task.upid not in self._before | self._own)
        found = [each for each in (_writing(client, task) for task in new) if each]
        return [each for each in found if each.file in ("", file)]

    def _tasks(self, client: Client) -> Iterator[Task]:
        for node in (each for each in self._nodes if each not in self.unseen):
            try:
                for kind in _KINDS:
                    yield from list_tasks(client, node, kind, limit=500)
            except ApiError as error:
                if error.status < NODE_DOWN:
                    raise
                self.unseen.add(node)


def wait(client: Client, upid: str, say: Say | None = None) -> tuple[str, list[str]]:
    """Wait for a task's end; return its exit status ("OK", "WARNINGS: n", or why it failed) and its log.

    The log tells nothing secret of a URL; `say` gets its lines as they come.
    """
    began, told = time.monotonic(), 0
    while (found := ended(client, upid, PATIENCE)) is None:
        if say:
            log = task_log(client, upid, PATIENCE)
            for line in log[told:]:
                say(line)
            told = len(log)
        time.sleep(pause(began, 0.03))
    if say:
        for line in found[1][told:]:
            say(line)
    return found


def ended(client: Client, upid: str, patience: float = 0.0) -> tuple[str, list[str]] | None:
    """Return what `wait` does of a task that has ended; None of one that runs. Raises ApiError."""
    status = _status(client, upid, patience)
    return None if status is None else (status, task_log(client, upid, patience))


class Patience:
    """Asks again and again, and takes no answer for "not yet" until the last answer is PATIENCE seconds ago."""

    def __init__(self) -> None:
        self._heard = time.monotonic()

    def ask(self, question: Callable[[], Answer | None]) -> Answer | None:
        """Return the answer, None where none came. Raises ApiError."""
        try:
            answer = question()
        except ApiError as error:
            if not may_pass(error) or time.monotonic() - self._heard > PATIENCE:
                raise
            return None
        self._heard = time.monotonic()
        return answer


def pause(began: float, least: float) -> float:
    """Return the seconds until tasks that began then are asked again: a twentieth of their time, 2 at most."""
    return min(least + (time.monotonic() - began) / 20, 2.0)


def last(log: Sequence[str], status: str) -> str:
    """Return the end of a failed task's log, after its status where no line has that."""
    lines = [line for line in log if line and line != "TASK OK"][-3:]
    return "; ".join(lines if any(status in line for line in lines) else [status, *lines])


def list_tasks(client: Client, node: str, kind: str, *, limit: int, patience: float = 10.0) -> Iterator[Task]:
    """Yield a node's tasks of a kind, those that run too. Raises ApiError."""
    told = client.get(f"/nodes/{node}/tasks", typefilter=kind, source="all", limit=limit, patience=patience)
    for each in told.list():
        token = each["tokenid"].text("")
        yield Task(
            upid=each["upid"].text(),
            kind=each["type"].text(),
            id=each["id"].text(""),
            node=node,
            owner=each["user"].text("") + (f"!{token}" if token else ""),
            began=each["starttime"].number(0),
            ended=each["endtime"].number(0) > 0,
            status=each["status"].text(""),
        )


def _writing(client: Client, task: Task) -> Writing | None:
    """Return what a task writes, as soon as it tells; None where it only compared what was there, or failed to."""
    upid, kind, owner = task.upid, task.kind, task.owner
    end = time.monotonic() + PATIENCE
    while True:
        status = _status(client, upid, 10.0)
        log = task_log(client, upid)
        if kind == "download":
            # A download never replaces a file, and ends by renaming its own; the task's id is the file's name.
            failed = status is not None and not status.startswith(("OK", "WARNINGS"))
            harmless = failed or any("existing file" in line for line in log)
            if harmless or status or len(log) > 1 or time.monotonic() > end:
                return None if harmless else Writing(upid, kind, owner, task.id, task.node)
        else:
            target, node = _said(log, "target file: "), _said(log, "target node: ")
            if target or status or time.monotonic() > end:
                # What ended and never came to its file wrote none.
                none = status is not None and not target
                return None if none else Writing(upid, kind, owner, target.rpartition("/")[2], node)
        time.sleep(0.5)


def _said(log: Iterable[str], key: str) -> str:
    return next((line.removeprefix(key) for line in log if line.startswith(key)), "")


def _status(client: Client, upid: str, patience: float) -> str | None:
    said = client.get(f"{_path(upid)}/status", patience=patience)
    if said["status"].text() == "running":
        return None
    status = conceal(said["exitstatus"].text(""))
    # What pve-common (PVE/UPID.pm) says of a log without a last line: its worker was killed.
    return "it ended without telling how" if status in ("", "unexpected status") else status


def task_log(client: Client, upid: str, patience: float = 10.0) -> list[str]:
    """Return the lines of a task's log, which tell nothing secret of a URL. Raises ApiError."""
    lines = client.get(f"{_path(upid)}/log", patience=patience, limit=0)
    return [conceal(each["t"].text("")) for each in lines.list()]


def _path(upid: str) -> str:
    found = re.match(rf"UPID:(?P<node>{NODE}):([^:]*:){{6}}", upid, re.ASCII)
    if found is None:
        raise ApiError(f"Proxmox named no task: {upid!r}", hint="is another program at that address?")
    return f"/nodes/{found['node']}/tasks/{quote(upid, safe='')}"
