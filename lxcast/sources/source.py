"""The protocols that every kind of source implements."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from lxcast.incus.metadata import Metadata
from lxcast.model import ImageConfig
from lxcast.record import Origin
from lxcast.tar.member import Member
from lxcast.tar.reader import Limits


class Members(Protocol):
    """A stream of members; `before_refill` is called before bytes that were handed out are overwritten."""

    before_refill: Callable[[], None]

    def __iter__(self) -> Iterator[Member]:
        """Yield each member; it is valid until the next one is requested."""


class Source(Protocol):
    """A root filesystem that can be read, member by member."""

    @property
    def origin(self) -> Origin:
        """The source's identity, for messages and the record."""

    @property
    def config(self) -> ImageConfig | None:
        """How an image wants to be run; None without an image."""

    @property
    def rereadable(self) -> bool:
        """Whether a second reading gives the same members."""

    @property
    def size(self) -> int | None:
        """Bytes that will be read, if known."""

    @property
    def read(self) -> int:
        """Bytes read so far; a thread may count them."""

    @property
    def warnings(self) -> list[str]:
        """Warnings for the user about the source."""

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members. Raises SourceError and its children, also during the iteration."""


@runtime_checkable
class DeferredSource(Source, Protocol):
    """A source whose kind is unknown until its first bytes arrive: a remote file, standard input."""

    def resolve(self) -> Source:
        """Return the source of the kind that its content shows; this may take as long as a download.

        Raises SourceError and its children.
        """


@runtime_checkable
class Packaged(Source, Protocol):
    """A root filesystem with its builder's metadata."""

    metadata: Metadata

    def metadata_archive(self) -> bytes:
        """Return the metadata as a .tar.xz."""
