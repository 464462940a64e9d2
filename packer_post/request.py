"""What Packer asks for: environment variables of a shell-local post-processor, or options.

Every setting has its variable and its option (lxcast.settings); the rows here are those of one build.
"""

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxcast import settings
from lxcast.errors import UsageError, join_problems
from lxcast.settings import SETTINGS, BuildOptions, Setting, Settings, Value, convert_all, did_you_mean

BUILD = (
    Setting(
        "source", "string", "", "build", False, "Source to build from: export_path of the docker builder, or image id."
    ),
    Setting("name", "string", "", "build", False, "Name of the template."),
    Setting("version", "string", "next", "build", False, "Version of the template: next, or vN."),
    Setting(
        "output", "string", "", "build", False, "Directory for template, record and checksum, in place of a storage."
    ),
    Setting(
        "receipt", "string", "", "build", False, "File to write the record to as JSON, for jsondecode(file()) in HCL."
    ),
)
_ROWS = {row.name: row for row in (*BUILD, *SETTINGS)}

# Packer's placeholder for a value of `build` that is not known: before the build, and behind a post-processor whose
# artifact has none.
UNKNOWN = "<unknown>"

_OURS = ("source", "receipt")


def make_options(base: Settings, values: Mapping[str, Value]) -> BuildOptions:
    """Return the options of a build from values by row name, those of settings on top of `base`. Raises UsageError."""
    return settings.build_options(
        base.over({name: value for name, value in values.items() if name in settings.BY_NAME}),
        name=str(values.get("name", "")),
        version=str(values.get("version", "next")),
        output=str(values["output"]) if "output" in values else None,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """The values that were given, by row name, and what is wrong with them."""

    values: Mapping[str, Value]
    problems: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The source to build from, "" if it is not known."""
        source = str(self.values.get("source", ""))
        return "" if source == UNKNOWN else source

    @property
    def receipt(self) -> Path | None:
        """The file that the record is written to."""
        return Path(str(self.values["receipt"])) if self.values.get("receipt") else None

    def options(self) -> BuildOptions:
        """Return the options of the build; UsageError holds everything that is wrong with the request."""
        problems = list(self.problems)
        problems += [
            f"{row.env} is {UNKNOWN!r}: Packer knows build.* only in the first step of a chain; make this the first"
            for row in BUILD
            if self.values.get(row.name) == UNKNOWN
        ]
        problems += [f"{_ROWS[name].env} is missing" for name in ("source", "name") if not self.values.get(name)]
        try:
            # Only the settings file is read: the environment is in `values`.
            environ = {key: os.environ[key] for key in ("HOME", "XDG_CONFIG_HOME") if key in os.environ}
            options = make_options(
                settings.load(environ=environ), {**self.values, "name": self.values.get("name") or "x"}
            )
        except UsageError as error:
            problems += error.message.splitlines()
        if problems:
            raise UsageError(join_problems(problems), hint="`lxcast-packer --help` lists variables and options")
        return options

    def resumption(self, source: str) -> str:
        """Return the sentence that names what was kept after a failure, and the command that continues from it."""
        return f"kept, so that another attempt needs no packer build: {source}\n  {self.command(source)}"

    def command(self, source: str) -> str:
        """Return the `lxcast build` command, quoted for a shell, that does this with another source."""
        words = ["lxcast", "build", source]
        for name, value in self.values.items():
            # A URL may be a secret: it stays in the environment, where the command finds it again.
            if name not in _OURS and _ROWS[name].kind != "url":
                words += _words(_ROWS[name], value)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        return shlex.join(["env", f"SOURCE_DATE_EPOCH={epoch}", *words] if epoch else words)


def read_request(arguments: Sequence[str], environ: Mapping[str, str]) -> Request:
    """Read options and variables. Options take precedence, lists are joined; no unknown value is repeated."""
    problems: list[str] = []
    values = _read_environment(environ, problems)
    for name, value in _read_options(arguments, problems).items():
        values[name] = settings.merge(values[name], value) if name in values else value
    return Request(values, tuple(problems))


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Value]:
    known = {row.env: row for row in _ROWS.values()}
    # A misspelled policy must not weaken a build, but a variable of another program is ignored.
    unknown = sorted(name for name in environ if name.startswith("LXCAST_") and environ[name] and name not in known)
    guesses = {variable: did_you_mean(variable, known, cutoff=0.8) for variable in unknown}
    problems += [f"unknown variable {variable}{guess}" for variable, guess in guesses.items() if guess]
    given = {name: value for name, value in environ.items() if value}
    return settings.read_environment(tuple(_ROWS.values()), given, problems)


def _read_options(arguments: Sequence[str], problems: list[str]) -> dict[str, Value]:
    parser = argparse.ArgumentParser(
        prog="lxcast-packer",
        description="Builds a template from the artifact of Packer's docker builder, in a shell-local post-processor, "
        "and prints the template's id. Each option is a variable too: --if-changed is LXCAST_IF_CHANGED=true.",
        epilog="No option takes a secret: options and environment_vars of shell-local are visible in the process list. "
        "Credentials of a Proxmox storage come from the environment in which Packer was started.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    for row in _ROWS.values():
        text = row.description.replace("%", "%%")
        if row.kind == "flag":
            parser.add_argument(row.option, dest=row.name, action="store_true", default=None, help=text)
        elif row.kind in ("list", "table"):
            parser.add_argument(row.option, dest=row.name, action="append", metavar=row.metavar, help=text)
        else:
            parser.add_argument(row.option, dest=row.name, metavar=row.metavar, help=text)
    try:
        known, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        problems.append(str(error))
        return {}
    if unknown:
        names = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        problems.append(f"unknown options or words: {', '.join(names) or len(unknown)}")
    given = {name: value for name, value in vars(known).items() if value is not None}
    return convert_all(given, settings.parse_words, lambda row: row.option, problems, _ROWS)


def _words(row: Setting, value: Value) -> list[str]:
    """Return the command line's words that set a value."""
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
