"""How a command is declared: its own parameters, the options that come from the settings table, and the common ones.

The only module that knows typer.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from importlib import import_module
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
import typer.core
from typer import Argument, Option

from lxcast import __version__
from lxcast.cli.console import Console
from lxcast.cli.verbs import ALIASES, VERBS
from lxcast.errors import UsageError, join_problems
from lxcast.progress import DEBUG, QUIET, VERBOSE
from lxcast.settings import BY_NAME, Setting, Value, convert_all, did_you_mean, load, parse_words, show

__all__ = ["Argument", "Insecure", "Json", "Option", "command", "group", "invoke", "tree"]

Command = Callable[..., int | None]

Json = Annotated[bool, Option("--json", help="Print JSON.")]

Insecure = Annotated[bool, Option("--insecure-no-checksum", help="Accept an https source without a checksum.")]

_Quiet = Annotated[bool, Option("--quiet", "-q", help="Show only warnings and errors.")]
_Verbose = Annotated[bool, Option("--verbose", "-v", help="Show each step and its duration.")]
_Debug = Annotated[bool, Option("--debug", help="Show everything, including tracebacks.")]
_LogFile = Annotated[str | None, Option("--log-file", metavar="FILE", help="Append everything to a file, with times.")]

PANELS = {
    "source": "Source",
    "limits": "Source",
    "content": "Content",
    "checks": "Checks",
    "naming": "Output",
    "output": "Output",
    "result": "Output",
    "evidence": "Output",
    "storage": "Storage",
    "access": "Proxmox",
    "nodes": "Proxmox",
    "delivery": "Proxmox",
}
"""Group of settings -> the panel of the help that lists their options."""

_HELP = {"help_option_names": ["-h", "--help"]}


class _Command(typer.core.TyperCommand):
    """A command whose help lists its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel: the command's own options first, those of every command last."""
        panels: dict[str, list[Any]] = {"Arguments": [], "Options": [], **{panel: [] for panel in PANELS.values()}}
        panels["General"] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels[_panel(parameter)].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


