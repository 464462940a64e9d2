"""What every kind of source is to those who read it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from lxcast.incus.metadata import Metadata
from lxcast.model import ImageConfig
from lxcast.record import Origin
from lxcast.tar.member import Member
from lxcast.tar.reader import Limits


class Members(Protocol):
    """A stream of members; `before_refill` is called before handed out bytes are overwritten."""

    before_refill: Callable[[], None]

    def __iter__(self) -> Iterator[Member]:
        """Yield each member; it is valid until the next one is asked for."""


class Source(Protocol):
    """A root filesystem that can be read, member by member."""

    @property
    def origin(self) -> Origin:
        """What it is, for messages and the record."""

    @property
    def config(self) -> ImageConfig | None:
        """What an image says about running it; None where nothing is said."""

    @property
    def rereadable(self) -> bool:
        """Whether a second reading gives the same members."""

    @property
    def size(self) -> int | None:
        """Bytes that will be read, where that is known."""

    @property
    def read(self) -> int:
        """Bytes that were read so far; a thread may count them."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know about it."""

    def members(self, limits: Limits | None = None) -> AbstractContextManager[Members]:
        """Open it and yield its members. Raises SourceError and its children, also while they are iterated."""


@runtime_checkable
class DeferredSource(Source, Protocol):
    """What has to be waited for before it is known what it is: a remote file, standard input."""

    def resolve(self) -> Source:
        """Return what it is, told by its content; it may take as long as a download.

        Raises SourceError and its children.
        """


@runtime_checkable
class Packaged(Source, Protocol):
    """A root filesystem with its builder's metadata."""

    metadata: Metadata

    def metadata_archive(self) -> bytes:
        """Return the metadata as a .tar.xz."""
