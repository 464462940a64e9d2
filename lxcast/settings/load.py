"""Settings of a run: defaults, settings file, environment and the caller's own, merged in this order.

The file is `lxcast.toml` in the working directory, else `$XDG_CONFIG_HOME/lxcast/settings.toml` (the XDG base directory
specification's default is ~/.config). Environment variables `LXCAST_*` take precedence over the file, options over
both. Lists are joined in that order, tables are merged key by key. Each value is converted where it is read.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lxcast.errors import SHOWN, UsageError, join_problems
from lxcast.identifiers import SECRET_NAME, SIGN_PASSPHRASE
from lxcast.settings.table import BY_NAME, SETTINGS, Setting, Value
from lxcast.settings.values import convert, did_you_mean, parse, show

Raw = TypeVar("Raw")

TABLES = ("containers", "routes")
"""Tables of the settings file that `lxcast create` reads: profiles of containers by name, and the routing rules."""

_SECRET = re.compile(SECRET_NAME, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every setting, and its origins: "default", a variable's name, a file's path, or several."""

    values: Mapping[str, Value] = field(default_factory=lambda: {row.name: row.default for row in SETTINGS})
    origins: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(BY_NAME, "default"))
    given: frozenset[str] = frozenset()
    """The settings that the caller set: by options, by arguments of Packer or of Python."""
    tables: Mapping[str, Any] = field(default_factory=dict)
    """The tables of TABLES that the file has, unchecked."""
    path: Path | None = None
    """The settings file."""
    unknown_variables: tuple[str, ...] = ()
    """Environment variables that start with LXCAST_ and belong to no setting."""

    def text(self, name: str) -> str:
        """Return the value of a setting whose kind is string."""
        return str(self.values[name])

    def over(self, values: Mapping[str, Value]) -> "Settings":
        """Return the settings with converted values of the caller on top."""
        merged = self
        for name, value in values.items():
            merged = merged.merged(name, value, "the caller")
        return replace(merged, given=self.given | values.keys())

    def merged(self, name: str, value: Value, origin: str) -> "Settings":
        """Return the settings with one more value on top."""
        joined = BY_NAME[name].kind in ("list", "table") and self.origins[name] != "default"
        origins = {**self.origins, name: f"{self.origins[name]}, {origin}" if joined else origin}
        return replace(self, values={**self.values, name: merge(self.values[name], value)}, origins=origins)

    def only(self, names: tuple[str, ...]) -> "Settings":
        """Return the settings with the default for each that is not in `names`."""
        values = {row.name: self.values[row.name] if row.name in names else row.default for row in SETTINGS}
        return replace(self, values=values)


def load(directory: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings file and the environment that apply in a directory (default: the working directory).

    Raises UsageError with every unknown key and every invalid value of the file and the environment at once.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    settings = Settings()
    path = find_file(Path() if directory is None else directory, environ)
    if path:
        values, tables = _read_file(path, problems)
        settings = replace(settings, tables=tables, path=path)
        for name, value in values.items():
            settings = settings.merged(name, value, str(path))
    for name, value in read_environment(SETTINGS, environ, problems).items():
        settings = settings.merged(name, value, BY_NAME[name].env)
    if problems:
        raise UsageError(join_problems(problems), hint="`lxcast settings` lists the settings and their values")
    known = {SIGN_PASSPHRASE, *(row.env for row in SETTINGS)}
    unknown = tuple(sorted(name for name in environ if name.startswith("LXCAST_") and name not in known))
    return replace(settings, unknown_variables=unknown)


def find_file(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file that applies in a directory, None if there is none."""
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    candidates = [directory / "lxcast.toml", *([Path(config, "lxcast", "settings.toml")] if config else [])]
    return next((path for path in candidates if path.is_file()), None)


def merge(below: Value, above: Value) -> Value:
    """Return the value of a setting if `above`, from the nearer origin, is put on top of `below`."""
    if isinstance(below, tuple) and isinstance(above, tuple):
        return (*below, *above)
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {**below, **above}
    return above


def convert_all(
    given: Mapping[str, Raw],
    converter: Callable[[Setting, Raw], Value],
    spell: Callable[[Setting], str],
    problems: list[str],
    rows: Mapping[str, Setting] = BY_NAME,
) -> dict[str, Value]:
    """Return raw values as the types of their settings; the reason why one is invalid is added to `problems`.

    `spell` returns how the caller spells a setting: "--policy", "LXCAST_POLICY" or "policy".
    """
    values = {}
    for name, raw in given.items():
        try:
            values[name] = converter(rows[name], raw)
        except ValueError as error:
            problems.append(f"{spell(rows[name])} {show(raw)}: {error}")
    return values


def read_environment(rows: tuple[Setting, ...], environ: Mapping[str, str], problems: list[str]) -> dict[str, Value]:
    """Return the values that environment variables set; the reason why one is invalid is added to `problems`."""
    found = {row.name: environ[row.env] for row in rows if row.env in environ}
    by_name = {row.name: row for row in rows}
    return convert_all(found, parse, lambda row: f"environment variable {row.env}", problems, by_name)


def _read_file(path: Path, problems: list[str]) -> tuple[dict[str, Value], dict[str, Any]]:
    """Return the settings and the tables of the file; what is wrong with it is added to `problems`."""
    import tomllib  # start-up time: 10 ms, and most commands find no settings file

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read settings file {path}: {error}", hint="it must be a TOML file") from error
    given = {key.replace("-", "_"): value for key, value in content.items()}
    tables = {name: given.pop(name) for name in TABLES if name in given}
    problems += _unknown_keys(path, given)
    values = convert_all(
        {name: value for name, value in given.items() if name in BY_NAME},
        convert,
        lambda row: f"{path}: {row.name} =",
        problems,
    )
    for name, value in values.items():
        if BY_NAME[name].kind == "url" and re.search(r"[?@]", str(value)):
            problems.append(f"{path}: {name}: a signed URL is a secret; set {BY_NAME[name].env} in the environment")
    return values, tables


def _unknown_keys(path: Path, given: Mapping[str, object]) -> Iterator[str]:
    for number, name in enumerate(each for each in given if each not in BY_NAME):
        if _SECRET.search(name):
            yield (
                f"{path}: {name}: a settings file must not contain secrets, because it is committed and copied; use "
                "the environment or a separate file"
            )
        else:
            yield f"{path}: {name}: unknown setting{did_you_mean(name, BY_NAME) if number < SHOWN else ''}"