def _panel(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    if parameter.name in BY_NAME and parameter.opts[0] in (BY_NAME[parameter.name].option,):
        return PANELS[BY_NAME[parameter.name].group]
    return "General" if parameter.name in (*_COMMON, "help") else "Options"


class _Verbs(typer.core.TyperGroup):
    """The verbs; the module of one is imported when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of their table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb's command."""
        return _load(ALIASES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel of the verbs."""
        for panel in dict.fromkeys(panel for panel, _ in VERBS.values()):
            with formatter.section(panel):
                formatter.write_dl([(verb, summary) for verb, (each, summary) in VERBS.items() if each == panel])


def _load(verb: str) -> Any:
    """Return the command or group of a verb, None if there is no such verb."""
    if verb not in VERBS:
        return None
    import_module(f"lxcast.cli.{verb}")
    loaded = typer.main.get_command(_apps[verb])
    loaded.name = verb
    return loaded


def invoke(arguments: Sequence[str], console: Console) -> int:
    """Run the command that the arguments name, and return its exit code; UsageError if they cannot be parsed."""
    # typer's older releases depend on click and its newer ones carry a copy of it: the base of this public class is
    # what both raise.
    unparsable: Any = typer.BadParameter.__bases__[0]
    try:
        code = typer.main.get_command(_app)(
            expand_help(arguments), prog_name="lxcast", standalone_mode=False, obj=console
        )
    except unparsable as error:
        path = error.ctx.command_path if error.ctx else "lxcast"
        message = error.format_message().rstrip(".")
        guess = _guess(message)
        raise UsageError(f"{message[:1].lower()}{message[1:]}{guess}", hint=f"see `{path} --help`") from error
    return code if isinstance(code, int) else 0


def expand_help(arguments: Sequence[str]) -> list[str]:
    """Return `help VERB` as `VERB --help`, and any other arguments as they are."""
    return [*arguments[1:], "--help"] if arguments and arguments[0] == "help" else list(arguments)


def _guess(message: str) -> str:
    """Return the verb that an unknown one is a misspelling of; typer itself guesses options."""
    unknown = re.fullmatch(r"No such command '(.*)'", message)
    return did_you_mean(unknown[1], (*VERBS, *ALIASES)) if unknown else ""


@cache
def tree() -> Any:
    """Return the application as click's group with every command loaded, for checks of the documents."""
    root = typer.main.get_command(_app)
    root.commands = {verb: _load(verb) for verb in VERBS}  # type: ignore[attr-defined] # a group
    return root


def command(
    name: str,
    *settings: str,
    without_option: tuple[str, ...] = (),
    rows: Mapping[str, Setting] | None = None,
    example: str,
) -> Callable[[Command], Command]:
    """Make a function the command `name`, which may be a group's: "GROUP VERB".

    Its first parameter is the Console. The named settings get an option each and arrive, merged from file, environment
    and options, as `settings`; those `without_option` come from file and environment alone. All others have their
    default, whatever the file contains. `rows` are options that are no settings: what the user set of them arrives,
    converted, as `values`. The function returns the exit code, None for 0.
    """

    def register(function: Command) -> Command:
        @wraps(function)
        def run(context: typer.Context, **given: Any) -> int | None:
            console: Console = context.obj
            _listen(console, **{each: given.pop(each) for each in _COMMON})
            console.progress.debug(f"lxcast {__version__}: {name}")
            if settings:
                options = _convert({each: given.pop(each) for each in settings})
                given["settings"] = load().over(options).only((*settings, *without_option))
            if rows:
                given["values"] = _convert({each: given.pop(each) for each in rows}, rows)
            given |= {each: _to_path(each, given[each]) for each in paths}
            return function(console, **given)

        own = [
            each
            for each in list(signature(function).parameters.values())[1:]
            if each.name not in ("settings", "values")
        ]
        paths = [each.name for each in own if _is_path(each)]
        parameters = [_keyword("context", Parameter.empty, typer.Context)]
        parameters += [_as_words(each) if _is_path(each) else each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
        parameters += [_keyword(each, None, _option(BY_NAME[each])) for each in settings]
        parameters += [_keyword(each, None, _option(row)) for each, row in (rows or {}).items()]
        parameters += [_keyword(each, default, kind) for each, (default, kind) in _COMMON.items()]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # inspect reads it, typer by that
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        group, _, verb = name.rpartition(" ")
        app = _apps[group] if group else _apps.setdefault(verb, _make_app())
        app.command(verb, epilog=_example(example), cls=_Command)(run)
        return function

    return register


def _is_path(parameter: Parameter) -> bool:
    return "Path" in str(get_args(parameter.annotation)[:1])


def _as_words(parameter: Parameter) -> Parameter:
    """Return a parameter of type Path as typer gets it: as a string, in which an empty path can be told from "."."""
    kind, *more = get_args(parameter.annotation)
    several = "list" in str(kind)
    words: Any = list[str] if several else str
    default = str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
    kind = words | None if "None" in str(kind) else words
    annotation: Any = Annotated.__class_getitem__((kind, *more))  # type: ignore[attr-defined] # made at run time
    return Parameter(parameter.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _to_path(name: str, given: Any) -> Any:
    """Return words as paths; UsageError for an empty one, which would be the working directory."""
    words = given if isinstance(given, list) else [given]
    if "" in words:
        raise UsageError(f"the path of {name.replace('_', '-')} is empty", hint="for the working directory write .")
    return [Path(each) for each in given] if isinstance(given, list) else None if given is None else Path(given)


def group(name: str, about: str, *, example: str) -> None:
    """Make a group of commands; alone it prints its help."""

    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    _apps[name] = _make_app()
    _apps[name].callback(invoke_without_command=True, help=about, epilog=_example(example))(show_help)


def _make_app(**more: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,  # importing rich would double the start-up
        pretty_exceptions_enable=False,
        context_settings=_HELP,
        add_completion=False,
        **more,
    )


_COMMON: Mapping[str, tuple[object, Any]] = {
    "quiet": (False, _Quiet),
    "verbose": (False, _Verbose),
    "debug": (False, _Debug),
    "log_file": (None, _LogFile),
}
"""The options of every command, with default and annotation; they can also come before the command's name."""


def _example(lines: str) -> str:
    """Return one example, or one a line, as the end of a help."""
    heading = "Examples" if "\n" in lines else "Example"
    indented = lines.replace("\n", "\n  ")
    return f"\b\n{heading}:\n  {indented}"  # \b: the lines are not wrapped


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"lxcast {__version__}")
        raise typer.Exit


_apps: dict[str, typer.Typer] = {}
"""The application of each verb whose module was imported."""

_app = typer.Typer(cls=_Verbs, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_HELP)


@_app.callback(
    invoke_without_command=True,
    epilog=_example("lxcast build docker-daemon:my-image --name debian-12\nlxcast help build"),
)
def _lxcast(
    context: typer.Context,
    version: Annotated[
        bool, Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
    debug: _Debug = False,
    log_file: _LogFile = None,
) -> None:
    """Turn a Docker image or container into a Proxmox VE (LXC) container template."""
    _listen(context.obj, quiet=quiet, verbose=verbose, debug=debug, log_file=log_file)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _listen(console: Console, *, quiet: bool, verbose: bool, debug: bool, log_file: str | None) -> None:
    said = [level for level, flag in ((QUIET, quiet), (VERBOSE, verbose), (DEBUG, debug)) if flag]
    if quiet and len(said) > 1:
        raise UsageError("--quiet excludes --verbose and --debug")
    if said:
        console.level = max(said)
    if log_file is not None:
        console.log_file = _to_path("log-file", log_file)


def _keyword(name: str, default: object, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(row: Setting) -> Any:
    """Return the annotation that makes typer offer a setting; the value is None if the option is not used."""
    kinds: Mapping[str, Any] = {"flag": bool, "list": list[str], "table": list[str]}

    def complete(incomplete: str) -> list[str]:
        return [each for each in (row.choices or _rows(row.name)) if each.startswith(incomplete)]

    name = f"{row.option}/--no-{row.option[2:]}" if row.kind == "flag" else row.option
    default = f" [default: {_shown_default(row)}]" if row.default and row.kind != "flag" else ""
    option = Option(
        name,
        metavar=None if row.kind == "flag" else row.metavar,
        help=f"{row.description}{' Repeatable.' if row.kind in ('list', 'table') else ''}{default}",
        autocompletion=complete,
    )
    return Annotated[kinds.get(row.kind, str) | None, option]


def _shown_default(row: Setting) -> str:
    """Return a default as a person writes it: 1TiB, not 1099511627776."""
    if row.kind == "size" and isinstance(row.default, int):
        return next(f"{row.default >> bits}{unit}" for bits, unit in _UNITS if row.default % (1 << bits) == 0)
    return show(row.default).strip('"')


_UNITS = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"), (0, ""))


def _convert(given: Mapping[str, Any], rows: Mapping[str, Setting] = BY_NAME) -> dict[str, Value]:
    """Return the options that the user wrote; raises UsageError with everything that is wrong with them."""
    problems: list[str] = []
    written = {name: value for name, value in given.items() if value is not None}
    values = convert_all(written, parse_words, lambda row: row.option, problems, rows)
    if problems:
        raise UsageError(join_problems(problems))
    return values


def _rows(name: str) -> Iterable[str]:
    """Return the rows of the tables that an option takes, for the shell's completion."""
    # Start-up time: each table by itself, and only when it is completed.
    if name == "allow":
        from lxcast.rootfs.checks import CHECKS

        return [f"{row.id}=" for row in CHECKS]
    if name not in ("enable", "disable"):
        return ()
    from lxcast.rootfs.fits import FITS
    from lxcast.rootfs.operations import OPERATIONS

    return [row.id for row in (*OPERATIONS, *FITS) if row.default == (name == "disable")]
