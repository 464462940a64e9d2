"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members."""

from lxcast.sources.open import (
    Archive,
    CheckInput,
    DeferredSource,
    Members,
    Packaged,
    Source,
    is_url,
    open_file,
    open_for_check,
    open_source,
    without_secrets,
)

__all__ = [
    "Archive",
    "CheckInput",
    "DeferredSource",
    "Members",
    "Packaged",
    "Source",
    "is_url",
    "open_file",
    "open_for_check",
    "open_source",
    "without_secrets",
]
