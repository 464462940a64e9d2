"""The types of the Python API for type checkers: `lxcast/__init__.py` imports it when it is first used."""

from lxcast.api import ApiError as ApiError
from lxcast.api import ArchiveError as ArchiveError
from lxcast.api import Built as Built
from lxcast.api import CheckError as CheckError
from lxcast.api import CheckReport as CheckReport
from lxcast.api import ConflictError as ConflictError
from lxcast.api import Difference as Difference
from lxcast.api import EngineError as EngineError
from lxcast.api import Listing as Listing
from lxcast.api import LxcastError as LxcastError
from lxcast.api import Move as Move
from lxcast.api import PinError as PinError
from lxcast.api import Progress as Progress
from lxcast.api import Publication as Publication
from lxcast.api import Record as Record
from lxcast.api import Source as Source
from lxcast.api import SourceError as SourceError
from lxcast.api import StorageError as StorageError
from lxcast.api import UnprovenError as UnprovenError
from lxcast.api import UsageError as UsageError
from lxcast.api import build as build
from lxcast.api import check as check
from lxcast.api import diff as diff
from lxcast.api import list as list  # noqa: A004 - the command's name
from lxcast.api import open_source as open_source
from lxcast.api import promote as promote
from lxcast.api import publish as publish

__version__: str

__all__ = [
    "ApiError",
    "ArchiveError",
    "Built",
    "CheckError",
    "CheckReport",
    "ConflictError",
    "Difference",
    "EngineError",
    "Listing",
    "LxcastError",
    "Move",
    "PinError",
    "Progress",
    "Publication",
    "Record",
    "Source",
    "SourceError",
    "StorageError",
    "UnprovenError",
    "UsageError",
    "build",
    "check",
    "diff",
    "list",
    "open_source",
    "promote",
    "publish",
]
