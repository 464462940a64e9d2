"""Tests see none of the caller's settings, credentials and switches of the interpreter, nor the make around them."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# Imported first: it reads LXCAST_TOOLS and LXCAST_REQUIRE_INTEGRATION, which go below.
from tests.integration.tools import REPOSITORY

_NOT_THEIRS = ("LXCAST_", "PM_", "PROXMOX_VE_", "TF_VAR_pm_", "MAKE", "MFLAGS", "PYTHONUNBUFFERED")

for name in [*os.environ]:
    if name.startswith(_NOT_THEIRS):
        del os.environ[name]

# CI tries the same examples each time, so that a failure is the change's own; elsewhere each run tries new ones. How
# long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("new examples", deadline=None)
hypothesis.settings.register_profile("same examples", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("same examples" if os.environ.get("CI") else "new examples")


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH: what `pip install` makes of the console scripts, with the code of this tree."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("lxcast", "lxcast"), ("lxcast-data", "terraform_ext"), ("lxcast-packer", "packer_post")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(0o755)
    return folder
