"""A watch over the programs that started this one.

When Packer is told to stop it kills the shell of a shell-local post-processor with SIGKILL and goes on (os/exec's
CommandContext): what the shell started is told nothing, and would work on and publish a template that nobody waits for.
The shell's own end is no proof either, since `inline` puts a second shell between. So every program up to and with the
first that is no shell is watched.
"""

import os
import select
import signal
import threading
from pathlib import Path

_SHELLS = ("sh", "dash", "bash", "ash", "busybox", "ksh", "zsh", "env")


def end_with_parents() -> None:
    """Have SIGTERM sent to this process as soon as one of the programs that wait for it has ended."""
    if not hasattr(os, "pidfd_open"):  # Linux 5.3 and newer alone
        return
    watched = select.poll()
    for pid in waiting():
        try:
            watched.register(os.pidfd_open(pid), select.POLLIN)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_wait, args=(watched,), daemon=True).start()


def waiting() -> list[int]:
    """Return the processes that wait for this one: its parent, and on while they are shells."""
    pids, pid = [], os.getppid()
    while pid > 1:
        pids.append(pid)
        # The name stands in parentheses and may hold anything; the parent's id is the second field after it (proc(5)).
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        if name not in _SHELLS:
            break
        pid = int(rest.split()[1])
    return pids


def _wait(watched: select.poll) -> None:
    watched.poll()
    os.kill(os.getpid(), signal.SIGTERM)
