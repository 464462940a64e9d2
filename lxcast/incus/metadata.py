"""metadata.yaml of Incus and LXD (their documentation, "Image format"), and the small files of an LXC image.

distrobuilder's meta.tar.xz for LXC holds `templates`, a list of files in which LXC_NAME stands for the container's name
(lxc-download(1) replaces it), `create-message`, `expiry` and configurations; for Incus it holds metadata.yaml and the
directory templates/. The only module that knows YAML.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lxcast.errors import ArchiveError

YAML = "metadata.yaml"

MAX_FILE = 256 * 1024
"""Bytes of a file that is read; builders write some kilobytes."""

_MAX_EVENTS = 20_000
_MAX_DEPTH = 20
_OF_LXC = ("create-message", "expiry")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a root filesystem; paths are relative to it, without a leading "/"."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """metadata.yaml as JSON holds it; of an LXC image the texts that people read."""
    placeholders: frozenset[bytes] = frozenset()
    """Files in which LXC_NAME stands for the container's name."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The files themselves, by their names."""

    def said(self, name: str) -> str:
        """Return a text among the image's properties ("release", "variant", "os"), "" where it says none."""
        properties = self.values.get("properties")
        value = properties.get(name) if isinstance(properties, dict) else None
        return value if isinstance(value, str) else ""


def read_metadata(files: Mapping[str, bytes], where: str) -> Metadata:
    """Return what the files of a metadata archive say. Raises ArchiveError, naming `where`, for malformed YAML."""
    if YAML in files:
        return Metadata(_parse(files[YAML], f"{where}: {YAML}"), files=files)
    values = {name: _text(files[name]).strip() for name in _OF_LXC if name in files}
    listed = (line.strip().lstrip(b"/") for line in files.get("templates", b"").splitlines())
    return Metadata(values, frozenset(filter(None, listed)), files)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _parse(data: bytes, where: str) -> dict[str, Any]:
    import yaml  # only where there is any

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _require_bounded(yaml.parse(data, Loader=loader), yaml)
        found = yaml.load(data, Loader=loader)  # noqa: S506 - it is one of the two safe loaders
        told = json.loads(json.dumps(found, default=str, allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        said = " ".join(str(error).split())
        raise ArchiveError(f"{where} is not YAML that lxcast can read: {said:.300}", hint=_HINT) from error
    if not isinstance(told, dict):
        raise ArchiveError(f"{where} holds no mapping", hint=_HINT)
    return told


def _require_bounded(events: Any, yaml: Any) -> None:
    """Raise ValueError for what would grow when it is read: references, deep nesting, very many values.

    Parsing into events takes no recursion and no memory; making values of them takes both.
    """
    depth = 0
    for number, event in enumerate(events):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it refers to another place by an alias (*), which no builder writes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or number > _MAX_EVENTS:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} or has more than {_MAX_EVENTS} parts")


_HINT = "leave the metadata out: build from the root filesystem's own archive, copied to another directory"
