"""How an archive is written, beside what it holds."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Quirks:
    """What Proxmox's tar minds in the way an archive is written; what lxcast writes leaves all at the defaults."""

    unprefixed: int = 0
    """Members whose name lacks the "./" (then `--exclude './dev/*'` does not reach them)."""
    absolute: list[bytes] = field(default_factory=list)
    """Names that begin with "/" or hold "..", as they stand in the archive."""
    too_long: list[tuple[bytes, str]] = field(default_factory=list)
    """Members that no Linux makes, each with what is too long."""
    repeated: list[bytes] = field(default_factory=list)
    """Paths that stand more than once: the first one wins there (--skip-old-files)."""
    forward_links: list[bytes] = field(default_factory=list)
    """Hard links that come before their target, or lead to a folder."""
    file_name: str = ""
    compression: str = ""
    """As found by content: "zstd", "gzip", "xz", "bzip2" or "tar"."""
    window_log: int = 0
    """Of the largest window of zstd's frames; 0 for other formats."""
    refused: list[str] = field(default_factory=list)
    """Why Proxmox would not take the OCI image that it holds."""

    def see_window(self, log: int) -> None:
        """Take note of a zstd frame's window."""
        self.window_log = max(self.window_log, log)
