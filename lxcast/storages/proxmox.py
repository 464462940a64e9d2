"""A storage that the Proxmox VE API reaches: list, put, and the proof that what is there are our bytes.

Proxmox replaces an existing file of the same name without a word, and excludes no two uploads of one name
(pve-storage, PVE/API2/Storage/Status.pm: "we simply overwrite the destination file"). So a name that is there is never
uploaded to, and after an upload the tasks tell whether another one wrote the same name meanwhile.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from urllib.parse import quote

from lxcast.errors import ApiError, ConflictError, LxcastError, UnprovenError
from lxcast.model import ProxmoxRef, Volid
from lxcast.progress import amount
from lxcast.proxmox.client import Client, File, Profile, Secret, UploadBody
from lxcast.proxmox.preflight import Preflight
from lxcast.proxmox.tasks import Say, Watch, Writing, last, wait
from lxcast.record import Record

Advance = Callable[[int], None]
Turn = AbstractContextManager[object]

TAKEN = "a published name never changes: build the next version, or publish a copy of the file under another name"

_BUFFER = 520 << 10
"""Bytes that the server buffers of a request before it has checked the token."""

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
    """What came of a put or a pull."""

    volid: str
    sent: bool
    """False where the same bytes were there."""
    verified: bool
    """Whether no other task that wrote the name can have gone unseen."""
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

    def present(self, file: File, known: Record | None) -> Put | None:
        """Return what tells that the file is there under its name; None where nothing has the name.

        `known` is this machine's record of that name. Raises ConflictError where other bytes have the name, and
        ApiError.
        """
        there = self._find(file.name)
        if there is None:
            return None
        self._same(file, there, known)
        return Put(there.volid, False, True)

    def put(self, file: File, advance: Advance, watch: Watch, say: Say | None = None, turn: Turn | None = None) -> Put:
        """Upload a file under its name, which nothing has; `prove` is still to come.

        `say` gets the lines of the task's log. `turn` is held while the bytes are sent. The watch began before it was
        seen that nothing has the name. Raises UnprovenError where it cannot be shown whose bytes have it, StorageError
        where the file changed, and ApiError.
        """
        try:
            with turn or nullcontext():
                own = self._client.upload(f"{self._path}/upload", UploadBody(file, advance)).text()
        except ApiError as error:
            if not error.lost:
                error.hint = error.hint or _failure_hint(error.message, None)
                raise
            own = self._look_up(file, watch, error)
        watch.leave_out(own)
        return self.ended(file, *wait(self._client, own, say)) if own else self.ended(file, "OK", [])

    def pull(self, file: File, url: Secret, watch: Watch) -> str:
        """Let the node begin to fetch a file, compare its checksum and give it its name, which nothing has.

        Return the task, after which come `ended` and `prove`; "" where the node has it already. Raises as `put` does.
        """
        try:
            own = self._download(file, url.reveal())
        except ApiError as error:
            if not error.lost:
                raise
            own = self._look_up(file, watch, error)
        watch.leave_out(own)
        return own

    def ended(self, file: File, status: str, log: Sequence[str], *, fetched: bool = False) -> Put:
        """Return the put of a task that has ended; `prove` is still to come.

        Raises ApiError where it failed or the storage does not list the file's bytes, and ConflictError.
        """
        warnings: tuple[str, ...] = ()
        if status.startswith("WARNINGS"):
            lines = [line for line in log if line.startswith(("WARN", "Warning"))]
            warnings = tuple(f"{self.ref}: {line}" for line in lines or [status])
        elif status != "OK":
            there = self._find(file.name)
            raise (self._not_fetched if fetched else self._not_uploaded)(file, last(log, status), " ".join(log), there)
        self._expect(file)
        return Put(str(Volid.make(self.ref.storage, file.name)), True, False, warnings)

    def prove(self, put: Put, others: Sequence[Writing], unseen: Collection[str]) -> Put:
        """Return a put as proven by the other tasks that wrote its name since the watch began.

        `unseen` nodes could not be asked. Raises UnprovenError where one of the tasks wrote to this storage.
        """
        if not put.sent:
            return put
        wrote = [each.upid for each in others if self._is_here(each)]
        if wrote:
            raise UnprovenError(
                f"{self.ref}: {put.volid} was written by another task at the same time: {', '.join(wrote)}; "
                "whose bytes are there is not known",
                hint="when that task has ended, run the same command again: the node then compares the checksum",
            )
        if self._found.sees_tasks and not unseen:
            return replace(put, verified=True)
        why = "the token does not see other users' uploads"
        if self._found.sees_tasks:
            why = f"{', '.join(sorted(unseen))} did not tell of uploads"
        warning = f"{put.volid}: {why}, so none can be excluded"
        return replace(put, warnings=(*put.warnings, warning))

    def _is_here(self, writing: Writing) -> bool:
        return self._found.shared or writing.node in ("", self.ref.node, "localhost")

    def _not_uploaded(self, file: File, why: str, log: str, half: Listed | None) -> LxcastError:
        left = f"; {half.volid} is there with {half.size} of {file.size} bytes" if half else ""
        hint = "run the same command again: the node then compares the checksum of what is there"
        if half is None or half.size != file.size:
            hint = _failure_hint(log, half)
        return ApiError(f"{self.ref}: the upload of {file.name} failed on the node: {why}{left}", hint=hint)

    def _not_fetched(self, file: File, why: str, log: str, there: Listed | None) -> LxcastError:
        """Tell why a download failed; what has the name is not from it, since it takes the name at its end."""
        if there:
            return ConflictError(
                f"{self.ref}: {there.volid} was put there by another one meanwhile: {why}",
                hint="run the same command again: the node then compares the checksum",
            )
        hint = "can the node reach the web server, and does it trust its certificate? did a signed URL expire?"
        if "checksum mismatch" in log:
            hint = "the web server gives out other bytes: does --get-url name what was put?"
        elif "No space left" in log:
            hint = "free some space on the storage"
        return ApiError(f"{self.ref}: the node could not fetch {file.name}: {why}", hint=hint)

    def _expect(self, file: File) -> None:
        there = self._find(file.name)
        if there is None or there.size != file.size:
            have = f"has {there.size} bytes" if there else "is not listed"
            raise ApiError(
                f"{self.ref}: afterwards {file.name} {have}, {file.size} were sent",
                hint=_remove(there) if there else "publish it again; does another program clear that storage?",
            )

    def _look_up(self, file: File, watch: Watch, error: ApiError) -> str:
        """Find out what became of what was asked for when the connection broke.

        Return the task, "" where the node confirms.
        """
        for pause in (0.5, 1.0, 2.0, 0.0):
            for each in watch.of(self._client, file.name):
                if each.owner == self._client.profile.token_id and each.file and self._is_here(each):
                    return each.upid
            time.sleep(pause)
        there = self._find(file.name)
        if there is None:
            raise ApiError(
                f"{error.message}; publishing {file.name} broke off and left nothing in {self.ref}",
                hint=_closed_hint(self._client.profile, file.size),
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
        if there.size != file.size:
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with {there.size} bytes, and ours has {file.size}",
                hint=TAKEN + "; where an upload of it was broken off: " + _remove(there),
            )
        if self._found.confirms:
            other = self._confirmed(file)
            if other is None:
                return
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with sha256 {other}, and ours has {file.sha256}",
                hint=TAKEN,
            )
        if known is None:
            raise ConflictError(
                f"{there.volid} is there on {self.ref.node} with as many bytes as ours, and nothing tells whether they "
                "are the same",
                hint=f"give the token Sys.AccessNetwork on the node, so that it compares the checksum; or: {TAKEN}",
            )
        if known.sha256 != file.sha256:
            raise ConflictError(
                f"{there.volid} was published with sha256 {known.sha256}, and ours has {file.sha256}", hint=TAKEN
            )

    def _confirmed(self, file: File) -> str | None:
        """Have the node compare the checksum of what is there; None where it is the file's, else what it is.

        download-url does not download onto an existing name: with a checksum it compares (pve-common,
        PVE/Tools.pm, download_file_from_url).
        """
        status, log = wait(self._client, self._download(file, f"{_NOWHERE}{file.name}"))
        if status == "OK":
            return None
        if found := re.search(r"checksum mismatch: got '([0-9a-f]+)'", " ".join([*log, status])):
            return found[1]
        raise ApiError(
            f"{self.ref}: the node could not compare the checksum of {file.name}: {last(log, status)}",
            hint="publish it again; the node's task log has more",
        )

    def _download(self, file: File, url: str) -> str:
        return self._client.post(
            f"{self._path}/download-url",
            url=url,
            filename=file.name,
            content="vztmpl",
            checksum_algorithm="sha256",
            checksum=file.sha256,
        ).text()

    def _find(self, name: str) -> Listed | None:
        return next((each for each in listing(self._client, self._path) if each.file == name), None)


def listing(client: Client, path: str) -> Iterator[Listed]:
    """Yield the templates that the storage at an API path lists. Raises ApiError."""
    for each in client.get(f"{path}/content", content="vztmpl").list():
        volid = each["volid"].text()
        yield Listed(volid, volid.rpartition("/")[2], each["size"].number(0), each["ctime"].number(0))


def remove(client: Client, ref: ProxmoxRef, file: str) -> None:
    """Remove a template; one that is gone already is none. Raises ApiError, also where it is listed afterwards."""
    path = f"/nodes/{ref.node}/storage/{ref.storage}"
    upid = client.delete(f"{path}/content/{quote(f'vztmpl/{file}')}", delay=5).text("")
    if upid:  # it took longer
        status, log = wait(client, upid, lambda _: None)
        if status != "OK" and not status.startswith("WARNINGS"):
            raise ApiError(f"{ref}: {file} was not removed: {last(log, status)}", hint="the node's task log has more")
    if any(each.file == file for each in listing(client, path)):
        raise ApiError(f"{ref}: {file} is still there after it was removed", hint="does another program put it there?")


def _failure_hint(log: str, half: Listed | None) -> str:
    if half:
        return _remove(half)
    if "No space left" in log:
        return "free some space on the storage and in /var/tmp of the node that PM_API_URL names, and publish it again"
    if "checksum mismatch" in log:
        return "the bytes that arrived are others than those that were read: publish it again"
    return "the node's task log has more; nothing was left there: publish it again when the cause is mended"


def _closed_hint(profile: Profile, size: int) -> str:
    """Return what to check when the server closed the connection during an upload.

    It does so without a reply if its /var/tmp is full, and if it refuses the token and the body is above its buffer of
    520 KiB (pve-http-server, AnyEvent.pm).
    """
    if size < _BUFFER:
        return "publish it again"
    return (
        f"free space in /var/tmp of {profile.host} (it needs {amount(size)}), or publish it again; a server that "
        "refuses a token closes the connection too: run `lxcast doctor`"
    )


def _remove(there: Listed) -> str:
    return f"remove it on the node: pvesm free {there.volid}; then publish it again"
