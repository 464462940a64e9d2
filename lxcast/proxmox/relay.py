"""A web server between: the file goes up to it once, and nodes fetch it from there."""

from dataclasses import dataclass

from lxcast.errors import UsageError
from lxcast.proxmox.profile import Secret

FILE = "{file}"
"""What stands in a URL for the file's name."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a file is put and where it is fetched, as an object store's presigned pair: both may be passwords."""

    put_url: Secret | None
    """None where the file is there already."""
    get_url: Secret

    @classmethod
    def of(cls, put_url: str, get_url: str) -> "Relay | None":
        """Return the relay of two settings, None where they are empty; UsageError where nothing could be fetched."""
        if put_url and not get_url:
            raise UsageError(
                "--put-url without --get-url: no node would know where to fetch the template",
                hint="name the URL, too, under which the web server gives out what was put",
            )
        return cls(Secret(put_url) if put_url else None, Secret(get_url)) if get_url else None

    def named(self, file: str) -> "Relay":
        """Return the relay of the file of that name."""
        put_url = Secret(self.put_url.reveal().replace(FILE, file)) if self.put_url else None
        return Relay(put_url, Secret(self.get_url.reveal().replace(FILE, file)))
