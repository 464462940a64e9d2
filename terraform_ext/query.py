"""What Terraform asks: one JSON object of strings on standard input.

hashicorp/external writes the `query` argument as a JSON object of strings, `{}` where there is none; it leaves out a
key whose value is null and keeps the empty string (internal/provider/data_source.go of version 2).
"""

import json
import re
from collections.abc import Iterator, Mapping

from lxcast.errors import UsageError, join_problems
from lxcast.identifiers import FORMS, NODE, SHA256, VERSION
from lxcast.references.entries import unique_keys
from lxcast.references.files import MAX_BYTES

KEYS = {
    "name": 'the name that the template was built with, as in name = "debian-12"',
    "variant": 'the variant, as in variant = "minimal"; "" is the template without one',
    "version": 'version = "v4" is one template; "latest" follows the newest of a storage, only when written out',
    "sha256": "64 hexadecimal digits, which the template must have",
    "storage": 'the directory that has it, as in storage = "/mnt/pve/pve-nfs", or "proxmox:NODE/STORAGE"',
    "node": 'the node whose API confirms the pin, as in node = "pve1"; storage is then an id (default: the pin\'s)',
    "pin_file": 'the file that pins it, as in pin_file = "templates.auto.tfvars.json"',
    "verify": '"pin" answers from the pin file alone, "storage" asks the storage as well',
}

_DELICATE = r"(?i)pass|pwd|secret|token|credential|auth|cookie|ticket|(api|private|access).?key"
_IN_PLAIN_TEXT = (
    "Terraform keeps a query in plain text in its state, even where the variable is marked sensitive. Put the secret "
    "into the environment that Terraform runs in, and take it out of the state, the plan and the configuration"
)
_LONGEST = 4095
"""Characters of a value: a path has no more (limits.h, PATH_MAX)."""

_FORMS = {
    "version": (f"{VERSION}|latest", 'neither "vN" nor "latest"'),
    "variant": (FORMS["variant"][0], "not a variant's name"),
    "sha256": (SHA256, "not 64 hexadecimal digits in lower case"),
    "node": (NODE, "no node's name"),
    "verify": ("pin|storage", 'neither "pin" nor "storage"'),
}


class Query:
    """The template in a query; "" if not set (`verify`: see `from_storage`).

    No dataclass: importing dataclasses takes a third of the time to an answer from the pin.
    """

    def __init__(self, said: Mapping[str, str]) -> None:
        self.name = said.get("name", "")
        self.variant = said.get("variant")
        """None: the only variant of the name; "": the template without a variant."""
        self.version = said.get("version", "")
        self.sha256 = said.get("sha256", "")
        self.storage = said.get("storage", "")
        """As in `lxcast build --storage`; with a node also a storage's id."""
        self.node = said.get("node", "")
        self.pin_file = said.get("pin_file", "")
        self.verify = said.get("verify", "")

    @property
    def from_storage(self) -> bool:
        """Whether the storage answers, and not the pin alone: where one is named, unless `verify` says otherwise."""
        return bool(self.storage or self.node) and self.verify != "pin"

    @property
    def by_api(self) -> bool:
        """Whether the storage is a node's, which keeps no records: it can only confirm a pin."""
        return bool(self.node) or self.storage.startswith("proxmox:")

    @property
    def pinned(self) -> bool:
        """Whether the pin file has a say: where nothing else names the version, or it is named itself."""
        return not (self.from_storage and self.version) or self.by_api or bool(self.pin_file)


def parse(text: bytes) -> Query:
    """Read a query, or raise one UsageError that tells every problem of it; no value of a refused key is repeated."""
    members = _members(text)
    problems = [_unknown(key) for key in members if key not in KEYS]
    if "name" not in members:
        problems.append(f"name is missing: {KEYS['name']}")
    problems += [problem for key in KEYS if key in members for problem in _problems(key, members[key])]
    query = Query({key: value for key, value in members.items() if isinstance(value, str)})
    problems += _contradictions(query)
    if problems:
        raise UsageError(join_problems(problems), hint="the keys of a query are " + ", ".join(KEYS))
    return query


def _problems(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{key} is {_kind(value)}, not a string: {KEYS[key]}"
    elif value == "" and key != "variant":
        yield f"{key} is empty: {KEYS[key]}" + ("" if key == "name" else "; null leaves it out")
    elif len(value) > _LONGEST:
        yield f"{key} has {len(value)} characters, and may have {_LONGEST}: {KEYS[key]}"
    elif any(ord(character) < 0x20 or 0xD800 <= ord(character) <= 0xDFFF for character in value):
        yield f"{key} holds a control character: {value!a}"
    elif key in _FORMS and not re.fullmatch(_FORMS[key][0], value):
        yield f"{key} is {value!a}, which is {_FORMS[key][1]}: {KEYS[key]}"


def _contradictions(query: Query) -> Iterator[str]:
    if query.verify == "storage" and not (query.storage or query.node):
        yield f'verify is "storage", and storage is missing: {KEYS["storage"]}'
    if query.node:
        node, slash, _ = query.storage.removeprefix("proxmox:").partition("/")
        if query.storage.startswith("proxmox:"):
            if slash and node != query.node:
                yield f"node is {query.node}, and storage is of the node {node}: leave node out"
        elif slash or "=" in query.storage:
            yield f"node is {query.node}, and storage is a directory, which belongs to no node: leave one of them out"
    if query.version == "latest":
        if not query.from_storage or query.by_api:
            yield 'version is "latest", which only a directory has: name one, or leave version out for the pin'
        elif query.pin_file:
            yield 'version is "latest", and pin_file names one version: leave one of them out'


def _members(text: bytes) -> dict[str, object]:
    """Return the members of the one JSON object that `text` is."""
    if len(text) > MAX_BYTES:
        raise UsageError(f"standard input has more than {MAX_BYTES} bytes", hint="a query has a handful of short keys")
    try:
        members = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"standard input is not JSON: {error}" if text.strip() else "standard input is empty",
            hint='Terraform writes the query there; "lxcast-data --help" has an example',
        ) from error
    if not isinstance(members, dict):
        raise UsageError(f"standard input is {_kind(members)}, not a JSON object", hint="")
    return members


def _unknown(key: str) -> str:
    shown = ascii(key) if len(key) <= 60 else f"{key[:60]!a}..."
    if re.search(_DELICATE, key):
        return f"{shown} looks like a secret, and a query must hold none. {_IN_PLAIN_TEXT}"
    return f"unknown key {shown} in the query"


def _kind(value: object) -> str:
    return {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), "a string" if isinstance(value, str) else "null"
    )
