"""What a value in HCL is built from, followed through locals and variables to the literals."""

from collections.abc import Sequence
from pathlib import Path

from lxcast.references.address import below
from lxcast.references.slots import Slot

Value = tuple[Path, Slot]
"""A value and the file that it stands in."""


def find_origins(values: Sequence[Value], slot: Slot) -> list[Value]:
    """Return the literals among `values`, those of a whole configuration, that a value is built from."""
    found: list[Value] = []
    seen: set[tuple[str, ...]] = set()
    waiting = list(slot.references)
    while waiting:
        reference = waiting.pop(0)
        if reference in seen:
            continue
        seen.add(reference)
        for path, target in _referred(values, reference):
            if target.is_literal and (path, target) not in found:
                found.append((path, target))
            waiting += target.references
    return found


def resolve(values: Sequence[Value], slot: Slot, depth: int = 10) -> str | None:
    """Return what a text says with its references filled in; None where that takes more than references to texts."""
    if slot.is_literal:
        return slot.value
    whole = slot.kind == "expression" and [".".join(each) for each in slot.references] == [slot.text]
    if depth == 0 or not (whole or slot.kind == "template"):
        return None
    pieces = [part if isinstance(part, str) else _looked_up(values, part, depth) for part in slot.parts]
    return None if None in pieces else "".join(piece or "" for piece in pieces)


def _looked_up(values: Sequence[Value], reference: tuple[str, ...] | None, depth: int) -> str | None:
    for names in _places(reference) if reference else ():
        targets = [slot for _, slot in values if below(slot.path, names) == ()]
        if targets:
            return resolve(values, targets[0], depth - 1) if len(targets) == 1 else None
    return None


def _referred(values: Sequence[Value], reference: tuple[str, ...]) -> list[Value]:
    """Return the values at the longest part of a reference that is declared."""
    found: list[Value] = []
    for names in _places(reference):
        for length in range(len(names), min(len(names), 2) - 1, -1):
            there = [each for each in values if below(each[1].path, names[:length]) is not None]
            if there:
                found += there
                break
    return found


def _places(reference: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return where a reference's value may be declared, the place that wins first."""
    root, *names = reference
    if root in ("var",) and names:
        # A parameter file wins over the default.
        return (tuple(names), ("variable", names[0], "default", *names[1:]))
    if root in ("local", "data", "module"):
        return (reference,)
    return (("resource", *reference),)
