"""Settings: what a command takes where its own options are silent.

They come from a file, `lxcast.toml` where the command runs, else `$XDG_CONFIG_HOME/lxcast/settings.toml` (the XDG base
directory specification's default is ~/.config), and from environment variables `LXCAST_*`, which win over the file.
The command line wins over both. Lists are joined in that order, tables are merged key by key. SETTINGS is the one
table that the reading, `lxcast settings` and the reference page are made from.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxcast.errors import UsageError
from lxcast.model import conceal

Value = str | int | tuple[str, ...] | Mapping[str, str]
"""Text, a flag, a number, a list or a table. What it is follows from the setting's kind."""

Found = tuple[str, str, Value]
"""Where a value was found, the setting's name, and the value."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: its name in the file is `name`, on the command line `--na-me`, in the environment `LXCAST_NAME`."""

    name: str
    kind: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    unit: str = ""
    """What one value, or one value of the list, looks like; the choices where there are any."""
    singular: str = ""
    """What the command line calls one value of the list, where that is not its name."""

    @property
    def metavar(self) -> str:
        """The placeholder for a value."""
        return self.unit or "|".join(self.choices) or {"number": "N", "size": "SIZE"}.get(self.kind, self.name.upper())

    @property
    def env(self) -> str:
        """The environment variable."""
        return f"LXCAST_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The command line's option."""
        return f"--{(self.singular or self.name).replace('_', '-')}"


SETTINGS: tuple[Setting, ...] = (
    Setting("storage", "text", "./storage", "Where templates go: PATH, ID=PATH or proxmox:NODE/STORAGE."),
    Setting(
        "pattern",
        "text",
        "{name}-{version}",
        "The file's name without its ending, of {name}, {variant}, {release}, {arch}, {version}, {timestamp}, {date} "
        "and {digest}.",
    ),
    Setting("variant", "text", "", "What {variant} in the pattern stands for; empty: what the source's metadata says."),
    Setting(
        "release",
        "text",
        "",
        "What {release} in the pattern stands for; empty: what the source's metadata or else the distribution says.",
    ),
    Setting("arch", "text", "", "The architecture that the template must have, such as amd64; empty: any."),
    Setting(
        "platform",
        "text",
        "",
        "Which one of an image's platforms is read; empty: this machine's, or the only one.",
        unit="OS/ARCH[/VARIANT]",
    ),
    Setting(
        "init",
        "text",
        "",
        "What starts a container whose root filesystem has no init. auto: one is written that starts the process which "
        "the image names; app: Proxmox VE 9.1 starts the process; none: nothing, which is an error. Empty: auto for a "
        "runtime bundle, else none.",
        ("none", "auto", "app"),
    ),
    Setting(
        "format",
        "text",
        "zst",
        "The compression of the template; oci-archive: an image with one layer, which Proxmox VE takes from 9.1 on.",
        ("zst", "gz", "xz", "tar", "oci-archive"),
    ),
    Setting("small", "flag", False, "Compress harder: some 7 % smaller, for three times the processor time."),
    Setting(
        "policy",
        "text",
        "default",
        "golden: findings of the ssh, secrets and environment checks are errors; default: they are warnings.",
        ("default", "golden"),
    ),
    Setting(
        "enable", "list", (), "Rows of the cleanup and fit tables that are off by default and shall run.", unit="ROW"
    ),
    Setting("disable", "list", (), "Rows of the cleanup and fit tables that shall not run.", unit="ROW"),
    Setting(
        "remove", "list", (), "Patterns of further paths to leave out, relative to the root filesystem.", unit="GLOB"
    ),
    Setting("add", "list", (), "Further files to put in, each HOST:PATH[:MODE].", unit="HOST:PATH[:MODE]"),
    Setting(
        "allow",
        "table",
        {},
        "Checks that may fail, each with the reason; the record keeps the reason.",
        unit="CHECK=REASON",
    ),
    Setting(
        "network",
        "text",
        "none",
        "dhcp: configure eth0 by DHCP, for plain LXC and unmanaged containers; none: leave it to Proxmox.",
        ("none", "dhcp"),
    ),
    Setting(
        "release_metadata",
        "table",
        {},
        "Keys and values for /etc/lxcast-release, which is then written; `--enable release` alone writes it with name "
        "and version.",
        unit="KEY=VALUE",
    ),
    Setting("if_changed", "flag", False, "Publish nothing when the newest version has the same content."),
    Setting(
        "pin_file",
        "text",
        "",
        "A pin file, such as templates.auto.tfvars.json, whose entry for the name is set to what was built; empty: a "
        "build moves no pin.",
        unit="FILE",
    ),
    Setting(
        "reuse",
        "flag",
        True,
        "Take the storage's template that was made of the same source by the same settings, where the source has a "
        "digest.",
    ),
    Setting("max_members", "number", 5_000_000, "Refuse a source with more members than this."),
    Setting(
        "max_size", "size", 1 << 40, "Refuse a source that is larger than this when unpacked, such as 1TiB or 500M."
    ),
    Setting("threads", "number", 0, "Threads that compress; 0: one for each processor. The bytes are the same."),
    Setting(
        "profile",
        "text",
        "",
        "The cluster's table in the profile file; empty: PM_API_URL, PM_API_TOKEN_ID and PM_API_TOKEN_SECRET name it.",
    ),
    Setting(
        "api_url",
        "text",
        "",
        "The Proxmox API's address: HOST, HOST:PORT or https://HOST:PORT; empty: PM_API_URL, or the profile's.",
        unit="URL",
    ),
    Setting(
        "ca_file",
        "text",
        "",
        "The authorities that vouch for the Proxmox API's certificate; empty: the system's.",
        unit="FILE",
    ),
    Setting(
        "fingerprint",
        "text",
        "",
        "The SHA-256 fingerprint of that certificate, as Proxmox prints it; it takes the authorities' place.",
        unit="HEX",
    ),
    Setting(
        "records",
        "text",
        "",
        "Where the records of a Proxmox storage are kept; empty: a folder for each storage in the user's state folder.",
        unit="DIR",
    ),
    Setting(
        "nodes",
        "list",
        (),
        "The nodes of a Proxmox cluster that get the template, in place of the storage's one.",
        unit="NODE",
        singular="node",
    ),
    Setting("all_nodes", "flag", False, "Every node of the Proxmox cluster that has the storage gets the template."),
    Setting(
        "put_url",
        "url",
        "",
        "Where the template is put once, by HTTP PUT, for the nodes to fetch it; such as a presigned URL. {file} in it "
        "is the template's file name.",
        unit="URL",
    ),
    Setting(
        "get_url",
        "url",
        "",
        "Where each node fetches the template, and compares its checksum; without a URL to put it the template is "
        "there already.",
        unit="URL",
    ),
)

