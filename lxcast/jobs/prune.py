"""Templates that nobody needs any longer: a plan with the reason for each, and its execution."""

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lxcast import durable
from lxcast.errors import ApiError, LxcastError, PinError, StorageError, UsageError
from lxcast.identifiers import stem_of
from lxcast.jobs.listing import Contents
from lxcast.jobs.pin import find_pins
from lxcast.model import DirectoryRef
from lxcast.progress import Progress, age
from lxcast.proxmox.client import Client
from lxcast.proxmox.preflight import privileges
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.entry import Entry
from lxcast.storages.proxmox import remove

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one template, and why."""

    place: Contents
    entry: Entry
    removed: bool
    """Whether it is to go."""
    reasons: tuple[str, ...]
    error: LxcastError | None = None
    """Why it could not be removed."""

    @property
    def action(self) -> str:
        """In a word: keep, remove, failed."""
        return "failed" if self.error else "remove" if self.removed else "keep"


@dataclass(frozen=True, slots=True)
class Pins:
    """The templates that pins name, by file name or NAME-vN, and where each stands."""

    named: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Pins":
        """Read pin files, HCL files, and folders of both. Raises PinError where one of them cannot be read."""
        named: dict[str, list[str]] = defaultdict(list)
        problems: list[str] = []
        for path in paths:
            if not path.exists():
                problems.append(f"{path} is not there")
                continue
            for pin in find_pins(path, problems.append, previous=True):
                named[pin.template.rpartition(":vztmpl/")[2]].append(f"{pin.file}: {pin.address}")
        if problems:
            raise PinError(
                "\n".join(problems), hint="what these files pin is not known: correct them, or name others (--pins)"
            )
        return cls(named)

    def of(self, entry: Entry) -> list[str]:
        """Return where a template is pinned."""
        names = dict.fromkeys((entry.file, f"{entry.name}-{entry.version}", stem_of(entry.file)))
        return [place for name in names for place in self.named.get(name, ())]


def parse_age(text: str) -> int:
    """Return the seconds that "90d", "12w" or "36h" name. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text, re.ASCII)
    if match is None:
        raise UsageError(f"--older-than {text!r} is no age", hint="write 90d, 12w or 36h")
    return int(match[1]) * _UNITS[match[2]]


def plan(
    places: Sequence[Contents],
    pins: Pins,
    *,
    names: Sequence[str] = (),
    keep: int | None = None,
    older_than: int | None = None,
) -> list[Verdict]:
    """Return what a prune would do with each template of a storage, node by node, or with those of `names`.

    A template goes where it is none of the `keep` newest of its name and older than `older_than` seconds. The newest
    one always stays: the next number follows from it. So does what a pin names, what a container in the storage's logs
    was made from, and what has no version. Raises UsageError where neither is said, StorageError for a name that is
    not there.
    """
    if keep is None and older_than is None:
        raise UsageError("nothing says what is to be kept", hint="--keep N, --older-than 90d, or both")
    if keep is not None and keep < 1:
        raise UsageError("--keep 0: the newest one of a name always stays", hint="`lxcast remove` removes it")
    known = {each.name for place in places for each in place.entries}
    if lacking := sorted(set(names) - known):
        raise _missing(places, f"no template {', '.join(lacking)}", known)
    return [
        _judge(place, pins, entry, rank, keep or 1, older_than)
        for place in places
        for entry, rank in _ranked(place.entries)
        if not names or entry.name in names
    ]


def _ranked(entries: Sequence[Entry]) -> Iterator[tuple[Entry, int]]:
    """Yield templates with their place from the newest of the name, 1 being that; 0 where there is no version."""
    series: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        series[_series(entry)].append(entry)
    for entry in entries:
        newer = [each for each in series[_series(entry)] if each.rank > entry.rank]
        yield entry, len(newer) + 1 if entry.version else 0


