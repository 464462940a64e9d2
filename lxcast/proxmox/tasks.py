"""The tasks of a Proxmox cluster: waiting for one, and watching all that write templates."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from lxcast.errors import ApiError
from lxcast.identifiers import NODE
from lxcast.model import conceal
from lxcast.proxmox.client import NODE_DOWN, Client, may_pass

Say = Callable[[str], None]
Result = TypeVar("Result")

PATIENCE = 120.0
"""Seconds for which a server that does not reply is asked again about a task that it started."""

_KINDS = ("imgcopy", "download")
"""The tasks that write a template: an upload's, and that of download-url (pve-storage, API2/Storage/Status.pm)."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a node lists it."""

    upid: str
    kind: str
    id: str
    """The object of the task: a container's id, a file's name, or ""."""
    node: str
    owner: str
    """USER@REALM, with !TOKEN if a token started it."""
    began: int
    """Seconds since 1970."""
    ended: bool
    status: str
    """The exit status, "" while it runs."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A task that wrote a template, or may have: one whose log does not name a file in time may be writing any file."""

    upid: str
    kind: str
    owner: str
    """USER@REALM, with !TOKEN if a token started it."""
    file: str
    """"" if unknown."""
    node: str
    """The node that it wrote to; "" if unknown."""


class Watch:
    """Tasks that write templates on any node of a cluster, from now on. Thread-safe."""

    def __init__(self, client: Client, nodes: Collection[str]) -> None:
        self.unseen: set[str] = set()
        """The nodes that did not reply."""
        self._nodes = sorted(nodes)
        self._own: set[str] = set()
        self._before = {task.upid for task in self._tasks(client) if task.ended}

    def leave_out(self, upid: str) -> None:
        """Ignore a task of this program, which has one for each target."""
        self._own.add(upid)

    def of(self, client: Client, file: str) -> list[Writing]:
        """Return the new tasks, except our own, that wrote a file of this name, or may have. Raises ApiError."""
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


def last_writer(client: Client, nodes: Iterable[str], file: str) -> Task | None:
    """Return the newest task that wrote a template of this name, a running one before all; None if unknown.

    Does not wait: a running upload that has not logged its target yet counts as a writer. Nodes that do not answer
    are skipped.
    """
    found: list[Task] = []
    for node in nodes:
        with suppress(ApiError):
            for kind in _KINDS:
                for task in list_tasks(client, node, kind, limit=100, patience=0):
                    if kind == "download":
                        target = task.id
                    else:
                        target = _value(task_log(client, task.upid, 0), "target file: ").rpartition("/")[2]
                    if target == file or not (target or task.ended):
                        found.append(task)
                        break
    return max(found, key=lambda each: (not each.ended, each.began), default=None)


def wait(client: Client, upid: str, say: Say | None = None) -> tuple[str, list[str]]:
    """Wait for a task; return its exit status ("OK", "WARNINGS: n", or the reason of the failure) and its log.

    Secrets in URLs are hidden in the log; `say` gets its lines as they arrive.
    """
    began, printed = time.monotonic(), 0
    while (found := ended(client, upid, PATIENCE)) is None:
        if say:
            log = task_log(client, upid, PATIENCE)
            for line in log[printed:]:
                say(line)
            printed = len(log)
        time.sleep(pause(began, 0.03))
    if say:
        for line in found[1][printed:]:
            say(line)
    return found


def ended(client: Client, upid: str, patience: float = 0.0) -> tuple[str, list[str]] | None:
    """Return the result of `wait` for a task that has ended, None while it runs. Raises ApiError."""
    status = _status(client, upid, patience)
    return None if status is None else (status, task_log(client, upid, patience))


class Patience:
    """Repeats a question; no reply counts as "not yet" until the last reply is PATIENCE seconds ago."""

    def __init__(self) -> None:
        self._heard = time.monotonic()

    def ask(self, question: Callable[[], Result | None]) -> Result | None:
        """Return the result, None if there was no reply. Raises ApiError."""
        try:
            result = question()
        except ApiError as error:
            if not may_pass(error) or time.monotonic() - self._heard > PATIENCE:
                raise
            return None
        self._heard = time.monotonic()
        return result


def pause(began: float, least: float) -> float:
    """Return the seconds to wait before tasks started at `began` are polled again: 1/20 of their age, at most 2."""
    return min(least + (time.monotonic() - began) / 20, 2.0)


def last(log: Sequence[str], status: str) -> str:
    """Return the last lines of a failed task's log, with its status first unless a line contains it."""
    lines = [line for line in log if line and line != "TASK OK"][-3:]
    return "; ".join(lines if any(status in line for line in lines) else [status, *lines])


def list_tasks(client: Client, node: str, kind: str, *, limit: int, patience: float = 10.0) -> Iterator[Task]:
    """Yield a node's tasks of a kind, including those that run. Raises ApiError."""
    tasks = client.get(f"/nodes/{node}/tasks", typefilter=kind, source="all", limit=limit, patience=patience)
    for each in tasks.list():
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
    """Return what a task writes, once its log says so; None if it wrote nothing: it only compared, or failed."""
    upid, kind, owner = task.upid, task.kind, task.owner
    end = time.monotonic() + PATIENCE
    while True:
        status = _status(client, upid, 10.0)
        log = task_log(client, upid)
        if kind == "download":
            # A download never replaces a file and renames its own at the end; the task's id is the file's name.
            failed = status is not None and not status.startswith(("OK", "WARNINGS"))
            harmless = failed or any("existing file" in line for line in log)
            if harmless or status or len(log) > 1 or time.monotonic() > end:
                return None if harmless else Writing(upid, kind, owner, task.id, task.node)
        else:
            target, node = _value(log, "target file: "), _value(log, "target node: ")
            if target or status or time.monotonic() > end:
                # A task that ended before it named its file wrote none.
                none = status is not None and not target
                return None if none else Writing(upid, kind, owner, target.rpartition("/")[2], node)
        time.sleep(0.5)


def _value(log: Iterable[str], key: str) -> str:
    return next((line.removeprefix(key) for line in log if line.startswith(key)), "")


def _status(client: Client, upid: str, patience: float) -> str | None:
    state = client.get(f"{_path(upid)}/status", patience=patience)
    if state["status"].text() == "running":
        return None
    status = conceal(state["exitstatus"].text(""))
    # pve-common (PVE/UPID.pm) reports this for a log without a last line: the worker was killed.
    return (
        "the task ended without a status; its worker was probably killed"
        if status in ("", "unexpected status")
        else status
    )


def task_log(client: Client, upid: str, patience: float = 10.0) -> list[str]:
    """Return the lines of a task's log, with secrets in URLs hidden. Raises ApiError."""
    lines = client.get(f"{_path(upid)}/log", patience=patience, limit=0)
    return [conceal(each["t"].text("")) for each in lines.list()]


def _path(upid: str) -> str:
    found = re.match(rf"UPID:(?P<node>{NODE}):([^:]*:){{6}}", upid, re.ASCII)
    if found is None:
        raise ApiError(
            f"unexpected reply: {upid!r} is not a task id", hint="check that this is the address of Proxmox VE"
        )
    return f"/nodes/{found['node']}/tasks/{quote(upid, safe='')}"
