"""The cleanup, fit, check and package tables, as `lxcast operations` and the shell's completion show them."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from lxcast.cli.console import columns
from lxcast.rootfs.checks import CHECKS
from lxcast.rootfs.fits import FITS
from lxcast.rootfs.inventory import READERS
from lxcast.rootfs.operations import OPERATIONS
from lxcast.tar.member import TYPE_NAMES


def row_names(*, default: bool) -> list[str]:
    """Return the identifiers of the cleanup and fit rows that are on, or off, by default."""
    return [row.id for row in (*OPERATIONS, *FITS) if row.default == default]


def check_names() -> list[str]:
    """Return the identifiers of the checks."""
    return [check.id for check in CHECKS]


def operations_as_json() -> dict[str, Any]:
    """Return the tables, each row with what it declares."""
    return {"cleanup": _plain(OPERATIONS), "fit": _plain(FITS), "checks": _plain(CHECKS), "packages": _plain(READERS)}


def operations_as_text() -> str:
    """Return the tables for people: identifier, whether it runs by default, heading."""
    cleanup = [(f"  {row.id}", "on" if row.default else "off", row.heading) for row in OPERATIONS]
    fit = [(f"  {row.id}", "on" if row.default else "off", row.heading) for row in FITS]
    checks = [(f"  {check.id}", check.group, check.heading) for check in CHECKS]
    return "\n".join(
        [
            "cleanup: removes or empties files (--enable, --disable)",
            columns(cleanup),
            "fit: changes or adds files for Proxmox (--enable, --disable)",
            columns(fit),
            "checks: find what Proxmox would refuse, and what a template should not contain (--allow CHECK=REASON)",
            columns(checks),
            "packages: the package databases and files that `lxcast packages` reads (--disable)",
            columns([(f"  {row.id}", "on" if row.default else "off", row.heading) for row in READERS]),
        ]
    )


def _plain(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return what rows declare, without their functions."""
    return [
        {each.name: _text(getattr(row, each.name)) for each in fields(row) if not callable(getattr(row, each.name))}
        for row in rows
    ]


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return TYPE_NAMES[value]
    return [_text(each) for each in value] if isinstance(value, tuple) else value
