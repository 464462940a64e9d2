"""One file to one node of a cluster, or to many at once."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from lxcast.errors import ApiError, LxcastError, UnprovenError
from lxcast.http import Client, File, FileBody, Relay, Secret, put_file
from lxcast.jobs.target import Targets
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.storages.preflight import Preflight
from lxcast.storages.proxmox import Advance, ProxmoxStorage, Put
from lxcast.storages.tasks import Say, Watch

UPLOADS = 4
"""Nodes that are sent to at once: all of them go through the one node that is spoken to."""

FETCHES = 64
"""Nodes that fetch at once, each through its own link; here each costs a question now and then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target: a put, or why there is none."""

    node: str
    put: Put | None
    error: LxcastError | None = None

    @property
    def state(self) -> str:
        """In a word: uploaded, present, failed."""
        return "failed" if self.put is None else "uploaded" if self.put.sent else "present"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file on its way to the targets that were looked at; of one that has it, `proofs` may hold the record."""

    targets: Targets
    found: Sequence[Preflight]
    file: File
    proofs: Sequence[Record | None]

    def run(self, progress: Progress, ended: dict[int, Outcome]) -> None:
        """Put the file to every target; `ended` gets what came of each, by its place in `found`.

        The progress is spoken to from this thread alone. Raises ApiError where the cluster cannot be watched.
        """
        upload = _Upload(self.targets.relay.named(self.file.name), self.file) if self.targets.relay else None
        with Client(self.targets.profile) as client:
            watch = Watch(client, self._nodes())
            if len(self.found) == 1:
                outcome = self._put(0, watch, upload, progress.advance, progress.debug)
                ended |= self._proven(client, watch, {0: outcome})
            else:
                self._fan_out(client, watch, upload, progress, ended)

    def _nodes(self) -> set[str]:
        """Return the nodes whose tasks could write to the targets."""
        return {node for each in self.found if not each.errors for node in each.nodes or (each.ref.node,)}

    def _put(self, index: int, watch: Watch, upload: "_Upload | None", advance: Advance, say: Say) -> Outcome:
        found, node = self.found[index], self.found[index].ref.node
        if found.errors:
            return Outcome(node, None, ApiError("; ".join(row.message for row in found.errors)))
        try:
            with Client(self.targets.profile) as client:
                storage = ProxmoxStorage(client, found)
                there = storage.present(self.file, self.proofs[index])
                if there:
                    return Outcome(node, there)
                if upload:
                    return Outcome(node, storage.pull(self.file, upload.done(advance), say, watch))
                return Outcome(node, storage.put(self.file, advance, say, watch))
        except LxcastError as error:
            return Outcome(node, None, error)

    def _fan_out(
        self, client: Client, watch: Watch, upload: "_Upload | None", progress: Progress, ended: dict[int, Outcome]
    ) -> None:
        sent = [0] * len(self.found)
        waiting = deque(range(len(self.found)))
        done: SimpleQueue[tuple[int, Outcome | BaseException]] = SimpleQueue()
        stopped = False

        def counter(index: int) -> Callable[[int], None]:
            def advance(count: int) -> None:
                if stopped:
                    raise ApiError("interrupted")
                sent[index] += count

            return advance

        def silent(_: str) -> None:
            return None

        def work() -> None:
            while waiting and not stopped:
                with suppress(IndexError):  # another thread took the last one
                    index = waiting.popleft()
                    try:
                        done.put((index, self._put(index, watch, upload, counter(index), silent)))
                    except BaseException as error:  # raised by the thread that waits
                        done.put((index, error))

        for _ in range(min(FETCHES if upload else UPLOADS, len(self.found))):
            # Daemons, so that an interrupt waits for no upload and no task: the connections break as the process ends.
            threading.Thread(target=work, daemon=True).start()
        told, due = 0, 0.0
        unproven: dict[int, Outcome] = {}
        try:
            while len(ended) < len(self.found):
                with suppress(Empty):
                    index, outcome = done.get(timeout=0.2)
                    if isinstance(outcome, BaseException):
                        raise outcome
                    unproven[index] = outcome
                began = time.monotonic()
                if began >= due or len(ended) + len(unproven) == len(self.found):
                    ended |= self._proven(client, watch, unproven)
                    unproven.clear()
                    # All nodes are asked: no more than a tenth of the time.
                    due = time.monotonic() + 10 * (time.monotonic() - began)
                now = sum(sent)
                progress.advance(now - told)
                told = now
        finally:
            stopped = True

    def _proven(self, client: Client, watch: Watch, outcomes: Mapping[int, Outcome]) -> dict[int, Outcome]:
        """Return outcomes whose puts stand alone: nothing else wrote the name there meanwhile."""
        proven = dict(outcomes)
        if not any(each.put and each.put.sent for each in outcomes.values()):
            return proven
        others = watch.of(client, self.file.name)
        for index, each in outcomes.items():
            if each.put:
                try:
                    put = ProxmoxStorage(client, self.found[index]).prove(each.put, others, watch.unseen)
                    proven[index] = Outcome(each.node, put)
                except UnprovenError as error:
                    proven[index] = Outcome(each.node, None, error)
        return proven


class _Upload:
    """The one upload to a relay, made when the first node needs it; the others wait for it."""

    def __init__(self, relay: Relay, file: File) -> None:
        self._relay, self._file = relay, file
        self._lock = threading.Lock()
        self._up = relay.put_url is None
        self._failure: LxcastError | None = None

    def done(self, advance: Advance) -> Secret:
        """Return where the file can be fetched. Raises what the upload raised, to every node."""
        with self._lock:
            if self._failure:
                raise self._failure
            if not self._up and self._relay.put_url:
                try:
                    put_file(self._relay.put_url, FileBody(self._file, advance))
                except LxcastError as error:
                    self._failure = error
                    raise
                self._up = True
        return self._relay.get_url
