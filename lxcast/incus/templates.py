"""The templates of an Incus image: files that are written when a container is made of it.

What Proxmox writes by itself is left to Proxmox. Those expressions of the template language (pongo2) are rendered whose
value the image itself tells; a template that asks for more, such as the container's name, is left out and told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any

from lxcast.incus.metadata import Metadata

# Written at every start or create by Proxmox's set-up of the distributions (PVE/LXC/Setup/*.pm).
_PROXMOX_WRITES = (
    *("etc/hostname", "etc/HOSTNAME", "etc/hosts", "etc/resolv.conf", "etc/machine-id", "etc/timezone"),
    *("etc/network/interfaces", "etc/sysconfig/network", "etc/sysconfig/network/ifcfg-*", "etc/conf.d/hostname"),
    *("etc/sysconfig/network-scripts/ifcfg-*", "etc/conf.d/net", "etc/netplan/*", "etc/systemd/network/*"),
)
_MOST = 64 * 1024
_MOST_OF_A_VALUE = 4096
_TRIGGERS = {"create", "start"}
_EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_LITERAL = r'"([^"\\]*)"|\'([^\'\\]*)\''
_VALUE = re.compile(rf"{_LITERAL}|(properties|image)(?:\.(\w+)|\[\"([^\"]+)\"\])|(path|trigger)")
_CONFIG_GET = re.compile(rf"config_get\(\s*(?:{_LITERAL})\s*,\s*(.+?)\s*\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file that a template makes: `path` as `Member.path`."""

    path: bytes
    content: bytes


def render(metadata: Metadata) -> tuple[list[Rendered], list[str]]:
    """Return the files that an image's templates make, by path, and a sentence for each one that was left out."""
    said = metadata.values.get("templates")
    rendered: list[Rendered] = []
    left_out = []
    room = _MOST
    for target, row in sorted(said.items() if isinstance(said, dict) else ()):
        path = normpath(f"/{target}").lstrip("/")
        if any(fnmatchcase(path, pattern) for pattern in _PROXMOX_WRITES):
            continue
        try:
            if not isinstance(row, dict) or not re.fullmatch(r"[\w.@+:/ -]+", path):
                raise ValueError("it is malformed")
            if not _TRIGGERS & set(map(str, row.get("when") or ())):
                continue
            content = _render(metadata, target, row).encode()
            if len(content) > room:
                raise ValueError(f"with it the templates are larger than {_MOST} bytes")
            room -= len(content)
            rendered.append(Rendered(path.encode(), content))
        except (ValueError, TypeError) as error:
            left_out.append(f"the template of {target!a:.200} was left out: {error}")
    return rendered, left_out


def missing(metadata: Metadata) -> list[str]:
    """Return the names of the files that an image's templates are made by, and that its metadata lacks."""
    said = metadata.values.get("templates")
    rows = said.values() if isinstance(said, dict) else ()
    names = {_source(row) for row in rows if isinstance(row, dict)}
    return sorted(names - metadata.files.keys())


def _source(row: Mapping[str, Any]) -> str:
    return f"templates/{row.get('template')}"


def _render(metadata: Metadata, target: str, row: Mapping[str, Any]) -> str:
    name = _source(row)
    data = metadata.files.get(name)
    if data is None or len(data) > _MOST:
        raise ValueError(f"there is no {name!a:.200}" if data is None else f"it has {len(data)} bytes")
    text = data.decode()
    known = {
        "properties": row.get("properties") or {},
        "image": metadata.values.get("properties") or {},
        "path": target,
        "trigger": "create",
    }
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    if "{%" in text:
        raise ValueError("it has conditions or loops, which only Incus can decide")
    return _EXPRESSION.sub(lambda match: _value(match[1], known), text)


def _value(expression: str, known: Mapping[str, Any]) -> str:
    """Return the text of an expression. Raises ValueError where only the making of a container tells it."""
    asked = _CONFIG_GET.fullmatch(expression)
    match = _VALUE.fullmatch(asked[3] if asked else expression)
    if match is None:
        raise ValueError(f"what {expression!a:.80} is, only Incus knows")
    literal, other, table, *keys, variable = match.groups()
    if variable:
        return str(known[variable])
    if table:
        found = known[table].get(next(filter(None, keys))) if isinstance(known[table], dict) else None
        if len(str(found)) > _MOST_OF_A_VALUE:
            raise ValueError(f"{expression!a:.80} is longer than {_MOST_OF_A_VALUE} characters")
        return "" if found is None else str(found)
    return next(text for text in (literal, other) if text is not None)
