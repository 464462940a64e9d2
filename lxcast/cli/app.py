"""The run of one command, and the one place where an error becomes a message and an exit code."""

from collections.abc import Sequence

from lxcast.cli.command import invoke
from lxcast.cli.console import Console
from lxcast.errors import LxcastError, of_system
from lxcast.interrupt import Interrupted


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    console = Console(as_json="--json" in arguments)
    try:
        return invoke(arguments, console)
    except LxcastError as error:
        return console.fail(error, error.message, error.hint, error.exit_code)
    except Interrupted as interrupt:
        console.progress.error(f"interrupted by {interrupt}; nothing incomplete is left")
        if interrupt.hint:
            console.progress.hint(interrupt.hint)
        return interrupt.exit_code
    except OSError as error:
        console.trace(error)
        explained = of_system(error)
        return console.fail(explained, explained.message, explained.hint, explained.exit_code)
    except Exception as error:
        return console.crash(error)
    finally:
        console.close()
