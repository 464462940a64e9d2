"""Checks: whether Proxmox accepts a root filesystem, whether it boots, and whether it is safe to share."""

from lxcast.rootfs.checks.run import (
    CHECKS,
    POLICIES,
    SCAN_ROOTS,
    Check,
    Finding,
    Group,
    Init,
    Level,
    Subject,
    reads,
    run_checks,
    scan,
    to_error,
    validate,
)

__all__ = [
    "CHECKS",
    "POLICIES",
    "SCAN_ROOTS",
    "Check",
    "Finding",
    "Group",
    "Init",
    "Level",
    "Subject",
    "reads",
    "run_checks",
    "scan",
    "to_error",
    "validate",
]
