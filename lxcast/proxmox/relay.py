"""A web server as relay: the file is sent to it once, and the nodes download it from there."""

from dataclasses import dataclass

from lxcast.errors import UsageError
from lxcast.proxmox.profile import Secret

FILE = "{file}"
"""Stands for the file's name in a URL."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a file is sent to and downloaded from. Presigned URLs of an object store are passwords."""

    put_url: Secret | None
    """None if the server already has the file."""
    get_url: Secret

    @classmethod
    def of(cls, put_url: str, get_url: str) -> "Relay | None":
        """Return the relay of two settings, None if both are empty; UsageError if only `put_url` is set."""
        if put_url and not get_url:
            raise UsageError(
                "--put-url needs --get-url: the nodes must know where to download the template",
                hint="pass the URL under which the web server serves the file that --put-url sends",
            )
        return cls(Secret(put_url) if put_url else None, Secret(get_url)) if get_url else None

    def named(self, file: str) -> "Relay":
        """Return the relay for the file of that name."""
        put_url = Secret(self.put_url.reveal().replace(FILE, file)) if self.put_url else None
        return Relay(put_url, Secret(self.get_url.reveal().replace(FILE, file)))
