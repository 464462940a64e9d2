"""Where a build's template goes: a folder, or a Proxmox storage by way of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lxcast.durable import Temporary
from lxcast.model import FORMATS, DirectoryRef, parse_storage
from lxcast.naming import Naming
from lxcast.progress import Progress
from lxcast.record import Record
from lxcast.settings import BY_NAME, BuildOptions, in_groups
from lxcast.storages.directory import Claim, DirectoryStorage

if TYPE_CHECKING:
    from lxcast.storages.publication import Upload


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a template is written to; with `upload` it is sent on, and the folder holds records and claims."""

    folder: DirectoryStorage
    upload: "Upload | None" = None

    @classmethod
    def of(cls, options: BuildOptions) -> "Place":
        """Return the place that a build's options name; nothing is asked or made yet. Raises UsageError."""
        if options.directory is not None:
            return cls(DirectoryStorage.plain(options.directory))
        text = options.storage.storage
        if text.startswith("proxmox:"):
            from lxcast.storages.publication import Upload
            from lxcast.storages.targets import find_targets

            upload = Upload.to(find_targets(options.storage))
            return cls(upload.folder, upload)
        ref = parse_storage(text)
        assert isinstance(ref, DirectoryRef)
        return cls(DirectoryStorage(ref))

    @property
    def id(self) -> str:
        """The id that the template's volid will carry, "" outside of a storage."""
        return self.upload.targets.storage if self.upload else self.folder.id

    @property
    def listing(self) -> "DirectoryStorage | Upload":
        """What knows the templates that are there."""
        return self.upload or self.folder

    def path(self, record: Record) -> Path | None:
        """Return where a template lies on this machine; None where it is on a Proxmox storage."""
        return None if self.upload else self.folder.folder / record.file

    def warn_of_unused(self, options: BuildOptions, progress: Progress) -> None:
        """Tell which options a folder has no use for."""
        given = [name for name in in_groups("nodes", "delivery") if getattr(options.storage, name)]
        if given and not self.upload:
            unused = ", ".join(BY_NAME[name].option for name in given)
            progress.warn(f"{unused}: ignored, because {options.directory or options.storage.storage} is a directory")

    def prepare(self, format: str, progress: Progress) -> None:
        """See that a template of that format can be put there. Raises ApiError and StorageError."""
        if self.upload:
            self.upload.prepare(FORMATS[format].suffix, progress)
        self.folder.prepare()

    def put(
        self,
        file: Temporary,
        template: Naming,
        claim: Claim,
        record: Record,
        beside: Mapping[str, bytes],
        progress: Progress,
        *,
        renumber: bool,
    ) -> tuple[Record, bool]:
        """Publish a finished file under the claimed name; return its record, and whether it was there before.

        `beside` are further files of a plain folder, by their suffixes. Where another upload has taken the name and
        `renumber` is set, the next number is claimed. Raises ConflictError, StorageError and ApiError.
        """
        if self.upload:
            renumber = renumber and claim.version is not None  # a name without a number has no next one
            return self.upload.put(file, template, claim, record, progress, renumber=renumber)
        return self.folder.put(file, claim, record, beside), claim.taken
