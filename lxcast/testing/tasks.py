"""Tasks: what a call starts and does not wait for, with the UPID, the log and the exit status that Proxmox gives."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .access import Token
from .faults import Faults, TaskFault

# pve-common, UPID.pm decode
UPID = re.compile(
    r"UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8})"
    r":([^:\s/]+):([^:\s/]*):([^:\s/]+):"
)
FIRST_PID = 4096


class TaskError(Exception):
    """The work failed: its text ends the log as TASK ERROR."""


@dataclass
class Task:
    """A task that runs or ran; times in seconds since 1970, an empty exitstatus while it runs."""

    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    fault: TaskFault
    log: list[str] = field(default_factory=list)
    exitstatus: str = ""
    endtime: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def upid(self) -> str:
        """Its name in the cluster."""
        stamps = f"{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}"
        return f"UPID:{self.node}:{stamps}:{self.type}:{self.id}:{self.user}:"

    def owner(self) -> dict[str, str]:
        """Give user and token apart, as listings do."""
        user, _, token = self.user.partition("!")
        return {"user": user, "tokenid": token} if token else {"user": user}

    def belongs_to(self, token: Token) -> bool:
        """Whether a token sees it without Sys.Audit: a token sees only its own tasks (Tasks.pm check_task_user)."""
        return token.id == self.user

    def describe(self) -> dict[str, Any]:
        """Give the fields that the list and the status share."""
        told = {name: getattr(self, name) for name in ("upid", "node", "pid", "pstart", "starttime", "type", "id")}
        return told | self.owner()

    def run(self, work: Callable[["Task"], None], failed: Callable[[], None] | None = None) -> None:
        """Do the work, write the last line, and set the exit status; `failed` cleans up as the worker does."""
        if self.fault.seconds:
            time.sleep(self.fault.seconds)
        try:
            if self.fault.error:
                raise TaskError(self.fault.error)
            work(self)
        except (TaskError, OSError) as error:
            if failed:
                failed()
            self.log.append(f"TASK ERROR: {error}")
            status = str(error)
        else:
            warnings = self.fault.warnings
            self.log += [f"WARN: warning {number}" for number in range(1, warnings + 1)]
            self.log.append(f"TASK WARNINGS: {warnings}" if warnings else "TASK OK")
            status = f"WARNINGS: {warnings}" if warnings else "OK"
        if self.fault.killed:
            self.log.pop()
            status = "unexpected status"
        self.endtime = int(time.time())
        self.exitstatus = status
        self.done.set()


class Tasks:
    """All tasks of the cluster, in the order of their start."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.all: list[Task] = []
        self.lock = threading.Lock()
        self.began = time.monotonic()

    def start(
        self,
        node: str,
        kind: str,
        id: str,
        user: str,
        work: Callable[[Task], None],
        failed: Callable[[], None] | None = None,
    ) -> Task:
        """Start the work in the background, and give the task."""
        with self.lock:
            pid = FIRST_PID + len(self.all)
            pstart = int((time.monotonic() - self.began) * 100)
            fault = self.faults.tasks.get(kind, TaskFault())
            task = Task(node, pid, pstart, int(time.time()), kind, id, user, fault)
            self.all.append(task)
        threading.Thread(target=task.run, args=(work, failed), name=task.upid, daemon=True).start()
        return task

    def find(self, upid: str) -> Task | None:
        """Give the task of that UPID."""
        return next((task for task in self.all if task.upid == upid), None)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until no task runs; raises TimeoutError."""
        end = time.monotonic() + seconds
        for task in [*self.all]:
            if not task.done.wait(max(end - time.monotonic(), 0)):
                raise TimeoutError(f"after {seconds:g} s this task still runs: {task.upid}")

    def listed(self, node: str, source: str) -> Iterable[Task]:
        """Give a node's tasks, the newest first: those that run (active), that ended (archive), or all."""
        chosen = [task for task in reversed(self.all) if task.node == node]
        if source == "all":
            return sorted(chosen, key=lambda task: task.done.is_set())
        return [task for task in chosen if task.done.is_set() == (source == "archive")]
