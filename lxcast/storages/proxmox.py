"""A storage that the Proxmox VE API reaches: list, put, and the proof that what is there are our bytes.

Proxmox replaces an existing file of the same name without a word, and excludes no two uploads of one name
(pve-storage, PVE/API2/Storage/Status.pm: "we simply overwrite the destination file"). So a name that is there is never
uploaded to, and after an upload the tasks tell whether another one wrote the same name meanwhile.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lxcast.errors import ApiError, ConflictError, UnprovenError
from lxcast.http import Client, File, UploadBody
from lxcast.model import Volid
from lxcast.record import Record
from lxcast.storages.preflight import Preflight

Advance = Callable[[int], None]
Say = Callable[[str], None]

_PATIENCE = 120.0
"""Seconds for which a server that does not answer is asked again about a task that it has begun."""

_NOWHERE = "http://127.0.0.1:9/"
"""What a node is told to download to where nothing shall be downloaded: port 9 is "discard" and closed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A template as the storage lists it; `size` in bytes, `ctime` in seconds since 1970."""

    volid: str
    file: str
    size: int
    ctime: int


@dataclass(frozen=True, slots=True)
class Put:
    """What came of a put."""

    volid: str
    sent: bool
    """False where the same bytes were there."""
    verified: bool
    """Whether no other upload of the name can have gone unseen."""
    warnings: tuple[str, ...] = ()


class ProxmoxStorage:
    """One storage of one node, as `found` by a preflight without errors. One thread uses it."""

    def __init__(self, client: Client, found: Preflight) -> None:
        self._client, self._found = client, found
        self.ref = found.ref
        self._path = f"/nodes/{self.ref.node}/storage/{self.ref.storage}"

    def entries(self) -> list[Listed]:
        """Return the templates that the storage lists, by name. Raises ApiError."""
        return sorted(listing(self._client, self._path), key=lambda each: each.file)

    def put(self, file: File, known: Record | None, advance: Advance, say: Say) -> Put:
        """Publish a file under its name, which never changes its bytes.

        `known` is this machine's record of that name. Raises ConflictError where other bytes have the name,
        UnprovenError where it cannot be shown whose bytes have it, StorageError where the file changed, and ApiError.
        """
        volid = str(Volid.make(self.ref.storage, file.name))
        before = {task["upid"] for task in self._tasks() if task.get("endtime")}
        there = self._find(file.name)
        if there is not None:
            self._same(file, there, known)
            return Put(volid, False, True)
        warnings: tuple[str, ...] = ()
        own = ""
        try:
            own = str(self._client.upload(f"{self._path}/upload", UploadBody(file, advance)))
        except ApiError as error:
            if not error.lost:
                error.hint = error.hint or _failure_hint(error.message, None)
                raise
            own = self._look_up(file, before, error)
        if own:
            warnings = self._finished(own, file, say)
        self._expect(file)
        self._exclude_others(file, before, own)
        if not self._found.sees_tasks:
            warnings += (f"{volid}: the token does not see other users' uploads, so none can be excluded",)
        return Put(volid, True, self._found.sees_tasks, warnings)

    def _finished(self, upid: str, file: File, say: Say) -> tuple[str, ...]:
        """Wait for an upload's task; return its warnings."""
        status, log = wait(self._client, upid, say)
        if status == "OK":
            return ()
        if status.startswith("WARNINGS"):
            lines = [line for line in log if line.startswith(("WARN", "Warning"))]
            return tuple(f"{self.ref}: {line}" for line in lines or [status])
        half = self._find(file.name)
        left = f"; {half.volid} is there with {half.size} of {file.size} bytes" if half else ""
        raise ApiError(
            f"{self.ref}: the upload of {file.name} failed on the node: {_last(log, status)}{left}",
            hint=_failure_hint(" ".join(log), half),
        )

    def _expect(self, file: File) -> None:
        there = self._find(file.name)
        if there is None or there.size != file.size:
            have = f"has {there.size} bytes" if there else "is not listed"
            raise ApiError(
                f"{self.ref}: after the upload {file.name} {have}, {file.size} were sent",
                hint=_remove(there) if there else "publish it again; does another program clear that storage?",
            )

    def _exclude_others(self, file: File, before: set[str], own: str) -> None:
        others = [upid for upid, _ in self._uploads_of(file.name, before) if upid != own]
        if others:
            raise UnprovenError(
                f"{self.ref}: {file.name} was uploaded by another task at the same time: {', '.join(others)}; "
                "whose bytes are there is not known",
                hint="when that task has ended, run the same command again: the node then compares the checksum",
            )

    def _look_up(self, file: File, before: set[str], error: ApiError) -> str:
        """Find out what became of an upload whose connection broke; return the task, "" where the node confirms."""
        for pause in (0.5, 1.0, 2.0, 0.0):
            mine = [upid for upid, ours in self._uploads_of(file.name, before) if ours]
            if mine:
                return mine[0]
            time.sleep(pause)
        there = self._find(file.name)
        if there is None:
            raise ApiError(
                f"{error.message}; the upload of {file.name} broke off and left nothing in {self.ref}",
                hint="publish it again; a node that refuses a token closes the connection, too: `lxcast doctor` looks",
                lost=True,
            ) from error
        if there.size != file.size:
            raise ApiError(
                f"{error.message}; {there.volid} is there with {there.size} of {file.size} bytes", hint=_remove(there)
            ) from error
        if self._found.confirms and self._confirmed(file) is None:
            return ""
        raise UnprovenError(
            f"{error.message}; {there.volid} is there with {there.size} bytes, but not known to be ours",
            hint="run the same command again with a token whose role lets the node compare checksums",
        ) from error

    def _same(self, file: File, there: Listed, known: Record | None) -> None:
        """Return where the name holds the file's bytes; ConflictError where it does not, or where nobody knows."""
        hint = "a published name never changes: take the next version"
        if there.size != file.size:
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with {there.size} bytes, {file.path} has {file.size}",
                hint=hint + "; where an upload of it was broken off: " + _remove(there),
            )
        if self._found.confirms:
            other = self._confirmed(file)
            if other is None:
                return
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with sha256 {other}, {file.path} has {file.sha256}",
                hint=hint,
            )
        if known is None:
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with as many bytes, and nothing tells whether they are "
                f"those of {file.path}",
                hint="give the token Sys.AccessNetwork on the node, so that it compares the checksum; "
                "or take the next version",
            )
        if known.sha256 != file.sha256:
            raise ConflictError(
                f"{there.volid} was published with sha256 {known.sha256}, {file.path} has {file.sha256}", hint=hint
            )

    def _confirmed(self, file: File) -> str | None:
        """Have the node compare the checksum of what is there; None where it is the file's, else what it is.

        download-url does not download onto an existing name: with a checksum it compares (pve-common,
        PVE/Tools.pm, download_file_from_url).
        """
        upid = self._client.post(
            f"{self._path}/download-url",
            url=f"{_NOWHERE}{file.name}",
            filename=file.name,
            content="vztmpl",
            checksum_algorithm="sha256",
            checksum=file.sha256,
        )
        status, log = wait(self._client, str(upid), lambda _: None)
        if status == "OK":
            return None
        if found := re.search(r"checksum mismatch: got '([0-9a-f]+)'", " ".join([*log, status])):
            return found[1]
        raise ApiError(
            f"{self.ref}: the node could not compare the checksum of {file.name}: {_last(log, status)}",
            hint="publish it again; the node's task log has more",
        )

    def _find(self, name: str) -> Listed | None:
        return next((each for each in listing(self._client, self._path) if each.file == name), None)

    def _tasks(self) -> Iterator[dict[str, Any]]:
        """Yield the uploads that any node of the cluster runs or ran last."""
        for node in self._found.nodes or (self.ref.node,):
            yield from self._client.get(f"/nodes/{node}/tasks", typefilter="imgcopy", source="all", limit=500)

    def _uploads_of(self, name: str, before: set[str]) -> list[tuple[str, bool]]:
        """Return the tasks since `before` that wrote this name to this storage, and whether this token began them.

        The UPID of an imgcopy does not name the file: its log does.
        """
        found = []
        for task in self._tasks():
            upid = task["upid"]
            if upid in before:
                continue
            target, node, ended = self._target(upid)
            here = self._found.shared or node in (self.ref.node, "localhost")
            # What does not tell its file in time may be writing it.
            if (not target and not ended) or (target.rpartition("/")[2] == name and here):
                user = f"{task.get('user', '')}!{task['tokenid']}" if task.get("tokenid") else task.get("user", "")
                found.append((upid, self._client.profile.token_id == user))
        return found

    def _target(self, upid: str) -> tuple[str, str, bool]:
        """Return the file and the node that an upload writes to, as soon as its log tells, and whether it ended."""
        end = time.monotonic() + _PATIENCE
        while True:
            ended = _status(self._client, upid, 10.0) is not None
            log = _log(self._client, upid)
            target, node = (
                next((line.removeprefix(key) for line in log if line.startswith(key)), "")
                for key in ("target file: ", "target node: ")
            )
            if target or ended or time.monotonic() > end:
                return target, node, ended
            time.sleep(0.5)


