"""The table of calls: path, parameters, privileges, and what is done."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .access import Needs, Token
from .answer import Answer, RefusedError, as_json
from .state import State
from .storage import die


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one parameter may be; `requires` names another that must come with it."""

    name: str
    required: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""
    max_length: int = 0
    requires: str = ""

    def fault(self, given: Mapping[str, str]) -> str:
        """Say in Proxmox's words what is wrong with it, or ""."""
        value = given.get(self.name)
        if value is None:
            return "property is missing and it is not optional" if self.required else ""
        if self.choices and value not in self.choices:
            return f"value '{value}' does not have a value in the enumeration '{', '.join(self.choices)}'"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return "value does not match the regex pattern"
        if self.max_length and len(value) > self.max_length:
            return f"value may only be {self.max_length} characters long"
        if self.requires and self.requires not in given:
            return f"missing property - '{self.name}' requires this property"
        return ""


@dataclass
class Context:
    """A call that is being made: to which node, by whom, with what.

    `temporary` is an upload's file, and `uploads` how many times its call is made.
    """

    cluster: State
    node: str
    token: Token
    parameters: dict[str, str]
    temporary: Path | None = None
    uploads: int = 1

    def has(self, path: str, *privileges: str) -> bool:
        """Whether the caller has all of them."""
        return self.cluster.access.has(self.token, path, *privileges)

    def require(self, path: str, *privileges: str, any: bool = False) -> None:
        """Refuse the call where a privilege lacks."""
        said = Needs(path, privileges, any).missing(self.cluster.access, self.token, self.parameters)
        if said:
            raise RefusedError(as_json(403, None, said))


@dataclass(frozen=True, slots=True)
class Counted:
    """A list of which only a part is given, and how many there are."""

    data: list[Any]
    total: int


@dataclass(frozen=True)
class Call:
    """A method on a path; {name} is one part of it, {name*} all that is left.

    `needs` is a choice of lists: the caller has all privileges of one of them. `open` takes any parameter.
    """

    method: str
    path: str
    heading: str
    run: Callable[[Context], Any]
    needs: tuple[tuple[Needs, ...], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    open: bool = False
    proxied: bool = True
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        """Make the pattern of the path."""
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))

    def check_parameters(self, given: Mapping[str, str], in_path: Mapping[str, str]) -> None:
        """Refuse unknown, missing and wrong parameters, all at once."""
        known = {parameter.name: parameter for parameter in self.parameters}
        errors = {}
        for name in given:
            if name not in known and name not in in_path and not self.open:
                errors[name] = "property is not defined in schema and the schema does not allow additional properties"
        for parameter in self.parameters:
            if said := parameter.fault({**given, **in_path}):
                errors[parameter.requires if said.startswith("missing property") else parameter.name] = said
        if errors:
            raise RefusedError(as_json(400, None, "Parameter verification failed.\n", errors))

    def check_privileges(self, context: Context) -> None:
        """Refuse a caller without the privileges; what is told is what the last choice lacks."""
        said = ""
        for choice in self.needs:
            missing = (needs.missing(context.cluster.access, context.token, context.parameters) for needs in choice)
            said = next(filter(None, missing), "")
            if not said:
                return
        if said:
            raise RefusedError(as_json(403, None, said))


def find(calls: tuple[Call, ...], method: str, path: str) -> tuple[Call, dict[str, str]]:
    """Find a call and the values in its path; raises RefusedError with 501."""
    if path.endswith("/") and path != "/":
        raise RefusedError(Answer(506, "Variant Also Negotiates"))
    for call in calls:
        if call.method == method and (found := call.pattern.fullmatch(path)):
            return call, found.groupdict()
    raise RefusedError(as_json(501, None, f"Method '{method} {path}' not implemented"))


def make_call(calls: tuple[Call, ...], context: Context, method: str, path: str) -> Answer:
    """Make a call as the server does: privileges, then the node that it is for, then parameters, then the work."""
    try:
        call, in_path = find(calls, method, path)
        given = context.parameters
        for name in given.keys() & in_path.keys():
            if given[name] != in_path[name]:
                said = "duplicate parameter (already defined in URI) with conflicting values!"
                raise RefusedError(as_json(400, None, "Parameter verification failed.\n", {name: said}))
        context.parameters = {**given, **in_path}
        call.check_privileges(context)
        if call.proxied and "node" in in_path:
            context.parameters["node"] = reach(context, in_path["node"])
        call.check_parameters(given, in_path)
        result = call.run(context)
    except RefusedError as error:
        return error.answer
    if isinstance(result, Counted):
        return as_json(200, result.data, total=result.total)
    return as_json(200, result)


def reach(context: Context, node: str) -> str:
    """Find the node that a call goes on to from the one that took it; raises RefusedError."""
    if node == "localhost":
        return context.node
    if node not in context.cluster.nodes:
        said = f"hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"
        raise die(said)
    if node != context.node and not context.cluster.is_up(node):
        # What AnyEvent::HTTP, which forwards the call, says for itself has a status of its own.
        raise RefusedError(Answer(595, "Connection refused"))
    return node
