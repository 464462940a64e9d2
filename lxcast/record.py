"""The record: the JSON file next to a template, with what it is and where it came from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lxcast.errors import StorageError
from lxcast.identifiers import FORMS, SCHEMA, has_form, short


@dataclass(frozen=True, slots=True)
class Origin:
    """What a template was made from."""

    kind: str
    """As skopeo names it ("docker-container", "docker-daemon"), else "rootfs" or "tar"."""
    reference: str
    digest: str = ""
    """Digest of the source in its engine or registry ("sha256:HEX"), "" if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that is known about one template; the order here is the order of the keys in the file."""

    schema: int = SCHEMA
    name: str
    version: str = ""
    """ "v4", or "" where the file's pattern has no version."""
    variant: str = ""
    """One of several templates that share a name, such as "minimal"; with the name it is the template's identity."""
    file: str = ""
    template_id: str = ""
    """The volid; "" outside of a storage."""
    storage: str = ""
    """The storage's id; "" outside of a storage."""
    size: int
    """Bytes of the file."""
    unpacked_size: int
    """Bytes of all regular files in it."""
    members: int
    sha256: str
    """Digest of the file, 64 hexadecimal digits."""
    diff_id: str
    """Digest of the uncompressed tar, "sha256:HEX"."""
    format: str
    compressor: str
    """Library, its version and settings: with them the same content gives the same bytes."""
    ostype: str = ""
    release: str = ""
    arch: str = ""
    created: str
    """RFC 3339 in UTC, whole seconds."""
    lxcast: str
    """The version of lxcast that made it."""
    source: Origin
    rules: str = ""
    """Of everything but the source that decides the content, "sha256:HEX"; "" where that is not known."""
    cleanup: Mapping[str, Any] = field(default_factory=dict)
    """Row -> {"members": n, "bytes": n}."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """Row -> sentences."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the builder of a distrobuilder, Incus, LXD or LXC image said about it."""

    def has_content_of(self, other: "Record") -> bool:
        """Tell whether both are the same template, though another library may have compressed it to other bytes."""
        if (self.diff_id, self.format) != (other.diff_id, other.format):
            return False
        # An image holds more than its root filesystem: what it starts, and with which variables.
        return self.format != "oci-archive" or self.sha256 == other.sha256

    def to_json(self) -> str:
        """Print it as the file holds it: ASCII, keys in the order of the fields, a final newline.

        `variant` is left out unless it is set: most templates have none.
        """
        values = asdict(self)
        if not self.variant:
            del values["variant"]
        return json.dumps(values, indent=2) + "\n"

    def checksum(self) -> str:
        """Return the text of the checksum file, as `sha256sum -c` reads it."""
        return f"{self.sha256}  {self.file}\n"


_OPTIONAL = {"ostype", "release", "arch", "version", "variant", "template_id", "storage", "rules"}
"""Keys whose value may be an empty text."""

_LATER = {"rules", "metadata", "variant"}
"""Keys that a record may lack."""


def parse_record(text: str | bytes, where: str) -> Record:
    """Read a record; keys that this version does not know are ignored.

    Raises StorageError, naming `where` (the file) and every key that is missing or of a wrong kind; a record of a
    newer schema is refused as such.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{where} is not a valid record: {error}", hint=_HINT) from error
    if not isinstance(data, dict):
        raise StorageError(f"{where} is not a valid record: expected a JSON object", hint=_HINT)
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise StorageError(
            f"{where} has schema {schema}, this lxcast reads up to {SCHEMA}", hint="update lxcast on this machine"
        )
    problems = list(_problems(data))
    if problems:
        raise StorageError(f"{where} is not a valid record: {'; '.join(problems)}", hint=_HINT)
    known = {each.name: data[each.name] for each in fields(Record) if each.name in data}
    origin = known["source"]
    known["source"] = Origin(**{each.name: origin[each.name] for each in fields(Origin)})
    return Record(**known)


_HINT = "restore it from where the template was built, or remove it: the template itself is not touched by that"


def _problems(data: dict[str, Any]) -> Iterator[str]:
    for each in fields(Record):
        key, value = each.name, data.get(each.name)
        if key not in data:
            if key not in _LATER:
                yield f"{key} is missing"
        elif each.type is int:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                yield f"{key} is {short(value)}, not a whole number"
        elif each.type is str:
            if not isinstance(value, str) or (value == "" and key not in _OPTIONAL):
                yield f"{key} is {short(value)}, not a text"
            elif not has_form(key, value):
                yield f"{key} is {short(value)}, not {FORMS[key][1]}"
        elif not isinstance(value, dict):
            yield f"{key} is {short(value)}, not an object"
        elif key == "source":
            for part in fields(Origin):
                if not isinstance(value.get(part.name), str):
                    yield f"source.{part.name} is {short(value.get(part.name))}, not a text"
