"""Tests see none of the caller's settings, credentials and switches of the interpreter."""

import os

import tests.integration.tools  # noqa: F401 - it reads LXCAST_TOOLS and LXCAST_REQUIRE_INTEGRATION before they go

for name in [*os.environ]:
    if name.startswith(("LXCAST_", "PM_", "PROXMOX_VE_", "TF_VAR_pm_")) or name == "PYTHONUNBUFFERED":
        del os.environ[name]
