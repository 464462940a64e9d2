"""Addresses of values in HCL: names joined by dots, as Terraform writes references.

A name that holds more than letters, digits, "_" and "-" stands as ["NAME"], an element of a list as [N], and so does
one of several blocks of the same header: `module.web.disk[1].size`. The parameter files of Packer and Terraform name
their variables at the top; a block's type and labels come first elsewhere.
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
    """Which of the blocks of one header in one body is meant, from 0; an address may leave it out."""

    number: int
    shown: bool
    """There is more than one."""


Step = str | int | Nth
"""A name (block type, label, attribute, key), an index in a list, or which block."""


def parse_address(text: str) -> tuple[str, ...]:
    """Return the names and numbers of an address, the numbers as text; UsageError says where it cannot be read."""
    parts: list[str] = []
    position = 0
    while position < len(text) or not parts:
        match = _PART.match(text, position)
        bracket = match is not None and match["name"] is None
        if match is None or bool(match["dot"]) != (bool(parts) and not bracket):
            raise UsageError(
                f"the address {text!r} cannot be read from character {position + 1} on",
                hint='write it as local.lxc_rootfs_version, module.web.template, disks[0].size or local.ids["a.b"]',
            )
        parts.append(_unquoted(match["quoted"], text) if match["quoted"] else match["name"] or match["number"])
        position = match.end()
    return tuple(parts)


def _unquoted(quoted: str, text: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise UsageError(f"the address {text!r}: {quoted} is no quoted name", hint="quote it as JSON does") from error


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
    """Return what of a path comes after the names, None where it does not begin with them."""
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
    """Split FILE or FILE:ADDRESS; a colon may be part of the file's name where that file is there."""
    if Path(text).is_file():
        return Path(text), ""
    colons = [match.start() for match in re.finditer(":", text)]
    split = next((at for at in colons if Path(text[:at]).is_file()), colons[0] if colons else len(text))
    return Path(text[:split]), text[split + 1 :]
