"""Sources: whatever a root filesystem is read from, told by name or content, opened as a stream of members."""

from lxcast.sources.open import (
    Archive,
    Coming,
    Members,
    Packaged,
    Source,
    Standing,
    is_url,
    open_file,
    open_source,
    open_standing,
    shown,
)

__all__ = [
    "Archive",
    "Coming",
    "Members",
    "Packaged",
    "Source",
    "Standing",
    "is_url",
    "open_file",
    "open_source",
    "open_standing",
    "shown",
]
