"""Sources: opens what a root filesystem is read from, by name or content, as a stream of members."""

from lxcast.sources.archive import Archive, open_file
from lxcast.sources.open import CheckInput, is_prefixed, is_url, open_for_check, open_source, without_secrets
from lxcast.sources.source import DeferredSource, Members, Packaged, Source

__all__ = [
    "Archive",
    "CheckInput",
    "DeferredSource",
    "Members",
    "Packaged",
    "Source",
    "is_prefixed",
    "is_url",
    "open_file",
    "open_for_check",
    "open_source",
    "without_secrets",
]
