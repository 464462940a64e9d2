"""What a build says, shown by Packer: lines, a bar while bytes of a known number are read, lines for machines."""

import io
from collections.abc import Callable
from queue import SimpleQueue

from lxcast.progress import NORMAL, Lines, Step, safe
from packer_post.protocol.rpc import Client

Said = Callable[[Client], object]
"""One thing said, as the calls that say it."""

_ADD = (
    1 << 20
)  # bytes: Packer makes room for as many as one Add tells of (packer-plugin-sdk, rpc/ui_progress_tracking.go)


class PackerSink:
    """A sink of lxcast.progress. The work speaks, and `show` says it to Packer in another thread, however slow that is.

    So an interrupt of the work never comes in the midst of a call.
    """

    def __init__(self) -> None:
        self._said: SimpleQueue[Said | None] = SimpleQueue()
        self._lines = Lines(_Lines(lambda line: self._call("Ui.Say", line)), NORMAL)
        self._bar: _Bar | None = None

    def show(self, host: Client) -> None:
        """Show the messages until `close`."""
        while (said := self._said.get()) is not None:
            said(host)

    def line(self, kind: str, text: str) -> None:
        """Show a text; Packer writes what is wrong to standard error."""
        if kind in ("warning", "error"):
            self._call("Ui.Error", f"lxcast: {kind}: {safe(text)}")
        elif kind != "debug":
            self._lines.line(kind, text)

    def began(self, step: Step) -> None:
        """Name the step."""
        self._lines.began(step)

    def moved(self, step: Step, now: float) -> None:
        """Move the bar, or tell every ten seconds how far the step is: where Packer has no terminal it shows no bar."""
        self._lines.moved(step, now)
        if step.total and self._bar is None:
            self._bar = _Bar(step.name, step.total)
        if self._bar:
            self._said.put(self._bar.moved(step.done))

    def ended(self, step: Step, now: float) -> None:
        """Take the bar away and tell how long the step took."""
        if self._bar:
            self._said.put(self._bar.ended)
            self._bar = None
        self._lines.ended(step, now)

    def machine(self, category: str, *arguments: str) -> None:
        """Say a line of `packer build -machine-readable`."""
        self._call("Ui.Machine", {"Category": category, "Args": list(arguments)})

    def close(self) -> None:
        """Let `show` end."""
        self._said.put(None)

    def _call(self, method: str, argument: object) -> None:
        self._said.put(lambda host: host.call(method, argument))


class _Bar:
    """One of Packer's progress trackers; its number is known when Packer has answered the first call."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._id = ""
        self._shown = 0

    def moved(self, done: int) -> Said:
        def say(host: Client) -> None:
            if not self._id:
                begin = {"Src": self._name, "CurrentSize": 0, "TotalSize": self._total}
                self._id = str(host.call("Ui.NewTrackProgress", begin))
            while self._shown < done:
                step = min(done - self._shown, _ADD)
                host.call(f"Ui{self._id}.Add", step)
                self._shown += step

        return say

    def ended(self, host: Client) -> None:
        if self._id:
            host.call(f"Ui{self._id}.Close")


class _Lines(io.StringIO):
    """A text file whose writes are lines said."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def write(self, text: str, /) -> int:
        self._say(text.rstrip("\n"))
        return len(text)