def listing(client: Client, path: str) -> Iterator[Listed]:
    """Yield the templates that the storage at an API path lists. Raises ApiError."""
    for each in client.get(f"{path}/content", content="vztmpl"):
        volid = str(each["volid"])
        yield Listed(volid, volid.rpartition("/")[2], int(each.get("size", 0)), int(each.get("ctime", 0)))


def wait(client: Client, upid: str, say: Say) -> tuple[str, list[str]]:
    """Follow a task to its end; return its exit status ("OK", "WARNINGS: n", or why it failed) and its log."""
    pause, told = 0.1, 0
    while True:
        status = _status(client, upid, _PATIENCE)
        log = _log(client, upid, _PATIENCE)
        for line in log[told:]:
            say(line)
        told = len(log)
        if status is not None:
            return status, log
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _status(client: Client, upid: str, patience: float) -> str | None:
    said = client.get(f"{_task(upid)}/status", patience=patience)
    return None if said.get("status") == "running" else str(said.get("exitstatus") or "unexpected status")


def _log(client: Client, upid: str, patience: float = 10.0) -> list[str]:
    lines = client.get(f"{_task(upid)}/log", patience=patience, limit=0)
    return [str(each.get("t", "")) for each in lines]


def _task(upid: str) -> str:
    parts = upid.split(":")
    if len(parts) < 9 or parts[0] != "UPID":
        raise ApiError(f"Proxmox named no task: {upid!r}", hint="is another program at that address?")
    return f"/nodes/{parts[1]}/tasks/{quote(upid, safe='')}"


def _last(log: Sequence[str], status: str) -> str:
    lines = [line for line in log if line and line != "TASK OK"][-3:]
    return "; ".join(lines) or status


def _failure_hint(log: str, half: Listed | None) -> str:
    if half:
        return _remove(half)
    if "No space left" in log:
        return "free some space on the storage and in /var/tmp of the node that PM_API_URL names, and publish it again"
    if "checksum mismatch" in log:
        return "the bytes that arrived are others than those that were read: publish it again"
    return "the node's task log has more; nothing was left there: publish it again when the cause is mended"


def _remove(there: Listed) -> str:
    return f"remove it on the node: pvesm free {there.volid}; then publish it again"
