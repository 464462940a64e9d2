"""What Terraform asks: one JSON object of strings on standard input.

hashicorp/external writes the `query` argument as a JSON object of strings, `{}` where there is none; it leaves out a
key whose value is null and keeps the empty string (internal/provider/data_source.go of version 2).
"""

import json
import re
from dataclasses import dataclass

from lxcast.errors import UsageError

KEYS = {
    "name": 'the name that the template was built with, as in name = "debian-12"',
    "version": 'version = "v4" pins one template; "latest" follows the newest, only when written out',
    "storage": 'the storage that holds it, as in storage = "/mnt/pve/pve-nfs"',
}

_SECRET = re.compile(r"pass|pwd|secret|token|credential|auth|cookie|ticket|(api|private|access).?key", re.IGNORECASE)
_IN_PLAIN_TEXT = (
    "Terraform keeps a query in plain text in its state, even where the variable is marked sensitive. Put the secret "
    "into the environment that Terraform runs in, and take it out of the state, the plan and the configuration"
)
_VERSION = re.compile(r"v[1-9][0-9]*|latest")


@dataclass(frozen=True, slots=True)
class Query:
    """A template that is asked for: `version` is "vN" or "latest", `storage` as in `lxcast build --storage`."""

    name: str
    version: str
    storage: str


def parse(text: bytes) -> Query:
    """Read a query, or raise one UsageError that tells every problem of it; no value of a refused key is repeated."""
    members = _members(text)
    problems = [_unknown(key) for key in members if key not in KEYS]
    for key, meaning in KEYS.items():
        value = members.get(key)
        if value is None or value == "":
            problems.append(f"{key} is {'missing' if value is None else 'empty'}: {meaning}")
        elif not isinstance(value, str):
            problems.append(f"{key} is {_kind(value)}, not a string: {meaning}")
        elif any(ord(character) < 0x20 or 0xD800 <= ord(character) <= 0xDFFF for character in value):
            problems.append(f"{key} holds a control character: {value!a}")
        elif key == "version" and not _VERSION.fullmatch(value):
            problems.append(f'version is {value!a}, which is neither "vN" nor "latest": {meaning}')
    if problems:
        raise UsageError("\n".join(problems), hint="the keys of a query are " + ", ".join(KEYS))
    return Query(**{key: str(members[key]) for key in KEYS})


def _members(text: bytes) -> dict[str, object]:
    """Return the members of the one JSON object that `text` is."""
    try:
        members = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"standard input is not JSON: {error}" if text.strip() else "standard input is empty",
            hint='Terraform writes the query there; "lxcast-data --help" has an example',
        ) from error
    if not isinstance(members, dict):
        raise UsageError(f"standard input is {_kind(members)}, not a JSON object", hint="")
    return members


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object gives one key twice")
    return members


def _unknown(key: str) -> str:
    if _SECRET.search(key):
        return f"{key!a} looks like a secret, and a query must hold none. {_IN_PLAIN_TEXT}"
    return f"{key!a} is no key of a query"


def _kind(value: object) -> str:
    return {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), "a string" if isinstance(value, str) else "null"
    )
