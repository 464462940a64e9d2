"""One storage of one Proxmox node: list, upload, fetch, remove, and the proof that the file has our bytes.

Proxmox silently replaces an existing file of the same name, and does not serialize two uploads of one name
(pve-storage, PVE/API2/Storage/Status.pm: "we simply overwrite the destination file"). So an existing name is never
uploaded to, and after an upload the cluster's tasks show whether another one wrote the same name meanwhile.
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
from lxcast.proxmox.tasks import Say, Watch, Writing, last, last_writer, wait
from lxcast.record import Record
from lxcast.storages.storage import NEVER_REPLACED

Advance = Callable[[int], None]
Turn = AbstractContextManager[object]

_BUFFER = 520 << 10
"""Bytes that the server buffers of a request before it has checked the token."""

_RUN_AGAIN = "then run the same command again: the node compares the checksum"

_NOWHERE = "http://127.0.0.1:9/"
"""URL for a download that must never happen: port 9 is "discard" and closed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A template as the storage lists it; `size` in bytes, `ctime` in seconds since 1970."""

    volid: str
    file: str
    size: int
    ctime: int


@dataclass(frozen=True, slots=True)
class Put:
    """The result of a put or a pull."""

    volid: str
    sent: bool
    """False if the same bytes existed before."""
    verified: bool
    """Whether no other task that wrote the name can have gone unseen."""
    warnings: tuple[str, ...] = ()


class NodeStorage:
    """One storage of one node; `found` is its preflight, without errors. Used by one thread."""

    def __init__(self, client: Client, found: Preflight) -> None:
        self._client, self._found = client, found
        self.ref = found.ref
        self._own: set[str] = set()
        """This program's own tasks."""
        self._path = f"/nodes/{self.ref.node}/storage/{self.ref.storage}"

    def entries(self) -> list[Listed]:
        """Return the templates that the storage lists, by name. Raises ApiError."""
        return sorted(listing(self._client, self._path), key=lambda each: each.file)

    def present(self, file: File, known: Record | None) -> Put | None:
        """Return a put that sends nothing if the storage has the file under its name; None if the name is free.

        `known` is this machine's record of that name. Raises ConflictError if other bytes have the name, and ApiError.
        """
        existing = self._find(file.name)
        if existing is None:
            return None
        self._require_same(file, existing, known)
        return Put(existing.volid, False, True)

    def put(self, file: File, advance: Advance, watch: Watch, say: Say | None = None, turn: Turn | None = None) -> Put:
        """Upload a file under its name, which must be free; call `prove` with the result.

        `say` gets the lines of the task's log. `turn` is held while the bytes are sent. The watch must have begun
        before the name was seen to be free. Raises UnprovenError if the uploaded content cannot be verified,
        StorageError if the file changed, and ApiError.
        """
        try:
            with turn or nullcontext():
                own = self._client.upload(f"{self._path}/upload", UploadBody(file, advance)).text()
        except ApiError as error:
            if not error.lost:
                raise error.with_hint(error.hint or _failure_hint(error.message)) from error
            own = self._recover(file, watch, error)
        watch.leave_out(own)
        self._own.add(own)
        return self.ended(file, *wait(self._client, own, say)) if own else self.ended(file, "OK", [])

    def pull(self, file: File, url: Secret, watch: Watch) -> str:
        """Have the node fetch a file under its name, which must be free, and compare its checksum.

        Return the task, whose end is for `ended` and `prove`; "" if the node has the file already. Raises as `put`
        does.
        """
        try:
            own = self._download(file, url.reveal())
        except ApiError as error:
            if not error.lost:
                raise
            own = self._recover(file, watch, error)
        watch.leave_out(own)
        self._own.add(own)
        return own

    def ended(self, file: File, status: str, log: Sequence[str], *, fetched: bool = False) -> Put:
        """Return the put of a task that has ended; call `prove` with it.

        Raises ApiError if the task failed or the storage does not list the file with its size, and ConflictError.
        """
        warnings: tuple[str, ...] = ()
        if status.startswith("WARNINGS"):
            lines = [line for line in log if line.startswith(("WARN", "Warning"))]
            warnings = tuple(f"{self.ref}: {line}" for line in lines or [status])
        elif status != "OK":
            existing = self._find(file.name)
            explain = self._not_fetched if fetched else self._not_uploaded
            raise explain(file, last(log, status), " ".join(log), existing)
        self._require_listed(file)
        return Put(str(Volid.make(self.ref.storage, file.name)), True, False, warnings)

    def prove(self, put: Put, others: Sequence[Writing], unseen: Collection[str]) -> Put:
        """Return a put as verified against the other tasks that wrote its name since the watch began.

        `unseen` nodes did not answer. Raises UnprovenError if one of the tasks wrote to this storage.
        """
        if not put.sent:
            return put
        wrote = [each.upid for each in others if self._is_here(each)]
        if wrote:
            raise UnprovenError(
                f"{self.ref}: {put.volid} was also written by another task: {', '.join(wrote)}; the content of "
                "the file could not be verified",
                hint=f"wait until that task has ended, {_RUN_AGAIN}",
            )
        if self._found.sees_tasks and not unseen:
            return replace(put, verified=True)
        why = "the token cannot see the uploads of other users"
        if self._found.sees_tasks:
            why = f"no answer from {', '.join(sorted(unseen))} about uploads"
        warning = f"{put.volid}: {why}: a concurrent upload of this name cannot be excluded"
        return replace(put, warnings=(*put.warnings, warning))

    def _is_here(self, writing: Writing) -> bool:
        return self._found.shared or writing.node in ("", self.ref.node, "localhost")

    def _not_uploaded(self, file: File, why: str, log: str, existing: Listed | None) -> LxcastError:
        left = f"; {existing.volid} exists with {existing.size} of {file.size} bytes" if existing else ""
        if existing is None:
            hint = _failure_hint(log)
        elif existing.size == file.size:
            hint = _RUN_AGAIN.removeprefix("then ")
        else:
            hint = self._incomplete_hint(existing)
        return ApiError(f"{self.ref}: the upload of {file.name} failed on the node: {why}{left}", hint=hint)

    def _not_fetched(self, file: File, why: str, log: str, existing: Listed | None) -> LxcastError:
        """Return the error of a failed download. An existing file is not from it: a download renames its file last."""
        if existing:
            return ConflictError(
                f"{self.ref}: {existing.volid} was created by another upload meanwhile: {why}",
                hint=_RUN_AGAIN.removeprefix("then "),
            )
        hint = "can the node reach the web server, and does it trust its certificate? did a signed URL expire?"
        if "checksum mismatch" in log:
            hint = "the web server sends other bytes: does --get-url name what was put?"
        elif "No space left" in log:
            hint = "free some space on the storage"
        return ApiError(f"{self.ref}: the node could not fetch {file.name}: {why}", hint=hint)

    def _require_listed(self, file: File) -> None:
        existing = self._find(file.name)
        if existing is None or existing.size != file.size:
            state = f"has {existing.size} bytes" if existing else "is not listed"
            hint = "publish it again; does another program clear that storage?"
            raise ApiError(
                f"{self.ref}: after the upload {file.name} {state}, {file.size} were sent",
                hint=self._incomplete_hint(existing) if existing else hint,
            )

    def _recover(self, file: File, watch: Watch, error: ApiError) -> str:
        """Find out what happened to a request whose connection broke.

        Return its task; "" if the node confirms that it has the file.
        """
        for pause in (0.5, 1.0, 2.0, 0.0):
            for each in watch.of(self._client, file.name):
                if each.owner == self._client.profile.token_id and each.file and self._is_here(each):
                    return each.upid
            time.sleep(pause)
        existing = self._find(file.name)
        if existing is None:
            raise ApiError(
                f"{error.message}; publishing {file.name} was interrupted and left nothing in {self.ref}",
                hint=_closed_hint(self._client.profile, file.size),
                lost=True,
            ) from error
        if existing.size != file.size:
            raise ApiError(
                f"{error.message}; {existing.volid} exists with {existing.size} of {file.size} bytes",
                hint=self._incomplete_hint(existing),
            ) from error
        if self._found.confirms and self._confirmed(file) is None:
            return ""
        raise UnprovenError(
            f"{error.message}; {existing.volid} exists with {existing.size} bytes, but its content could not be "
            "verified",
            hint="run the same command again with a token whose role lets the node compare checksums",
        ) from error

    def _require_same(self, file: File, existing: Listed, known: Record | None) -> None:
        """Raise ConflictError unless the existing file has the same content, as the node or a record confirms."""
        where = f"{existing.volid} exists on {self.ref.node}"
        if existing.size != file.size:
            raise ConflictError(
                f"{where} with {existing.size} bytes, this file has {file.size}",
                hint=self._incomplete_hint(existing),
            )
        if self._found.confirms:
            other = self._confirmed(file)
            if other is None:
                return
            raise ConflictError(f"{where} with sha256 {other}, this file has {file.sha256}", hint=NEVER_REPLACED)
        if known is None:
            raise ConflictError(
                f"{where} with the same size, and its content cannot be compared",
                hint="give the token Sys.AccessNetwork on the node, so that the node can compare checksums; or: "
                + NEVER_REPLACED,
            )
        if known.sha256 != file.sha256:
            raise ConflictError(
                f"{existing.volid} was published with sha256 {known.sha256}, this file has {file.sha256}",
                hint=NEVER_REPLACED,
            )

    def _incomplete_hint(self, existing: Listed) -> str:
        """Return what to do about an existing file of another size.

        It may be a template that another publisher is still writing: only one whose upload failed may be removed.
        """
        nodes = self._found.nodes or (self.ref.node,)
        writer = last_writer(self._client, nodes, existing.file)
        if writer and not writer.ended:
            return f"task {writer.upid} is writing it: wait until it has ended, {_RUN_AGAIN}"
        now = self._find(existing.file)
        if now is None or now.size != existing.size:
            return f"it changed meanwhile, so that another upload is writing it: wait, {_RUN_AGAIN}"
        if writer and writer.upid not in self._own and writer.status.startswith(("OK", "WARNINGS")):
            return NEVER_REPLACED
        remove = f"remove it on the node: pvesm free {existing.volid}; then publish it again"
        if writer and self._found.sees_tasks:
            return remove
        return f"{NEVER_REPLACED}; if it is left over from a failed upload and no upload is running, {remove}"

    def _confirmed(self, file: File) -> str | None:
        """Have the node compare the checksum of the existing file; None if it is the file's, else what it is.

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
            hint="see the task log on the node, and publish it again",
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
    """Remove a template; a missing one is not an error. Raises ApiError, also if it is listed afterwards."""
    path = f"/nodes/{ref.node}/storage/{ref.storage}"
    upid = client.delete(f"{path}/content/{quote(f'vztmpl/{file}')}", delay=5).text("")
    if upid:  # it took longer
        status, log = wait(client, upid, lambda _: None)
        if status != "OK" and not status.startswith("WARNINGS"):
            raise ApiError(f"{ref}: {file} was not removed: {last(log, status)}", hint="see the task log on the node")
    if any(each.file == file for each in listing(client, path)):
        raise ApiError(f"{ref}: {file} still exists after its removal", hint="does another program create it?")


def _failure_hint(log: str) -> str:
    """Return what to do about an upload that failed and left nothing."""
    if "No space left" in log:
        return "free some space on the storage and in /var/tmp of the node that PM_API_URL names, and publish it again"
    if "checksum mismatch" in log:
        return "the bytes that arrived differ from those that were read: publish it again"
    return "see the task log on the node; nothing was left there: fix the cause and publish it again"


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
