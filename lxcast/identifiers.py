"""How single values are written: ids, names and digests as texts.

What Proxmox accepts is from its own code: storage ids from PVE/JSONSchema.pm (pve-storage-id), template suffixes and
characters from PVE/Storage.pm ($VZTMPL_EXT_RE_1, normalize_content_filename), the length of a volid from
PVE/API2/LXC.pm (ostemplate, maxLength 255).

The Terraform data source starts with this on every plan: nothing is imported that it does not need.
"""

import re

SCHEMA = 1
"""Schema of the record: increases when a key changes its meaning, not for a new key."""

MAX_VOLID = 255
"""Characters of a whole volid, the storage's id included."""

SIGN_PASSPHRASE = "LXCAST_SIGN_PASSPHRASE"  # noqa: S105 - the name of a variable
"""The environment variable with the passphrase of a private key."""

TEMPLATE_SUFFIXES = (".tar.zst", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar")
"""Proxmox lists a file with one of these as a template, unless its name starts with a dot."""

STORAGE_ID = r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]"
NODE = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
VERSION = r"v[1-9][0-9]{0,8}"
SHA256 = r"[0-9a-f]{64}"

SECRET_NAME = "|".join(("token", "secret", "passw", "passphrase", "credential", "private_?key", "api_?key"))
"""Matches names of variables and settings that hold secrets (case-insensitive)."""

FORMS = {
    "version": (f"({VERSION})?", "v and a number"),
    "variant": (r"([A-Za-z0-9][A-Za-z0-9_.-]*)?", "letters, digits, '_', '.', '-', a letter or digit first"),
    "file": (r"[^/\0]+", "a plain file name"),
    "sha256": (SHA256, "64 hexadecimal digits"),
    "diff_id": (f"sha256:{SHA256}", "sha256: and 64 hexadecimal digits"),
    "format": (r"[a-z0-9-]+", "a format's name"),
    "created": (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", "a moment in UTC"),
}
"""Key of a record -> the regular expression of its text, and the same in words."""

_FILE = r"[A-Za-z0-9_.-]+"


def has_form(key: str, text: str) -> bool:
    """Whether a text is what a key of a record may hold."""
    return key not in FORMS or re.fullmatch(FORMS[key][0], text, re.ASCII) is not None


def short(value: object) -> str:
    """Return a value as JSON writes it, cut for a message."""
    import json  # only where something is wrong

    return json.dumps(value)[:80]


def one_line(text: str) -> str:
    """Return a text of others as it can stand within a line: what ends a line or moves the cursor is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quote_command(words: "tuple[str, ...]") -> str | None:
    """Return a command line for Proxmox's entrypoint and LXC's lxc.init.cmd; None if they cannot express it.

    LXC 6 splits it at spaces and takes a pair of quotes as one word; it has no escapes (LXC, string_utils.c,
    lxc_string_split_quoted). Proxmox refuses control characters (PVE/LXC/Create.pm).
    """
    quoted = []
    for word in words:
        quotes = [each for each in "\"'" if each not in word]
        is_bare = bool(word) and " " not in word and word[0] not in "\"'"
        if not word.isprintable() or (not quotes and not is_bare):
            return None
        quoted.append(word if is_bare else f"{quotes[0]}{word}{quotes[0]}")
    return " ".join(quoted)


def suffix_of(file: str) -> str:
    """Return the template suffix of a file name, "" where Proxmox would not take it for a template."""
    if file.startswith(".") or "/" in file:
        return ""
    return next((suffix for suffix in TEMPLATE_SUFFIXES if file.endswith(suffix) and file != suffix), "")


def stem_of(file: str) -> str:
    """Return a file name without its template suffix, which its record shares."""
    return file.removesuffix(suffix_of(file))


def split_volid(text: str) -> tuple[str, str]:
    """Return the storage's id and the file's name of a text that looks like a template's volid, else two empty ones."""
    storage, _, file = text.partition(":vztmpl/")
    return (storage, file) if file else ("", "")


def volid_problems(storage: str, file: str) -> list[str]:
    """Return what Proxmox would not take of an id and a file name as the two parts of a volid."""
    problems = []
    if not re.fullmatch(STORAGE_ID, storage):
        problems.append(f"invalid storage id {storage!r}: expected letters, digits, '-', '_', '.', at least two")
    if not re.fullmatch(_FILE, file) or file.startswith("."):
        problems.append(
            f"invalid template file name {file!r}: expected letters, digits, '_', '.', '-', no dot in front"
        )
    if not suffix_of(file):
        problems.append(f"{file!r} ends in none of {', '.join(TEMPLATE_SUFFIXES)}")
    volid = f"{storage}:vztmpl/{file}"
    if len(volid) > MAX_VOLID:
        problems.append(f"{volid} has {len(volid)} characters, Proxmox takes at most {MAX_VOLID}")
    return problems
