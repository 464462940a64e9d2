"""What Packer asks for: environment variables of a shell-local post-processor, or options.

Every setting has its variable and its option (lxcast.settings); the rows here are those of one build.
"""

import argparse
import difflib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxcast import settings
from lxcast.errors import UsageError
from lxcast.jobs.options import BuildOptions, build_options
from lxcast.model import conceal
from lxcast.settings import SETTINGS, Setting, Value

BUILD = (
    Setting("source", "text", "", "What to build from: the docker builder's export_path, or the id of its image."),
    Setting("name", "text", "", "The template's name."),
    Setting("version", "text", "next", "The template's version: next, or vN."),
    Setting("output", "text", "", "A folder for template, record and checksum, in place of a storage."),
    Setting("receipt", "text", "", "A file to write the record to as JSON, for jsondecode(file()) in HCL."),
)
_ROWS = {row.name: row for row in (*BUILD, *SETTINGS)}

# What Packer puts where a value of `build` is not known: before the build, and behind a post-processor whose artifact
# has none.
UNKNOWN = "<unknown>"

_OURS = ("source", "receipt")


@dataclass(frozen=True, slots=True)
class Request:
    """What was said, by the names of the rows, and what is wrong with how it was said."""

    said: Mapping[str, Value]
    problems: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """What to build from, "" where that is not known."""
        source = str(self.said.get("source", ""))
        return "" if source == UNKNOWN else source

    @property
    def receipt(self) -> Path | None:
        """The file that the record shall be written to."""
        return Path(str(self.said["receipt"])) if self.said.get("receipt") else None

    def options(self) -> BuildOptions:
        """Return the options of the build; UsageError holds everything that is wrong with the request."""
        problems = list(self.problems)
        problems += [
            f"{row.env} is {UNKNOWN!r}: Packer knows build.* in the first step of a chain only; make this the first"
            for row in BUILD
            if self.said.get(row.name) == UNKNOWN
        ]
        problems += [f"{_ROWS[name].env} is missing" for name in ("source", "name") if not self.said.get(name)]
        given: dict[str, Any] = {name: value for name, value in self.said.items() if name not in _OURS}
        if "output" in given:
            given["output"] = Path(given["output"])
        try:
            # Of the settings only the file is wanted: what the environment says is in `said`.
            environ = {key: os.environ[key] for key in ("HOME", "XDG_CONFIG_HOME") if key in os.environ}
            options = build_options(settings.load(environ=environ), {"name": "unsaid", **given})
        except UsageError as error:
            problems += error.message.splitlines()
        if problems:
            raise UsageError("\n".join(problems), hint="`lxcast-packer --help` lists variables and options")
        return options

    def resumption(self, source: str) -> str:
        """Return the sentence that says what was kept after a failure, and how to go on from there."""
        return f"kept, so that another try needs no packer build: {source}\n  {self.command(source)}"

    def command(self, source: str) -> str:
        """Return the `lxcast build` command, as a shell reads it, that does this with another source."""
        words = ["lxcast", "build", source]
        for name, value in self.said.items():
            # A URL may be a secret: it stays in the environment, where the command finds it again.
            if name not in _OURS and _ROWS[name].kind != "url":
                words += _words(_ROWS[name], value)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        return shlex.join(["env", f"SOURCE_DATE_EPOCH={epoch}", *words] if epoch else words)


def read_request(arguments: Sequence[str], environ: Mapping[str, str]) -> Request:
    """Read options and variables; options win, lists are joined. Values of what is unknown are not repeated."""
    problems: list[str] = []
    said = _read_environment(environ, problems)
    for name, value in _read_options(arguments, problems).items():
        said[name] = settings.merge(said[name], value) if name in said else value
    return Request(said, tuple(problems))


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Value]:
    said: dict[str, Value] = {}
    rows = {row.env: row for row in _ROWS.values()}
    for variable in sorted(name for name in environ if name.startswith("LXCAST_") and environ[name]):
        if variable not in rows:
            # A misspelt policy must not weaken a build, but a variable of another program is none of ours.
            near = difflib.get_close_matches(variable, rows, n=1, cutoff=0.8)
            problems += [f"{variable}: there is no such variable; is {each} meant?" for each in near]
            continue
        try:
            said[rows[variable].name] = settings.parse(rows[variable], environ[variable])
        except ValueError as error:
            problems.append(f"{variable}={conceal(environ[variable])}: {error}")
    return said


def _read_options(arguments: Sequence[str], problems: list[str]) -> dict[str, Value]:
    parser = argparse.ArgumentParser(
        prog="lxcast-packer",
        description="Builds a template out of what Packer's docker builder left, for its shell-local post-processor; "
        "prints the template's id. Each option is a variable too: --if-changed is LXCAST_IF_CHANGED=true.",
        epilog="No option holds a secret: options and environment_vars of shell-local stand in the process list. What "
        "a Proxmox storage needs comes from the environment that Packer was started in.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    for row in _ROWS.values():
        text = row.description.replace("%", "%%")
        if row.kind == "flag":
            parser.add_argument(row.option, action="store_true", default=None, help=text)
        elif row.kind in ("list", "table"):
            parser.add_argument(row.option, action="append", metavar="K=V" if row.kind == "table" else "X", help=text)
        else:
            parser.add_argument(row.option, metavar="X", help=text)
    try:
        known, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        problems.append(str(error))
        return {}
    if unknown:
        names = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        problems.append(f"unknown options or words: {', '.join(names) or len(unknown)}")
    said: dict[str, Value] = {}
    for name, value in vars(known).items():
        if value is not None:
            try:
                said[name] = _convert(_ROWS[name], value)
            except ValueError as error:
                problems.append(f"{_ROWS[name].option}: {error}")
    return said


def _convert(row: Setting, value: Any) -> Value:
    if row.kind == "table":
        return settings.parse_pairs(value)
    return settings.convert(row, value) if row.kind in ("flag", "list") else settings.parse(row, value)


def _words(row: Setting, value: Value) -> list[str]:
    """Return the command line's words that say a setting."""
    if isinstance(value, bool):
        return [row.option] if value else []
    if isinstance(value, Mapping):
        values = [f"{key}={each}" for key, each in value.items()]
    else:
        values = list(value) if isinstance(value, tuple) else [str(value)]
    # A value that looks like an option must not be taken for one.
    return [
        word for each in values for word in ([f"{row.option}={each}"] if each.startswith("-") else [row.option, each])
    ]
