"""Templates that are no longer needed: a plan with the reason for each, and its execution."""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lxcast.errors import LxcastError, PinError, StorageError, UsageError, join_problems
from lxcast.progress import Progress, age
from lxcast.references.scan import Found, matches
from lxcast.references.search import find_pins
from lxcast.storages.storage import Listing, Storage, StoredTemplate

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one template, and why."""

    template: StoredTemplate
    removes: bool
    """Whether it is to be removed."""
    reasons: tuple[str, ...]
    error: LxcastError | None = None
    """Why it could not be removed."""

    @property
    def action(self) -> str:
        """In a word: keep, remove, failed."""
        return "failed" if self.error else "remove" if self.removes else "keep"


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of a tree, exact ones and those that may name several templates."""

    found: Sequence[Found] = ()

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Pins":
        """Read pin files, configurations, and directories of both. Raises PinError if one of them cannot be read."""
        found: list[Found] = []
        problems: list[str] = []
        for path in paths:
            try:
                path.stat()
            except OSError as error:
                problems.append(f"{path}: {error.strerror}")
            else:
                found += find_pins(path, problems.append, previous=True)
        if problems:
            raise PinError(
                join_problems(problems),
                hint="the pins in these files are unknown: correct the files, or name others (--pins)",
            )
        return cls(found)

    def of(self, template: StoredTemplate) -> list[str]:
        """Return why pins keep a template."""
        reasons = [
            f"pinned by {pin.file}: {pin.address}"
            if pin.is_exact
            else f"may be pinned by {pin.file}:{pin.line}: {pin.address} ({pin.template})"
            for pin in self.found
            if matches(pin, template.file, template.name, template.version)
        ]
        return list(dict.fromkeys(reasons))


def parse_age(text: str) -> int:
    """Parse "90d", "12w" or "36h" into seconds. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text, re.ASCII)
    if match is None:
        raise UsageError(f"--older-than {text!r}: invalid age", hint="use 90d, 12w or 36h")
    return int(match[1]) * _UNITS[match[2]]


def plan(
    listing: Listing,
    pins: Pins,
    *,
    names: Sequence[str] = (),
    keep: int | None = None,
    older_than: int | None = None,
) -> list[Decision]:
    """Return what a prune would do with each template of a storage, node by node, or with those of `names`.

    A template is removed if it is not among the `keep` newest of its name and older than `older_than` seconds. The
    newest one is always kept: the next number follows from it. Templates that a pin names, that a container was made
    from, or that have no version are kept too. Raises UsageError if neither limit is set, StorageError for an unknown
    name.
    """
    if keep is None and older_than is None:
        raise UsageError("no rule for what to keep", hint="--keep N, --older-than 90d, or both")
    if keep is not None and keep < 1:
        raise UsageError("--keep 0: the newest version of a name is always kept", hint="use `lxcast remove` for it")
    known = {each.name for each in listing.templates}
    if missing := sorted(set(names) - known):
        raise _missing(listing, f"template {', '.join(missing)} not found", known)
    return [
        _decide(template, pins, position, keep or 1, older_than)
        for template, position in _ranked(listing.templates)
        if not names or template.name in names
    ]


def _ranked(templates: Sequence[StoredTemplate]) -> Iterator[tuple[StoredTemplate, int]]:
    """Yield templates with their position on their node, 1 for the newest of a series; 0 without a version."""
    ranks: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for each in templates:
        ranks[each.node, each.series].append(each.rank)
    for each in templates:
        newer = [rank for rank in ranks[each.node, each.series] if rank > each.rank]
        yield each, len(newer) + 1 if each.version else 0


def _decide(template: StoredTemplate, pins: Pins, position: int, keep: int, older_than: int | None) -> Decision:
    seconds = time.time() - template.ctime
    kept = pins.of(template) + _used(template)
    if not position:
        kept.append("its name has no version")
    elif position <= keep:
        kept.append("the newest" if position == 1 else f"one of the {keep} newest")
    if older_than is not None and seconds <= older_than:
        kept.append(f"{age(seconds)} old")
    removed = (f"number {position} from the newest, {age(seconds)} old",)
    return Decision(template, not kept, tuple(kept) or removed)


def plan_removal(listing: Listing, pins: Pins, names: Sequence[str]) -> list[Decision]:
    """Return the decision to remove the templates that are named, by volid or file name, on every node.

    Raises StorageError for one that no node has, PinError for one that a pin names.
    """
    files = {each.file for each in listing.templates}
    volids = {each.template_id: each.file for each in listing.templates}
    if missing := [name for name in names if name not in files and name not in volids]:
        raise _missing(listing, f"{', '.join(missing)} not found", files)
    chosen = {volids.get(name, name) for name in names}
    found = [each for each in listing.templates if each.file in chosen]
    pinned = [f"{each.file} is {reason}" for each in found for reason in pins.of(each)]
    if pinned:
        raise PinError("\n".join(dict.fromkeys(pinned)), hint="move the pin first: `lxcast promote`")
    return [Decision(each, True, ("named", *_used(each))) for each in found]


def apply(decisions: Sequence[Decision], storage: Storage, progress: Progress) -> list[Decision]:
    """Remove what a plan decides, and return the plan with the failures. A failure does not stop the others.

    The records stay, so that the names stay taken. Raises ApiError, before anything is removed, if the user may not
    remove templates.
    """
    with progress.step("removing templates"):
        if any(each.removes for each in decisions):
            storage.prepare_removal()
        return [_remove(each, storage) if each.removes else each for each in decisions]


def _remove(decision: Decision, storage: Storage) -> Decision:
    try:
        storage.remove(decision.template)
    except LxcastError as error:
        return replace(decision, error=error)
    return decision


def _missing(listing: Listing, what: str, known: Iterable[str]) -> StorageError:
    silent = "".join(f"; {node} did not answer: {error}" for node, error in listing.failures.items())
    return StorageError(f"{listing.location}: {what}{silent}", hint=f"available: {', '.join(sorted(known)) or 'none'}")


def _used(template: StoredTemplate) -> list[str]:
    return [f"container {each}" for each in template.containers or ()]
