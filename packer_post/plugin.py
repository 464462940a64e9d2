"""`post-processor "lxcast"` of Packer: the program that the installed file starts (see packer_post.install)."""

import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from lxcast.errors import LxcastError, UsageError, of_system
from lxcast.interrupt import Interrupted
from lxcast.jobs.build import Built
from lxcast.jobs.promote import pin_built
from lxcast.progress import Progress, safe
from packer_post.arguments import ARGUMENTS, ATTRIBUTES, Arguments, as_arguments, read_arguments
from packer_post.artifact import generated_data, source_of, template_artifact
from packer_post.keep import kept
from packer_post.protocol.rpc import Client
from packer_post.protocol.server import Artifact, offer
from packer_post.request import UNKNOWN, Request
from packer_post.template import make_template
from packer_post.ui import PackerSink
from packer_post.worker import Worker


class PluginError(Exception):
    """What Packer shows: everything that the user needs, in one text."""


class LxcastPostProcessor:
    """One post-processor of a template: configured, then given the artifact of each build."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._arguments = Arguments({})

    def configure(self, configs: Sequence[Any]) -> None:
        """Validate the arguments; PluginError lists every problem."""
        try:
            self._arguments = read_arguments(configs)
            self._arguments.options()
        except Exception as error:
            raise PluginError(_told(error)) from error

    def post_process(self, host: Client) -> Artifact:
        """Build the template; PluginError says why it could not be, what was kept, and how to go on."""
        try:
            source, inherited = source_of(host), generated_data(host)
        except Exception as error:
            raise PluginError(_told(error)) from error
        sink = PackerSink()
        work = _Work(source, self._arguments, Progress(sink))

        def run() -> None:
            try:
                built = work.run()
                sink.machine(
                    "lxcast-template", built.volid, str(built.path or ""), built.record.version, built.record.sha256
                )
            finally:
                sink.close()

        ended: list[BaseException | None] = []
        working = threading.Thread(target=lambda: ended.append(self._worker.do(run)), daemon=True)
        working.start()
        sink.show(host)
        working.join()
        if ended[0] is not None or work.built is None:
            raise PluginError(work.explain(ended[0] or RuntimeError("the work ended without a template")))
        return template_artifact(work.built, self._arguments.record_file, inherited)

    def cancel(self) -> None:
        """Have the work clean up and end."""
        self._worker.cancel()


class _Work:
    """What the main thread does for one artifact."""

    def __init__(self, source: str, arguments: Arguments, progress: Progress) -> None:
        self._source, self._arguments, self._progress = source, arguments, progress
        self._held = ""
        self.built: Built | None = None

    def run(self) -> Built:
        """Build the template, with a second hold on the source until it is there."""
        with kept(self._source, self._progress.warn) as self._held:
            arguments = self._arguments
            if arguments.unknown:
                names = ", ".join(ARGUMENTS[name] for name in arguments.unknown)
                raise UsageError(
                    f"{names}: {UNKNOWN} is not a value: Packer does not know this value of build yet",
                    hint="only the first post-processor of a chain, and those behind one that tells, know build.*",
                )
            self.built = make_template(
                self._source, arguments.options, arguments.record_file, self._progress, keep_file=True
            )
        self._held = ""
        pin_built(self.built.record, arguments.options(), self._progress)
        return self.built

    def explain(self, error: BaseException) -> str:
        """Return what the user is told of a failure."""
        if isinstance(error, Interrupted):
            return f"cancelled; nothing incomplete is left\n{error.hint}".rstrip()
        if not self._held:
            return _told(error)
        return f"{_told(error)}\n{Request(self._arguments.build).resumption(self._held)}"


def _told(error: BaseException) -> str:
    if isinstance(error, OSError):
        error = of_system(error)
    if isinstance(error, LxcastError):
        return as_arguments(safe(error.message + (f"\nhint: {error.hint}" if error.hint else "")))
    traceback.print_exception(error)  # standard error is seen with PACKER_LOG=1 alone
    return f"lxcast failed, {type(error).__name__}: {error}\nhint: PACKER_LOG=1 shows where; please report it"


def main() -> None:
    """Serve Packer until it ends the connection."""
    worker = Worker()
    session = offer(LxcastPostProcessor(worker), ATTRIBUTES, sys.argv[1:])
    if session is None:
        return

    def watch() -> None:
        # Packer that is killed says nothing: the connection ends.
        session.ended.wait()
        worker.stop()

    threading.Thread(target=watch, daemon=True).start()
    worker.run()
    sys.stderr.flush()
    os._exit(0)  # threads may wait for a host that is gone
