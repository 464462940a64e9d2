"""A watch over the programs that started this one.

When Packer is told to stop it kills the shell of a shell-local post-processor with SIGKILL and goes on (os/exec's
CommandContext): what the shell started is told nothing, and would work on and publish a template that nobody waits for.
The shell's own end proves nothing either, because `inline` adds a second shell. So every program up to and with the
first that is not a shell is watched.
"""

import os
import select
import signal
import threading
from contextlib import suppress
from pathlib import Path

_SHELLS = ("sh", "dash", "bash", "ash", "busybox", "ksh", "zsh", "env")


def end_with_parents() -> None:
    """Have SIGTERM sent to this process as soon as one of the programs that wait for it has ended."""
    if not hasattr(os, "pidfd_open"):  # Linux 5.3 and newer alone
        return
    watched = select.poll()
    waiting = _waiting()
    for pid in waiting:
        with suppress(ProcessLookupError):
            watched.register(os.pidfd_open(pid), select.POLLIN)
    # Asked after the watch has begun: what ended before is seen by what adopted its child.
    if waiting != _waiting() or _is_orphan(waiting[-1]):
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_wait, args=(watched,), daemon=True).start()


def _waiting() -> list[int]:
    """Return the processes that wait for this one: its parent, and on while they are shells."""
    pids = [os.getppid()]
    while pids[-1] > 1:
        # The name is in parentheses and can contain anything; the parent's id is the second field after it (proc(5)).
        try:
            status = Path(f"/proc/{pids[-1]}/stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # the second where it goes between open and read
            break
        name, _, rest = status.partition("(")[2].rpartition(")")
        if name not in _SHELLS:
            break
        pids.append(int(rest.split()[1]))
    return pids


def _is_orphan(parent: int) -> bool:
    """Whether Packer started this process and `parent` has adopted it: all that Packer starts is told its run's id."""
    run = os.environ.get("PACKER_RUN_UUID")
    if not run:
        return False
    try:
        return f"PACKER_RUN_UUID={run}" not in Path(f"/proc/{parent}/environ").read_text(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except PermissionError:
        # Another user's: sudo, which Packer may start, or init.
        return parent == 1


def _wait(watched: select.poll) -> None:
    watched.poll()
    os.kill(os.getpid(), signal.SIGTERM)