def _judge(place: Contents, pins: Pins, entry: Entry, rank: int, keep: int, older_than: int | None) -> Verdict:
    seconds = time.time() - entry.ctime
    stays = [f"pinned by {each}" for each in pins.of(entry)] + _used(place, entry)
    if not rank:
        stays.append("its name has no version")
    elif rank <= keep:
        stays.append("the newest" if rank == 1 else f"one of the {keep} newest")
    if older_than is not None and seconds <= older_than:
        stays.append(f"{age(seconds)} old")
    goes = (f"number {rank} from the newest, {age(seconds)} old",)
    return Verdict(place, entry, not stays, tuple(stays) or goes)


def plan_removal(places: Sequence[Contents], pins: Pins, templates: Sequence[str]) -> list[Verdict]:
    """Return the templates of a storage that are named, by volid or file name, as what is to go, on every node.

    Raises StorageError for one that is nowhere there, PinError for one that a pin names.
    """
    known = {each.file for place in places for each in place.entries}
    volids = {each.template_id: each.file for place in places for each in place.entries}
    if lacking := [text for text in templates if text not in known and text not in volids]:
        raise _missing(places, f"no {', '.join(lacking)}", known)
    chosen = [volids.get(text, text) for text in templates]
    found = [(place, each) for place in places for each in place.entries if each.file in chosen]
    pinned = [f"{each.file} is pinned by {where}" for _, each in found for where in pins.of(each)]
    if pinned:
        raise PinError("\n".join(dict.fromkeys(pinned)), hint="move the pin first: `lxcast promote`")
    return [Verdict(place, each, True, ("named", *_used(place, each))) for place, each in found]


def apply(verdicts: Sequence[Verdict], progress: Progress) -> list[Verdict]:
    """Remove what a plan says, and return the plan with what failed. What fails does not stop the others.

    The records stay, so that the names stay taken. Raises ApiError, before anything is removed, where the token may
    remove nothing.
    """
    targets = next((each.place.targets for each in verdicts if each.removed), None)
    with progress.step("removing templates"), ExitStack() as stack:
        client = stack.enter_context(Client(targets.profile)) if targets else None
        if client and targets:
            _require_privilege(client, targets.storage)
        return [_removed(each, client) if each.removed else each for each in verdicts]


def _removed(verdict: Verdict, client: Client | None) -> Verdict:
    place, file = verdict.place, verdict.entry.file
    try:
        if isinstance(place.ref, DirectoryRef):
            DirectoryStorage(place.ref).remove(file)
        elif client and place.targets:
            _burn(place.targets.records, file)
            remove(client, place.ref, file)
    except LxcastError as error:
        return replace(verdict, error=error)
    return verdict


def _missing(places: Sequence[Contents], what: str, known: Iterable[str]) -> StorageError:
    where = ", ".join(each.where for each in places if not each.error)
    silent = "".join(f"; {each.node} is not known: {each.error}" for each in places if each.error)
    return StorageError(f"{where}: {what}{silent}", hint=f"there are: {', '.join(sorted(known)) or 'none'}")


def _require_privilege(client: Client, storage: str) -> None:
    path = f"/storage/{storage}"
    if "Datastore.Allocate" not in privileges(client, path):
        token = client.profile.token_id
        raise ApiError(
            f"the token {token} lacks Datastore.Allocate (to remove) on {path}",
            hint='pveum role add LxcastPrune --privs "Datastore.Allocate Datastore.Audit Sys.Audit"\n'
            f"pveum acl modify {path} --tokens '{token}' --roles LxcastPrune (and the same with --users for its user)",
        )


def _burn(records: Path, file: str) -> None:
    """Take the number of a template of which this machine has no record, so that no build of it gets it again."""
    durable.make_folder(records)
    with suppress(FileExistsError):
        os.close(durable.create_exclusive(records / f"{stem_of(file)}.json"))


def _used(place: Contents, entry: Entry) -> list[str]:
    return [f"container {each}" for each in (place.uses or {}).get(entry.file, ())]


def _series(entry: Entry) -> str:
    """Return what all versions of a template's name share: variants of one name are series of their own."""
    return re.sub(rf"(?<![A-Za-z0-9]){entry.version}(?![A-Za-z0-9])", "*", stem_of(entry.file)) if entry.version else ""
