"""Settings: what a command takes where its own options are silent."""

from lxcast.settings.load import (
    BY_NAME,
    SETTINGS,
    TARGETS,
    Setting,
    Settings,
    Value,
    convert,
    find,
    load,
    merge,
    parse,
    parse_pairs,
    parse_size,
    show,
)

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "TARGETS",
    "Setting",
    "Settings",
    "Value",
    "convert",
    "find",
    "load",
    "merge",
    "parse",
    "parse_pairs",
    "parse_size",
    "show",
]
