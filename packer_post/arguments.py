"""The arguments of `post-processor "lxcast"`: one table for Packer and for the reference page.

They are the settings (lxcast.settings) and the rows of one build, called as on the command line; but `name` is
`template_name`: Packer uses an argument `name` of any post-processor itself, as the name for `only` and `except`
(hcl2template/types.build.post-processor.go), and does not pass it to the plugin.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxcast import settings
from lxcast.errors import UsageError, join_problems
from lxcast.jobs.build import plan_build
from lxcast.settings import SETTINGS, BuildOptions, Setting, Value
from packer_post.protocol.hcl_spec import Attribute
from packer_post.request import BUILD, UNKNOWN, make_options

RECORD_FILE = Setting(
    "record_file", "string", "", "build", False, "Further file to write the record of the template to, as JSON."
)

ROWS: tuple[Setting, ...] = (
    *(row for row in BUILD if row.name not in ("source", "receipt")),
    RECORD_FILE,
    *SETTINGS,
)

ARGUMENTS = {row.name: "template_name" if row.name == "name" else row.name for row in ROWS}
"""Row name -> argument name in Packer's templates."""

_BY_ARGUMENT = {ARGUMENTS[row.name]: row for row in ROWS}
_TYPES = {
    "string": "string",
    "url": "string",
    "size": "string",
    "flag": "bool",
    "number": "number",
    "list": "list(string)",
    "table": "map(string)",
}

ATTRIBUTES = tuple(
    Attribute(argument, _TYPES[row.kind], row.description, row.name == "name") for argument, row in _BY_ARGUMENT.items()
)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments in a template, by row name."""

    values: Mapping[str, Value]
    unknown: tuple[str, ...] = ()
    """Arguments with a value that Packer does not know yet."""
    problems: tuple[str, ...] = ()
    """What is wrong with single arguments."""

    @property
    def record_file(self) -> Path | None:
        """The further file that the record is written to."""
        return Path(str(self.values["record_file"])) if self.values.get("record_file") else None

    @property
    def build(self) -> Mapping[str, Value]:
        """The arguments of the build itself."""
        return {name: value for name, value in self.values.items() if name != RECORD_FILE.name}

    def options(self) -> BuildOptions:
        """Return the options of the build, on top of settings file and environment, checked without any network.

        Raises UsageError with everything that is wrong. A value that Packer does not know yet is taken as valid.
        """
        # A stand-in for a name that is not known yet, or whose value is one of the problems: Packer requires one.
        given = {"name": "unknown"} | {name: value for name, value in self.build.items() if name not in self.unknown}
        if "output" in self.unknown:
            given["output"] = os.curdir
        try:
            options = make_options(settings.load(), given)
            plan_build(options)
        except UsageError as error:
            problems = [*self.problems, as_arguments(error.message)]
            raise UsageError(join_problems(problems), hint=as_arguments(error.hint)) from error
        if self.problems:
            raise UsageError(join_problems(list(self.problems)))
        return options


def read_arguments(configs: Sequence[Any]) -> Arguments:
    """Read the configurations that Packer passes to Configure. Raises UsageError for a template that is not HCL.

    A configuration is bytes: the JSON of a cty value without a type, {"type": ..., "value": ...} (go-cty,
    cty/json). A dictionary holds Packer's own values, packer_*; with more in it, it is a JSON template, whose variables
    a plugin would have to fill in.
    """
    given = {
        _BY_ARGUMENT[argument].name: value
        for config in configs
        for argument, value in _values(config).items()
        if value is not None and argument in _BY_ARGUMENT
    }
    unknown = {name: value for name, value in given.items() if _is_unknown(value)}
    problems: list[str] = []
    values = settings.convert_all(
        {name: value for name, value in given.items() if name not in unknown},
        settings.convert,
        lambda row: f"{ARGUMENTS[row.name]} =",
        problems,
        {row.name: row for row in ROWS},
    )
    return Arguments(values | unknown, tuple(unknown), tuple(problems))


def as_arguments(text: str) -> str:
    """Return a message with options replaced by the arguments of the same meaning, except in commands."""
    return "\n".join(line if re.search(r"\blxcast [a-z]", line) else _as_arguments(line) for line in text.split("\n"))


def _as_arguments(line: str) -> str:
    options = {row.option: ARGUMENTS[row.name] for row in ROWS}
    line = re.sub(r"--allow ([\w-]+)=REASON", r'allow = { \1 = "REASON" }', line)
    return re.sub(r"--[a-z-]+", lambda match: options.get(match[0], match[0]), line)


def _values(config: Any) -> dict[str, Any]:
    if isinstance(config, bytes):
        try:
            value = json.loads(config)["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError("Packer's configuration is not the JSON of a value and its type") from error
        return value if isinstance(value, dict) else {}
    if isinstance(config, dict) and any(not str(key).startswith("packer_") for key in config):
        raise UsageError(
            "lxcast needs a template in HCL, this one is JSON", hint="convert it: packer hcl2_upgrade FILE"
        )
    return {}


def _is_unknown(value: object) -> bool:
    """Whether Packer put its placeholder into a value, because a value of `build` is not known yet."""
    if isinstance(value, Mapping):
        return any(map(_is_unknown, value.values()))
    return any(map(_is_unknown, value)) if isinstance(value, list | tuple) else UNKNOWN in str(value)
