"""The arguments of `post-processor "lxcast"`: one table for what Packer is told and for the reference page.

They are the settings (lxcast.settings) and what belongs to one build, by the names that the command line has for them;
but `name` is `template_name`: Packer takes an argument `name` of any post-processor for itself, as what `only` and
`except` name (hcl2template/types.build.post-processor.go), and no plugin is told of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxcast import settings
from lxcast.errors import UsageError
from lxcast.jobs.build import validate
from lxcast.jobs.options import BuildOptions, build_options
from lxcast.settings import SETTINGS, Setting, Value
from packer_post.protocol.hcl_spec import Attribute
from packer_post.request import BUILD, UNKNOWN

RECORD_FILE = Setting("record_file", "text", "", "A further file to write the template's record to, as JSON.")

ROWS: tuple[Setting, ...] = (
    *(row for row in BUILD if row.name not in ("source", "receipt")),
    RECORD_FILE,
    *SETTINGS,
)

ARGUMENTS = {row.name: "template_name" if row.name == "name" else row.name for row in ROWS}
"""Row -> how Packer's templates call it."""

_BY_ARGUMENT = {ARGUMENTS[row.name]: row for row in ROWS}
_TYPES = {
    "text": "string",
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
    """What a template says, by the names of the rows."""

    said: Mapping[str, Value]
    unknown: tuple[str, ...] = ()
    """Arguments that hold a value that Packer does not know yet."""
    problems: tuple[str, ...] = ()
    """What is wrong with single arguments."""

    @property
    def record_file(self) -> Path | None:
        """The further file that the record is written to."""
        return Path(str(self.said["record_file"])) if self.said.get("record_file") else None

    @property
    def build(self) -> Mapping[str, Value]:
        """What is said to the build itself."""
        return {name: value for name, value in self.said.items() if name != RECORD_FILE.name}

    def options(self) -> BuildOptions:
        """Return the options of the build, over the settings of file and environment, judged without any network.

        Raises UsageError with everything that is wrong. What is unknown is taken for fine.
        """
        given: dict[str, Any] = {name: value for name, value in self.build.items() if name not in self.unknown}
        if "name" in self.unknown:
            given["name"] = "unknown"
        if "output" in given:
            given["output"] = Path(given["output"])
        if "output" in self.unknown:
            given["output"] = Path()
        if "name" not in given:
            given["name"] = "unsaid"  # only where its value is one of the problems: Packer asks for it
        try:
            options = build_options(settings.load(), given)
            validate(options)
        except UsageError as error:
            problems = (*self.problems, as_arguments(error.message))
            raise UsageError("\n".join(problems), hint=as_arguments(error.hint)) from error
        if self.problems:
            raise UsageError("\n".join(self.problems))
        return options


def read_arguments(configs: Sequence[Any]) -> Arguments:
    """Read what Packer hands to Configure. Raises UsageError where that is no template in HCL.

    A configuration is bytes: the JSON of a cty value without a type, {"type": ..., "value": ...} (go-cty,
    cty/json). A dictionary holds what Packer itself says, packer_*; with more in it, it is a template of the time
    before HCL, whose variables a plugin would have to put in.
    """
    said: dict[str, Value] = {}
    problems = []
    for config in configs:
        for argument, given in _values(config).items():
            if given is None or argument not in _BY_ARGUMENT:
                continue
            row = _BY_ARGUMENT[argument]
            try:
                # max_size = "1TiB" and max_size = 1000 reach the plugin as a text.
                said[row.name] = settings.parse(row, given) if row.kind == "size" else settings.convert(row, given)
            except ValueError as error:
                if not _is_unknown(given):
                    problems.append(f"{argument} = {settings.show(given)}: {error}")
                    continue
                said[row.name] = given
    return Arguments(said, tuple(name for name, value in said.items() if _is_unknown(value)), tuple(problems))


def as_arguments(text: str) -> str:
    """Return a message with the command line's options as the arguments that mean the same, but for commands."""
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
            raise UsageError("Packer's configuration is no JSON of a value and its type") from error
        return value if isinstance(value, dict) else {}
    if isinstance(config, dict) and any(not str(key).startswith("packer_") for key in config):
        raise UsageError(
            "lxcast needs a template in HCL, this one is JSON", hint="packer hcl2_upgrade makes one of the other"
        )
    return {}


def _is_unknown(value: object) -> bool:
    """Whether Packer put a placeholder into a value: it does where a value of `build` is not there yet."""
    if isinstance(value, Mapping):
        return any(map(_is_unknown, value.values()))
    return any(map(_is_unknown, value)) if isinstance(value, list | tuple) else UNKNOWN in str(value)
