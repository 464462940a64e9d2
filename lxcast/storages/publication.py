"""The end of a build whose template goes to a Proxmox storage: numbers, records, and what is kept of a failure."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lxcast import durable
from lxcast.errors import ConflictError, LxcastError, StorageError
from lxcast.identifiers import stem_of
from lxcast.interrupt import Interrupted
from lxcast.jobs.publish import read_record, send, write_record
from lxcast.model import FORMATS, Version, Volid
from lxcast.naming import Naming, another
from lxcast.progress import Progress
from lxcast.proxmox.client import Client, File, stamp
from lxcast.proxmox.preflight import Preflight
from lxcast.record import Record
from lxcast.storages.directory import Claim, DirectoryStorage
from lxcast.storages.proxmox import ProxmoxStorage
from lxcast.storages.targets import Targets, look


@dataclass(slots=True)
class Upload:
    """Where a build's template goes; `folder` holds records and claims, and the template while it is written."""

    targets: Targets
    folder: DirectoryStorage
    found: Sequence[Preflight] = ()
    everywhere: set[tuple[str, int]] = field(default_factory=set)
    """The names, and their bytes, that every target lists."""

    @classmethod
    def to(cls, targets: Targets) -> "Upload":
        """Return the upload to these targets."""
        return cls(targets, DirectoryStorage.plain(targets.records))

    def prepare(self, suffix: str, progress: Progress) -> None:
        """Look at the targets and their listings before any work. Raises ApiError and StorageError."""
        self.found = look(self.targets, progress, suffix=suffix)
        durable.make_folder(self.targets.records)
        self.refresh()

    def refresh(self) -> None:
        """Take note of the names that any target lists: their numbers are taken."""
        with Client(self.targets.profile) as client:
            wells = [each for each in self.found if not each.errors]
            listings = [{each.file: each.size for each in ProxmoxStorage(client, well).entries()} for well in wells]
        self.folder.elsewhere = {file: size for listing in listings for file, size in listing.items()}
        self.everywhere = set.intersection(*(set(listing.items()) for listing in listings)) if listings else set()

    def newest(self, template: Naming) -> Record | None:
        """Return the record of the newest version that is listed; None where this machine has none of it.

        Where a target lacks it, it is none either.
        """
        series = template.series()
        names = {}
        for file in self.folder.elsewhere:
            if match := series.fullmatch(stem_of(file)):
                version = match.groupdict().get("version")
                names[Version.parse(version).number if version else 0, file] = file
        if not names:
            return None
        record = self._record(names[max(names)])
        return record if record and record.name == template.name else None

    def records(self) -> list[Record]:
        """Return this machine's records of what the storage lists, as they say; one that cannot be read is none."""
        found = []
        for file in self.folder.elsewhere:
            with suppress(StorageError):
                found.append(self._record(file))
        return [each for each in found if each]

    def _record(self, file: str) -> Record | None:
        record = read_record(self.targets.records, file)
        volid = f"{self.targets.storage}:vztmpl/{file}"
        known = record and record.template_id == volid and (file, record.size) in self.everywhere
        return record if known else None

    def put(
        self,
        file: durable.Temporary,
        template: Naming,
        claim: Claim,
        record: Record,
        progress: Progress,
        *,
        renumber: bool,
    ) -> tuple[Record, bool]:
        """Publish under the claimed name; return the record, and whether the storage had these bytes already.

        Where the name is found taken and `renumber` is set, the next number is claimed in its place. A failure or an
        interrupt leaves the template beside the records, and its hint has the command that goes on from there.
        """
        while True:
            name = claim.stem + FORMATS[record.format].suffix
            own = replace(record, version=str(claim.version or ""), file=name)
            sent = File(file.path, name, record.size, record.sha256, stamp(file.fileno()))
            try:
                volid = str(Volid.make(self.targets.storage, name))
                published = send(sent, own, volid, self.targets, self.found, progress)
                if failure := published.error:
                    # The same build again would be another version: what is kept completes the rest.
                    failure.hint = "" if any(each.put for each in published.outcomes) else failure.hint
                    raise failure
            except ConflictError as error:
                if not renumber:
                    self._keep(file, claim, own, error)
                    raise
                self.folder.discard(claim)
                self.refresh()
                claim = self.folder.claim(template)
                progress.say(f"{volid} was taken meanwhile: publishing as {claim.stem}")
            except BaseException as error:
                self._keep(file, claim, own, error)
                raise
            else:
                self.folder.burn(claim)  # its record has its content now
                return published.record or own, all(each.state == "present" for each in published.outcomes)

    def _keep(self, file: durable.Temporary, claim: Claim, record: Record, error: BaseException) -> None:
        """Leave the template beside the records, and let the error say how to go on."""
        kept = ""
        with suppress(LxcastError):
            noted = read_record(self.targets.records, record.file)  # where some nodes have it
            kept = str(self.folder.folder / self.folder.put(file, claim, record).file)
            if noted:
                write_record(self.targets.records, noted)
        if isinstance(error, ConflictError):  # what is kept would find its name taken again
            onward = another(record.version) + (f"; what was built is kept: {kept}" if kept else "")
        else:
            onward = f"the template is kept: lxcast publish {shlex.quote(kept)} {self.targets.words}" if kept else ""
        if isinstance(error, LxcastError | Interrupted):
            error.hint = f"{error.hint}\n{onward}".strip()
