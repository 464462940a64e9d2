"""How a command is declared: its own parameters, the options that come from the settings table, and the common ones.

The only module that knows typer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from lxcast import __version__
from lxcast.cli.console import Console
from lxcast.errors import UsageError
from lxcast.progress import DEBUG, QUIET, VERBOSE
from lxcast.settings import BY_NAME, Setting, Value, convert_all, load, parse_words, show

__all__ = ["Argument", "Insecure", "Json", "Option", "command", "group", "invoke", "tree"]

Command = Callable[..., int | None]

Json = Annotated[bool, Option("--json", help="Print JSON.")]

Insecure = Annotated[bool, Option("--insecure-no-checksum", help="Take whatever the server of an https source gives.")]

_Quiet = Annotated[bool, Option("--quiet", "-q", help="Show only warnings and errors.")]
_Verbose = Annotated[bool, Option("--verbose", "-v", help="Show each step with its time.")]
_Debug = Annotated[bool, Option("--debug", help="Show everything, and tracebacks.")]
_LogFile = Annotated[Path | None, Option("--log-file", metavar="FILE", help="Append everything to a file, timed.")]

_app = typer.Typer(
    rich_markup_mode=None,  # importing rich would double the start-up
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def invoke(arguments: Sequence[str], console: Console) -> int:
    """Run the command that the arguments name, and return its exit code; UsageError where they cannot be parsed."""
    # typer's older releases depend on click and its newer ones carry a copy of it: the base of this public class is
    # what both raise.
    unparsable: Any = typer.BadParameter.__bases__[0]
    try:
        code = tree()(list(arguments), prog_name="lxcast", standalone_mode=False, obj=console)
    except unparsable as error:
        path = error.ctx.command_path if error.ctx else "lxcast"
        raise UsageError(error.format_message(), hint=f"`{path} --help` shows what there is") from error
    return code if isinstance(code, int) else 0


def tree() -> Any:
    """Return the application as click's group of the commands declared so far: what the documents are checked by."""
    return typer.main.get_command(_app)


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
            return function(console, **given)

        own = [
            each
            for each in list(signature(function).parameters.values())[1:]
            if each.name not in ("settings", "values")
        ]
        parameters = [_keyword("context", Parameter.empty, typer.Context)]
        parameters += [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
        parameters += [_keyword(each, None, _option(BY_NAME[each])) for each in settings]
        parameters += [_keyword(each, None, _option(row)) for each, row in (rows or {}).items()]
        parameters += [_keyword(each, default, kind) for each, (default, kind) in _COMMON.items()]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # inspect reads it, typer by that
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        group, _, verb = name.rpartition(" ")
        (_groups[group] if group else _app).command(verb, epilog=_example(example))(run)
        return function

    return register


def group(name: str, about: str, *, example: str) -> None:
    """Make a group of commands; alone it prints its help."""

    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    _groups[name] = typer.Typer(rich_markup_mode=None)
    _groups[name].callback(invoke_without_command=True, help=about, epilog=_example(example))(show_help)
    _app.add_typer(_groups[name], name=name)


_groups: dict[str, typer.Typer] = {}

_COMMON: Mapping[str, tuple[object, Any]] = {
    "quiet": (False, _Quiet),
    "verbose": (False, _Verbose),
    "debug": (False, _Debug),
    "log_file": (None, _LogFile),
}
"""The options of every command, with default and annotation; they may stand before the command's name, too."""


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"  # \b: the lines are not wrapped


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"lxcast {__version__}")
        raise typer.Exit


@_app.callback(invoke_without_command=True, epilog=_example("lxcast build docker-daemon:my-image --name debian-12"))
def _lxcast(
    context: typer.Context,
    version: Annotated[bool, Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
    debug: _Debug = False,
    log_file: _LogFile = None,
) -> None:
    """Cast a Docker-built root filesystem into a Proxmox VE container template."""
    _listen(context.obj, quiet=quiet, verbose=verbose, debug=debug, log_file=log_file)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _listen(console: Console, *, quiet: bool, verbose: bool, debug: bool, log_file: Path | None) -> None:
    said = [level for level, flag in ((QUIET, quiet), (VERBOSE, verbose), (DEBUG, debug)) if flag]
    if quiet and len(said) > 1:
        raise UsageError("--quiet excludes --verbose and --debug")
    if said:
        console.level = max(said)
    if log_file is not None:
        console.log_file = log_file


def _keyword(name: str, default: object, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(row: Setting) -> Any:
    """Return the annotation that makes typer offer a setting; the value is None where the user says nothing."""
    kinds: Mapping[str, Any] = {"flag": bool, "number": int, "list": list[str], "table": list[str]}

    def complete(incomplete: str) -> list[str]:
        return [each for each in (row.choices or _rows(row.name)) if each.startswith(incomplete)]

    name = f"{row.option}/--no-{row.option[2:]}" if row.kind == "flag" else row.option
    default = f" [{show(row.default)}]".replace('"', "") if row.default and row.kind != "flag" else ""
    option = Option(
        name,
        metavar=None if row.kind == "flag" else row.metavar,
        help=row.description + default,
        autocompletion=complete,
    )
    return Annotated[kinds.get(row.kind, str) | None, option]


def _convert(given: Mapping[str, Any], rows: Mapping[str, Setting] = BY_NAME) -> dict[str, Value]:
    """Return the options that the user wrote; raises UsageError with everything that is wrong with them."""
    problems: list[str] = []
    written = {name: value for name, value in given.items() if value is not None}
    values = convert_all(written, parse_words, lambda row: row.option, problems, rows)
    if problems:
        raise UsageError("\n".join(problems))
    return values


def _rows(name: str) -> Iterable[str]:
    """Return the rows of the tables that an option names, for the shell's completion."""
    from lxcast.cli.tables import check_names, row_names

    if name == "allow":
        return [f"{each}=" for each in check_names()]
    return row_names(default=name == "disable") if name in ("enable", "disable") else ()
