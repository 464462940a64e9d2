"""How an archive is written, in addition to what it holds."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Quirks:
    """Properties of an archive that matter to Proxmox's tar; an archive that lxcast wrote has all the defaults."""

    unprefixed: int = 0
    """Members whose name lacks the "./": `--exclude './dev/*'` does not match them."""
    unexcluded: set[bytes] = field(default_factory=set)
    """Special files below dev whose name does not start with "./dev/", so that Proxmox's tar does not skip them."""
    absolute: list[bytes] = field(default_factory=list)
    """Names that begin with "/" or contain "..", as they are in the archive."""
    too_long: list[tuple[bytes, str]] = field(default_factory=list)
    """Members that Linux cannot create, each with the part that is too long."""
    repeated: list[bytes] = field(default_factory=list)
    """Paths that occur more than once: Proxmox keeps the first one (--skip-old-files)."""
    forward_links: list[bytes] = field(default_factory=list)
    """Hard links that come before their target, or lead to a directory."""
    file_name: str = ""
    compression: str = ""
    """As detected by content: "zstd", "gzip", "xz", "bzip2" or "tar"."""
    window_log: int = 0
    """Base-2 logarithm of the largest window among zstd's frames; 0 for other formats."""
    refused: list[str] = field(default_factory=list)
    """Why Proxmox would refuse the OCI image in the archive."""

    def see_window(self, log: int) -> None:
        """Record a zstd frame's window."""
        self.window_log = max(self.window_log, log)
