"""Settings: one table, read once from file, environment and caller, passed on as frozen dataclasses."""

from lxcast.settings.load import Settings, convert_all, load, merge, read_environment
from lxcast.settings.options import (
    BuildOptions,
    CheckOptions,
    ContentOptions,
    EvidenceOptions,
    NamingOptions,
    OutputOptions,
    SourceOptions,
    StorageOptions,
    build_options,
    checksum_problems,
    make_build_options,
    make_settings,
    select,
    storage_options,
)
from lxcast.settings.table import BY_NAME, SETTINGS, Setting, Value, in_groups
from lxcast.settings.values import convert, did_you_mean, parse, parse_size, parse_words, show

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "BuildOptions",
    "CheckOptions",
    "ContentOptions",
    "EvidenceOptions",
    "NamingOptions",
    "OutputOptions",
    "Setting",
    "Settings",
    "SourceOptions",
    "StorageOptions",
    "Value",
    "build_options",
    "checksum_problems",
    "convert",
    "convert_all",
    "did_you_mean",
    "in_groups",
    "load",
    "make_build_options",
    "make_settings",
    "merge",
    "parse",
    "parse_size",
    "parse_words",
    "read_environment",
    "select",
    "show",
    "storage_options",
]
