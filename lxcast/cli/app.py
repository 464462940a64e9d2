"""The run of one command, and the one place where what goes wrong becomes a message and an exit code."""

from collections.abc import Sequence
from importlib import import_module

from lxcast.cli.command import invoke
from lxcast.cli.console import Console
from lxcast.errors import LxcastError
from lxcast.interrupt import Interrupted

COMMANDS = {
    "build": "build",
    "check": "judge",
    "diff": "judge",
    "repack": "repack",
    "publish": "publish",
    "doctor": "publish",
    "list": "look",
    "prune": "prune",
    "remove": "prune",
    "create": "create",
    "destroy": "destroy",
    "promote": "promote",
    "rollback": "rollback",
    "pin": "pin",
    "cache": "cache",
    "operations": "look",
    "settings": "look",
    "init": "init",
    "packer": "packer",
}
"""Each command or group, with the module whose import declares it."""

_FLAGS = {"-q", "--quiet", "-v", "--verbose", "--debug"}


def declare(arguments: Sequence[str] = ()) -> None:
    """Declare the command that the arguments name, every one where they do not plainly name one.

    A command that is not asked for would cost the start of the one that is.
    """
    name = next((each for each in arguments if each not in _FLAGS), "")
    for module in {COMMANDS[name]} if name in COMMANDS else dict.fromkeys(COMMANDS.values()):
        import_module(f"lxcast.cli.{module}")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    console = Console(as_json="--json" in arguments)
    try:
        declare(arguments)
        return invoke(arguments, console)
    except LxcastError as error:
        return console.fail(error, error.message, error.hint, error.exit_code)
    except Interrupted as interrupt:
        console.progress.error(f"interrupted by {interrupt}; nothing half-made is left")
        if interrupt.hint:
            console.progress.hint(interrupt.hint)
        return interrupt.exit_code
    except Exception as error:
        return console.crash(error)
    finally:
        console.close()
