"""Addresses of values in HCL: names joined by dots, as Terraform writes references.

A name with more than letters, digits, "_" and "-" is written as ["NAME"], an element of a list as [N], and so is one
of several blocks with the same header: `module.web.disk[1].size`. An address starts with a block's type and labels;
in files that set variables, with the variable's name.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import UsageError

_NAME = r"[^\W\d][\w-]*"
_PART = re.compile(r'(?P<dot>\.)?(?:(?P<name>[\w-]+)|\[(?P<number>\d+)\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\])')


@dataclass(frozen=True, slots=True)
class Nth:
    """Which of the blocks with one header in one body, from 0; an address may leave it out."""

    number: int
    shown: bool
    """Whether there is more than one."""


Step = str | int | Nth
"""A name (block type, label, attribute, key), an index in a list, or which block."""


def parse_address(text: str) -> tuple[str, ...]:
    """Return the names and numbers of an address, numbers as strings; UsageError says where it is invalid."""
    parts: list[str] = []
    position = 0
    while position < len(text) or not parts:
        match = _PART.match(text, position)
        bracket = match is not None and match["name"] is None
        if match is None or bool(match["dot"]) != (bool(parts) and not bracket):
            raise UsageError(
                f"the address {text!r} is invalid from character {position + 1} on",
                hint='write it as local.lxc_rootfs_version, module.web.template, disks[0].size or local.ids["a.b"]',
            )
        parts.append(_unquoted(match["quoted"], text) if match["quoted"] else match["name"] or match["number"])
        position = match.end()
    return tuple(parts)


def _unquoted(quoted: str, text: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise UsageError(f"the address {text!r}: invalid quoted name {quoted}", hint="quote it as in JSON") from error


def show_address(path: Sequence[Step]) -> str:
    """Print a path as an address."""
    text = ""
    for step in path:
        if isinstance(step, Nth):
            text += f"[{step.number}]" if step.shown else ""
        elif isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(_NAME, step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def below(path: Sequence[Step], names: Sequence[str]) -> Sequence[Step] | None:
    """Return the part of a path behind the names, None if it does not start with them."""
    if not names:
        return path
    if not path:
        return None
    head, rest = path[0], path[1:]
    if isinstance(head, Nth):
        taken = below(rest, names[1:]) if names[0] == str(head.number) else None
        return below(rest, names) if taken is None else taken
    return below(rest, names[1:]) if str(head) == names[0] else None


def split_target(text: str) -> tuple[Path, str]:
    """Split FILE or FILE:ADDRESS; a colon may be part of the name of an existing file."""
    if Path(text).is_file():
        return Path(text), ""
    colons = [match.start() for match in re.finditer(":", text)]
    split = next((at for at in colons if Path(text[:at]).is_file()), colons[0] if colons else len(text))
    return Path(text[:split]), text[split + 1 :]
