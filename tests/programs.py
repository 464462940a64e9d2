"""What tests may start: a program that scripts/setup-integration does not install is missing on a new machine."""

import os
import shutil
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from tests.integration.tools import REPOSITORY

NOT_IN_DEBIAN = frozenset({"terraform"})
"""Used on a machine that has it; where it is missing, tofu runs the same tests."""
SYSTEM = tuple(Path(name) for name in ("/bin", "/sbin", "/usr", "/lib"))


def test_programs() -> dict[str, tuple[str, ...]]:
    """Return each Debian package that scripts/setup-integration installs for the tests, with the programs in use."""
    loader = SourceFileLoader("setup_integration", str(REPOSITORY / "scripts" / "setup-integration"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclasses look their module up
    loader.exec_module(module)
    programs: dict[str, tuple[str, ...]] = module.TEST_PROGRAMS
    return programs


class UndeclaredProgram(BaseException):
    """A test starts a program of the system that is not declared; no handler of errors under test may catch it."""


def refuse_undeclared() -> None:
    """Raise UndeclaredProgram in each place from which the tests start an undeclared program of the system."""
    declared = NOT_IN_DEBIAN.union(*test_programs().values())

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "subprocess.Popen":
            return
        found = shutil.which(os.fsdecode(arguments[0]))
        if found is None or Path(found).name in declared:
            return
        # What the tests or the environment made is in neither of these; a Python may be in /usr.
        is_system = any(Path(found).is_relative_to(directory) for directory in SYSTEM)
        if is_system and not Path(found).samefile(sys.executable):
            raise UndeclaredProgram(f"{found}: add it with its package to TEST_PROGRAMS in scripts/setup-integration")

    sys.addaudithook(check)
