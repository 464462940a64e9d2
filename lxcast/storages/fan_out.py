"""One file to one node of a cluster, or to many at once."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from lxcast.errors import ApiError, LxcastError, UnprovenError
from lxcast.progress import Progress
from lxcast.proxmox import tasks
from lxcast.proxmox.client import Client, File, FileBody, Relay, put_file
from lxcast.proxmox.preflight import Preflight
from lxcast.proxmox.tasks import Say, Watch
from lxcast.record import Record
from lxcast.storages.proxmox import Advance, ProxmoxStorage, Put, Turn
from lxcast.storages.targets import Targets

UPLOADS = 4
"""Nodes that are sent to at once: all of them go through the one node that is spoken to."""


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
        with Client(self.targets.profile) as client:
            watch = Watch(client, self._nodes())
            if self.targets.relay:
                self._fetch(client, watch, self.targets.relay.named(self.file.name), progress, ended)
            elif len(self.found) == 1:
                outcome = self._put(0, watch, progress.advance, progress.debug)
                ended |= self._proven(client, watch, {0: outcome})
            else:
                self._fan_out(client, watch, progress, ended)

    def _nodes(self) -> set[str]:
        """Return the nodes whose tasks could write to the targets."""
        return {node for each in self.found if not each.errors for node in each.nodes or (each.ref.node,)}

    def _put(
        self, index: int, watch: Watch, advance: Advance, say: Say | None = None, turn: Turn | None = None
    ) -> Outcome:
        with Client(self.targets.profile) as client:
            storage = ProxmoxStorage(client, self.found[index])
            return self._attempt(
                index,
                lambda: (
                    storage.present(self.file, self.proofs[index]) or storage.put(self.file, advance, watch, say, turn)
                ),
            )

    def _attempt(self, index: int, step: Callable[[], Put | None]) -> Outcome:
        """Return what comes of a step towards a target."""
        found = self.found[index]
        try:
            if found.errors:
                raise ApiError("; ".join(row.message for row in found.errors))
            return Outcome(found.ref.node, step())
        except LxcastError as error:
            return Outcome(found.ref.node, None, error)

    def _fan_out(self, client: Client, watch: Watch, progress: Progress, ended: dict[int, Outcome]) -> None:
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

    def _fetch(self, client: Client, watch: Watch, relay: Relay, progress: Progress, ended: dict[int, Outcome]) -> None:
        """Let all nodes fetch the file at once; it is put where they fetch it from if any of them lacks it."""
        storages = [ProxmoxStorage(client, each) for each in self.found]
        running: dict[int, str] = {}

        def each(step: Callable[[int], Put | None]) -> None:
            """Take a step towards every target that has not ended; one that gives a put or fails has."""
            outcomes = {}
            for index in range(len(self.found)):
                if index not in ended:
                    outcome = self._attempt(index, partial(step, index))
                    if outcome.put or outcome.error:
                        outcomes[index] = outcome
            ended.update(self._proven(client, watch, outcomes))

        def begin(index: int) -> None:
            running[index] = storages[index].pull(self.file, relay.get_url, watch)

        def look(index: int) -> Put | None:
            upid = running[index]
            found = tasks.ended(client, upid) if upid else ("OK", [])
            return storages[index].ended(self.file, *found, fetched=True) if found else None

        each(lambda index: storages[index].present(self.file, self.proofs[index]))
        if relay.put_url and len(ended) < len(self.found):
            try:
                put_file(relay.put_url, FileBody(self.file, progress.advance))
            except LxcastError as error:
                for index, found in enumerate(self.found):
                    ended.setdefault(index, Outcome(found.ref.node, None, error))
        each(begin)
        began = time.monotonic()
        patient = {index: tasks.Patience() for index in running}
        while len(ended) < len(self.found):
            each(lambda index: patient[index].ask(partial(look, index)))
            time.sleep(tasks.pause(began, 0.2))

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
