"""One file to one node of a cluster, or to many at once."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from lxcast.errors import ApiError, LxcastError, UnprovenError
from lxcast.progress import Progress
from lxcast.proxmox import tasks
from lxcast.proxmox.client import Client, File, FileBody, Profile, Relay, put_file
from lxcast.proxmox.preflight import Preflight
from lxcast.proxmox.tasks import Say, Watch
from lxcast.record import Record
from lxcast.storages.node import Advance, NodeStorage, Put, Turn

UPLOADS = 4
"""Nodes that are sent to at once: all of them go through the one node that the client talks to."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one node: a put, or the error."""

    node: str
    put: Put | None
    error: LxcastError | None = None

    @property
    def state(self) -> str:
        """In a word: uploaded, present, failed."""
        return "failed" if self.put is None else "uploaded" if self.put.sent else "present"


Results = Iterator[tuple[int, Result]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file on its way to the nodes that passed preflight, or that failed it."""

    profile: Profile
    relay: Relay | None
    found: Sequence[Preflight]
    file: File
    proofs: Sequence[Record | None]
    """For each node this machine's record of the file, if it was published there."""

    def run(self, progress: Progress) -> Results:
        """Put the file to every node; yield the result of each, by its place in `found`, when it is final.

        Only this thread reports progress. Raises ApiError if the cluster cannot be watched.
        """
        with Client(self.profile) as client:
            watch = Watch(client, self._nodes())
            if self.relay:
                yield from self._fetch(client, watch, self.relay.named(self.file.name), progress)
            elif len(self.found) == 1:
                result = self._put(0, watch, progress.advance, progress.debug)
                yield from self._proven(client, watch, {0: result})
            else:
                yield from self._fan_out(client, watch, progress)

    def _nodes(self) -> set[str]:
        """Return the nodes whose tasks could write to the storages."""
        return {node for each in self.found if not each.errors for node in each.nodes or (each.ref.node,)}

    def _put(
        self, index: int, watch: Watch, advance: Advance, say: Say | None = None, turn: Turn | None = None
    ) -> Result:
        with Client(self.profile) as client:
            storage = NodeStorage(client, self.found[index])
            return self._attempt(
                index,
                lambda: (
                    storage.present(self.file, self.proofs[index]) or storage.put(self.file, advance, watch, say, turn)
                ),
            )

    def _attempt(self, index: int, step: Callable[[], Put | None]) -> Result:
        """Return the result of a step towards a node."""
        found = self.found[index]
        try:
            if found.errors:
                raise ApiError("; ".join(row.message for row in found.errors))
            return Result(found.ref.node, step())
        except LxcastError as error:
            return Result(found.ref.node, None, error)

    def _fan_out(self, client: Client, watch: Watch, progress: Progress) -> Results:
        sent = [0] * len(self.found)
        waiting = deque(range(len(self.found)))
        done: SimpleQueue[tuple[int, Result | BaseException]] = SimpleQueue()
        stopped = False

        def counter(index: int) -> Callable[[int], None]:
            def advance(count: int) -> None:
                if stopped:
                    raise ApiError("interrupted")
                sent[index] += count

            return advance

        def work() -> None:
            while waiting and not stopped:
                with suppress(IndexError):  # another thread took the last one
                    index = waiting.popleft()
                    try:
                        done.put((index, self._put(index, watch, counter(index), turn=turns)))
                    except BaseException as error:  # raised by the thread that waits
                        done.put((index, error))

        turns = threading.BoundedSemaphore(UPLOADS)
        # While some are sent to, the tasks of as many others end.
        for _ in range(min(2 * UPLOADS, len(self.found))):
            # Daemons, so that an interrupt waits for no upload and no task: the connections break as the process ends.
            threading.Thread(target=work, daemon=True).start()
        reported, due, left = 0, 0.0, len(self.found)
        unproven: dict[int, Result] = {}
        try:
            while left:
                with suppress(Empty):
                    index, result = done.get(timeout=0.2)
                    if isinstance(result, BaseException):
                        raise result
                    unproven[index] = result
                began = time.monotonic()
                if began >= due or len(unproven) == left:
                    yield from self._proven(client, watch, unproven)
                    left -= len(unproven)
                    unproven.clear()
                    # All nodes are asked: no more than a tenth of the time.
                    due = time.monotonic() + 10 * (time.monotonic() - began)
                now = sum(sent)
                progress.advance(now - reported)
                reported = now
        finally:
            stopped = True

    def _fetch(self, client: Client, watch: Watch, relay: Relay, progress: Progress) -> Results:
        """Have all nodes fetch the file at once; it is put where they fetch it from if any of them lacks it."""
        storages = [NodeStorage(client, each) for each in self.found]
        pending = set(range(len(self.found)))
        running: dict[int, str] = {}

        def attempt(step: Callable[[int], Put | None]) -> Results:
            """Take a step towards every pending node; yield those that it ends."""
            results = {index: self._attempt(index, partial(step, index)) for index in sorted(pending)}
            ended = {index: result for index, result in results.items() if result.put or result.error}
            pending.difference_update(ended)
            return self._proven(client, watch, ended)

        def begin(index: int) -> None:
            running[index] = storages[index].pull(self.file, relay.get_url, watch)

        def check(index: int) -> Put | None:
            upid = running[index]
            found = tasks.ended(client, upid) if upid else ("OK", [])
            return storages[index].ended(self.file, *found, fetched=True) if found else None

        yield from attempt(lambda index: storages[index].present(self.file, self.proofs[index]))
        if relay.put_url and pending:
            try:
                put_file(relay.put_url, FileBody(self.file, progress.advance))
            except LxcastError as error:
                yield from ((index, Result(self.found[index].ref.node, None, error)) for index in sorted(pending))
                return
        yield from attempt(begin)
        began = time.monotonic()
        patient = {index: tasks.Patience() for index in running}
        while pending:
            yield from attempt(lambda index: patient[index].ask(partial(check, index)))
            time.sleep(tasks.pause(began, 0.2))

    def _proven(self, client: Client, watch: Watch, results: Mapping[int, Result]) -> Results:
        """Yield results with their proof: no other task wrote the name there meanwhile."""
        sent = any(each.put and each.put.sent for each in results.values())
        others = watch.of(client, self.file.name) if sent else []
        for index, each in results.items():
            put, error = each.put, each.error
            if sent and put:
                try:
                    put = NodeStorage(client, self.found[index]).prove(put, others, watch.unseen)
                except UnprovenError as unproven:
                    put, error = None, unproven
            yield index, Result(each.node, put, error)