TARGETS = ("profile", "api_url", "ca_file", "fingerprint", "records", "nodes", "all_nodes", "put_url", "get_url")
"""The settings that say, beside `storage`, which Proxmox storages are meant, and how they are reached."""

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}

_SECRET = re.compile(r"token|secret|passw|passphrase|credential|private_?key|api_?key")
_SIZE = re.compile(r"(\d{1,18})\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE | re.ASCII)
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting's value, and where it came from: "default", a variable's name, a file's path, or several."""

    values: Mapping[str, Value] = field(default_factory=lambda: {row.name: row.default for row in SETTINGS})
    origins: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(BY_NAME, "default"))
    ignored: tuple[str, ...] = ()
    """Environment variables that begin with LXCAST_ and are no setting's."""

    def text(self, name: str) -> str:
        """Return the value of a setting whose kind is text."""
        return str(self.values[name])

    def table(self, name: str) -> Mapping[str, str]:
        """Return the value of a setting whose kind is table."""
        value = self.values[name]
        assert isinstance(value, Mapping)
        return value


def load(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings that hold in `folder` (default: where the command runs).

    Raises UsageError with every unknown key, wrong type and wrong value of the file and the environment at once.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values = {row.name: row.default for row in SETTINGS}
    origins = dict.fromkeys(BY_NAME, "default")
    path = find(Path() if folder is None else folder, environ)
    found = _read_file(path, problems) if path else []
    for source, name, value in [*found, *_read_environment(environ, problems)]:
        joined = BY_NAME[name].kind in ("list", "table") and origins[name] != "default"
        origins[name] = f"{origins[name]}, {source}" if joined else source
        values[name] = merge(values[name], value)
    if problems:
        raise UsageError(
            "\n".join(problems), hint="`lxcast settings` and the reference page of settings list what there is"
        )
    known = {row.env for row in SETTINGS}
    ignored = tuple(sorted(name for name in environ if name.startswith("LXCAST_") and name not in known))
    return Settings(values, origins, ignored)


def find(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file that holds in `folder`, if there is one."""
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    candidates = [folder / "lxcast.toml", *([Path(config, "lxcast", "settings.toml")] if config else [])]
    return next((path for path in candidates if path.is_file()), None)


def merge(below: Value, above: Value) -> Value:
    """Return what a setting is when `above` (the nearer source) is said over `below`."""
    if isinstance(below, tuple) and isinstance(above, tuple):
        return (*below, *above)
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {**below, **above}
    return above


def convert(row: Setting, given: object) -> Value:
    """Return `given`, of a settings file or a caller, as the setting's own type. Raises ValueError with the why."""
    value = _KINDS[row.kind](given)
    if row.choices and value not in (*row.choices, row.default):
        raise ValueError(f"should be one of {', '.join(row.choices)}")
    return value


def parse(row: Setting, text: str) -> Value:
    """Return the value that `text` (an environment variable) gives a setting. Raises ValueError that says why not.

    A list is split as a shell splits words; a table is such a list of KEY=VALUE.
    """
    if row.kind in ("list", "table"):
        import shlex  # only where a list stands in the environment: it costs a command's start

        words = shlex.split(text)
        return convert(row, words if row.kind == "list" else parse_pairs(words))
    if row.kind == "flag":
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"should be one of {', '.join(_BOOLEANS)}")
        return _BOOLEANS[text.lower()]
    if row.kind == "number":
        return convert(row, int(text) if text.isascii() and text.isdigit() else text)
    return convert(row, text)


def parse_pairs(words: list[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a dictionary. Raises ValueError that names the words that are none."""
    pairs = [word.partition("=") for word in words]
    if wrong := [key for key, sign, _ in pairs if not (key and sign)]:
        raise ValueError(f"should be KEY=VALUE: {', '.join(map(repr, wrong))}")
    return {key: value for key, _, value in pairs}


def parse_size(text: str) -> int:
    """Return the bytes that `text` names, with the units of GNU coreutils: K and KiB are 1024, KB is 1000, to P.

    Raises ValueError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("should be a size such as 1TiB, 500M or 1000000")
    base = 1000 if match[4] and match[2] and not match[3] else 1024
    return int(match[1]) * int(base ** " kmgtp".index(match[2].lower() or " "))


def show(value: object) -> str:
    """Return a value as a settings file has it; of URLs only scheme and host."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(key))} = {show(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return _quote(conceal(value)) if isinstance(value, str) else str(value)


def _quote(text: str) -> str:
    """Quote as TOML's basic string, whose escapes JSON's are."""
    import json  # as shlex above

    return json.dumps(text, ensure_ascii=False)


def _read_file(path: Path, problems: list[str]) -> list[Found]:
    """Return what the file sets; what is wrong with it goes to `problems`."""
    import tomllib  # 10 ms, and most commands meet no settings file

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"settings file {path} cannot be read: {error}", hint="it is a TOML file") from error
    found: list[Found] = []
    for key, given in content.items():
        name = key.replace("-", "_")
        if name in BY_NAME:
            try:
                value = convert(BY_NAME[name], given)
                if BY_NAME[name].kind == "url" and re.search(r"[?@]", str(value)):
                    raise ValueError(f"a signed URL is a secret: give it in the environment ({BY_NAME[name].env})")
                found.append((str(path), name, value))
            except ValueError as error:
                problems.append(f"{path}: {key} = {show(given)}: {error}")
        elif _SECRET.search(name.lower()):
            problems.append(
                f"{path}: {key}: a secret does not belong into a settings file, which is committed and copied; "
                "give it in the environment or in a file of its own"
            )
        else:
            problems.append(f"{path}: {key}: there is no such setting{_suggest(name)}")
    return found


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> list[Found]:
    """Return what each variable sets; what is wrong with one goes to `problems`."""
    found: list[Found] = []
    for row in SETTINGS:
        text = environ.get(row.env)
        if text is not None:
            try:
                found.append((row.env, row.name, parse(row, text)))
            except ValueError as error:
                problems.append(f"environment: {row.env}={conceal(text)}: {error}")
    return found


def _suggest(name: str) -> str:
    """Return the setting that an unknown name was perhaps meant to be, as a half sentence."""
    import difflib  # as shlex above

    near = difflib.get_close_matches(name, BY_NAME, n=1)
    return f"; is {near[0]} meant?" if near else ""


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"is {_kind_of(given)}, should be text")
    return given


def _url(given: object) -> str:
    text = _text(given)
    if text and not re.fullmatch(r"https?://[^\s/?#]+(/\S*)?", text):
        raise ValueError("should be a URL that begins with https://")
    return text


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"is {_kind_of(given)}, should be true or false")
    return given


def _number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError(f"is {_kind_of(given)}, should be a whole number from 0 on")
    return given


def _size(given: object) -> int:
    return parse_size(given) if isinstance(given, str) else _number(given)


def _list(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError(f"is {_kind_of(given)}, should be a list of texts")
    return tuple(given)


def _table(given: object) -> dict[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for pair in given.items() for each in pair):
        raise ValueError(f"is {_kind_of(given)}, should be a table of texts")
    return dict(given)


def _kind_of(given: object) -> str:
    """Name a value's type as TOML's users do."""
    names: dict[type[Any], str] = {
        bool: "true or false",
        int: "a number",
        float: "a number with a point",
        str: "text",
        list: "a list of other things",
        tuple: "a list of other things",
        dict: "a table of other things",
    }
    if isinstance(given, int) and not isinstance(given, bool) and given < 0:
        return "negative"
    return names.get(type(given), f"a {type(given).__name__}")


_KINDS: Mapping[str, Callable[[object], Value]] = {
    "text": _text,
    "url": _url,
    "flag": _flag,
    "number": _number,
    "size": _size,
    "list": _list,
    "table": _table,
}
