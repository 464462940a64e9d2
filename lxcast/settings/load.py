"""Settings: what a command takes where its own options are silent.

They come from a file, `lxcast.toml` where the command runs, else `$XDG_CONFIG_HOME/lxcast/settings.toml` (the XDG base
directory specification's default is ~/.config), and from environment variables `LXCAST_*`, which win over the file.
The command line wins over both. Lists are joined in that order, tables are merged key by key. SETTINGS is the one
table that the reading, `lxcast settings` and the reference page are made from.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lxcast.errors import UsageError
from lxcast.model import conceal
from lxcast.settings.table import BY_NAME, SETTINGS, TARGETS, Setting, Value
from lxcast.settings.values import convert, parse, parse_pairs, parse_size, show

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "TARGETS",
    "Setting",
    "Settings",
    "Value",
    "convert",
    "find",
    "load",
    "merge",
    "parse",
    "parse_pairs",
    "parse_size",
    "show",
]

Found = tuple[str, str, Value]
"""Where a value was found, the setting's name, and the value."""

_SECRET = re.compile(r"token|secret|passw|passphrase|credential|private_?key|api_?key")


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
    import difflib  # only where a name is wrong

    near = difflib.get_close_matches(name, BY_NAME, n=1)
    return f"; is {near[0]} meant?" if near else ""
