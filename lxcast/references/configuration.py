"""Configurations as Terraform loads them: the files of one directory, with the values that they are called with."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lxcast.errors import PinError
from lxcast.references.address import Step
from lxcast.references.bindings import MOST, each_bindings, loop_bindings
from lxcast.references.entries import VARIABLE
from lxcast.references.files import read_file
from lxcast.references.functions import call
from lxcast.references.hcl import Document
from lxcast.references.json_syntax import parse_json
from lxcast.references.nodes import Attribute, Block, Body, Node
from lxcast.references.values import NOTHING, OWN, UNKNOWN, Origin, Text, Value, concat, listed, union

_DEEPEST = 12
_STEPS = 300_000
"""Expressions that one search evaluates; later ones have an unknown value."""

Bindings = Mapping[str, Value]
Load = Callable[[Path], "Sequence[Document] | None"]
Assigned = Mapping[str, "Sequence[Assignment]"]


@dataclass(frozen=True, slots=True)
class Here:
    """The place of an expression, and the names that are bound there: each, count, the variables of a `for`."""

    document: Document
    path: tuple[Step, ...] = ()
    bindings: Bindings = field(default_factory=dict)

    def at(self, step: Step) -> "Here":
        """Return the place of a member."""
        return Here(self.document, (*self.path, step), self.bindings)

    def bound(self, bindings: Bindings) -> "Here":
        """Return the same place with further names."""
        return Here(self.document, self.path, {**self.bindings, **bindings})


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """A variable that a file sets."""

    directory: Path
    name: str
    here: Here
    node: Node
    is_automatic: bool
    """Whether Terraform or Packer loads the file by itself."""


class Budget:
    """Counts what a search evaluates, so that no configuration can make it endless."""

    def __init__(self) -> None:
        self.steps = _STEPS

    def is_spent(self) -> bool:
        """Take one step; whether there are none left."""
        self.steps -= 1
        return self.steps < 0


class Configuration:
    """The documents of a directory; `arguments` are those of the call, None for a directory that is run itself.

    `assigned` are the values that files set variables to: of one variable, every one that may be used. `load` reads
    the documents of a module's directory, None if there are none.
    """

    def __init__(
        self,
        directory: Path,
        documents: Sequence[Document],
        load: "Load",
        budget: Budget,
        *,
        assigned: Assigned | None = None,
        arguments: Mapping[str, Value] | None = None,
        caller: "Configuration | None" = None,
    ) -> None:
        self.directory = directory
        self.documents = documents
        self.budget = budget
        self.assigned = assigned or {}
        self.arguments = arguments
        self.load = load
        self.run_in: Path = caller.run_in if caller else directory
        self.chain: tuple[Path, ...] = (*(caller.chain if caller else ()), directory)
        self._values: dict[tuple[str, ...], Value] = {}
        self._depth = 0

    @cached_property
    def blocks(self) -> Mapping[tuple[str, ...], tuple[Here, Body]]:
        """The blocks by their headers; locals are kept elsewhere."""
        return {block.header: (here, block.body) for here, block in self.top_blocks() if block.header != ("locals",)}

    @cached_property
    def locals(self) -> Mapping[str, tuple[Here, Node]]:
        """The locals by their names, those of Packer included."""
        found: dict[str, tuple[Here, Node]] = {}
        for here, block in self.top_blocks():
            if block.header == ("locals",):
                found |= {
                    each.name: (Here(here.document, ("local", each.name)), each.value)
                    for each in attributes(block.body)
                }
            elif len(block.header) == 2 and block.header[0] == "local":
                expression = attribute(block.body, "expression")
                if expression:
                    found[block.header[1]] = (Here(here.document, block.header), expression)
        return found

    def top_blocks(self) -> Iterator[tuple[Here, Block]]:
        """Yield the blocks of all documents."""
        for document in self.documents:
            for item in document.body.items if document.body else ():
                if isinstance(item, Block):
                    yield Here(document, item.header), item

    def evaluate(self, node: Node, here: Here) -> Value:
        """Return what an expression may be."""
        kind = node.kind
        if kind in ("string", "number", "bool"):
            return Value((Text(node.value, (Origin(here.document, here.path, node),)),))
        if kind == "template" and len(node.parts) == 1:
            return self.evaluate(node.parts[0], here)  # an interpolation alone keeps its type
        if kind in ("template", "heredoc"):
            return concat([self._piece(part, here) for part in node.parts]) if node.parts else Value((Text(""),))
        if kind == "list":
            return listed(self.evaluate(item, here.at(index)) for index, item in enumerate(node.parts))
        if kind == "object":
            return self._object(node, here)
        if kind == "null":
            return NOTHING
        if kind == "any" or self._depth > _DEEPEST * 4 or self.budget.is_spent():
            return UNKNOWN
        self._depth += 1
        try:
            return self._computed(node, here)
        finally:
            self._depth -= 1

    def _computed(self, node: Node, here: Here) -> Value:
        if node.kind == "reference":
            return self._reference(node, here)
        if node.kind == "access":
            return self._follow(self.evaluate(node.parts[0], here), node.parts[1:], here)
        if node.kind == "conditional":
            return union(self.evaluate(part, here) for part in node.parts[1:])
        return self._call(node, here) if node.kind == "call" else self._loop(node, here)

    def _piece(self, node: Node, here: Here) -> Value:
        """Return a piece of a template; its fixed text is not a literal."""
        return Value((Text(node.value),)) if node.kind == "string" else self.evaluate(node, here)

    def _object(self, node: Node, here: Here) -> Value:
        members: dict[str, Value] = {}
        is_known = True
        for key, value in zip(node.parts[::2], node.parts[1::2], strict=True):
            if key.kind == "string":
                members[key.value] = self.evaluate(value, here.at(key.value))
                continue
            names = self.evaluate(key.parts[0] if key.kind == "any" else key, here)
            found = self.evaluate(value, here)
            is_known &= names.is_known
            members |= {text.text: found for text in names.texts}
        return Value((), members, is_known)

    def _reference(self, node: Node, here: Here) -> Value:
        root, *rest = node.parts
        if root.value in here.bindings:
            return self._follow(here.bindings[root.value], rest, here)
        fixed = [part.value for part in rest if part.kind in ("string", "number")]
        if not rest or not fixed:
            return UNKNOWN
        if root.value == "var":
            return self._follow(self.variable(fixed[0]), rest[1:], here)
        if root.value == "local":
            return self._follow(self.local(fixed[0]), rest[1:], here)
        if root.value == "path":
            return Value((Text(str(self.directory if fixed[0] == "module" else self.run_in)),))
        if root.value == "module":
            return self._follow(self.outputs(fixed[0]), rest[1:], here)
        if root.value == "data" and len(fixed) > 1:
            return self._follow(self.block(("data", *fixed[:2])), rest[2:], here)
        return self._follow(self.block(("resource", root.value, fixed[0])), rest[1:], here)

    def _follow(self, value: Value, steps: Sequence[Node], here: Here) -> Value:
        for position, step in enumerate(steps):
            if step.kind == "any" and step.end - step.start <= 1:  # a splat
                return value.each(lambda member: self._follow(member, steps[position + 1 :], here))  # noqa: B023
            value = value.member(self.evaluate(step, here))
        return value

    def variable(self, name: str) -> Value:
        """Return what a variable may be: the call's argument, what files set it to, or its default."""
        return self._once(("var", name), lambda: self._variable(name))

    def _variable(self, name: str) -> Value:
        here, body = self.blocks.get(("variable", name), (None, None))
        if name == VARIABLE:
            return OWN  # the pin file, whose entries are found on their own
        found: list[Value] = []
        if self.arguments is not None and name in self.arguments:
            found.append(self.arguments[name])
        else:
            assignments = self.assigned.get(name, ())
            found += [self.evaluate(each.node, each.here) for each in assignments]
            default = attribute(body, "default") if body else None
            if default and here and not any(each.is_automatic for each in assignments):
                found.append(self.evaluate(default, Here(here.document, (*here.path, "default"))))
        value = union(found) if found else UNKNOWN
        kind = attribute(body, "type") if body else None
        return self._with_defaults(value, kind, Here(here.document, (*here.path, "type"))) if kind and here else value

    def _with_defaults(self, value: Value, kind: Node, here: Here) -> Value:
        """Return a value with the defaults of its type's optional() attributes."""
        if kind.kind != "call" or not kind.parts:
            return value
        inner = kind.parts[0]
        if kind.value == "optional":
            return self._with_defaults(value, inner, here)
        if kind.value in ("list", "set", "map"):
            return value.each(lambda member: self._with_defaults(member, inner, here))
        if kind.value != "object" or inner.kind != "object":
            return value
        members = dict(value.members)
        for key, each in zip(inner.parts[::2], inner.parts[1::2], strict=True):
            has_default = each.kind == "call" and each.value == "optional" and len(each.parts) > 1
            if key.value in members:
                members[key.value] = self._with_defaults(members[key.value], each, here)
            elif has_default:
                default = self.evaluate(each.parts[1], here)
                members[key.value] = self._with_defaults(default, each.parts[0], here)
        return Value(value.texts, members, value.is_known)

    def local(self, name: str) -> Value:
        """Return what a local may be."""
        if name == VARIABLE:
            return OWN
        here, node = self.locals.get(name, (None, None))
        return self._once(("local", name), lambda: self.evaluate(node, here)) if node and here else UNKNOWN

    def block(self, header: tuple[str, ...]) -> Value:
        """Return the attributes of a resource or a data source; what lxcast answers is found by its query."""
        if header not in self.blocks:
            return UNKNOWN
        here, body = self.blocks[header]

        def members() -> Value:
            found = {each.name: self.evaluate(each.value, here.at(each.name)) for each in attributes(body)}
            if header[:2] == ("data", "external") and is_own_program(found.get("program", UNKNOWN)):
                found["result"] = OWN
            elif header[0] == "data" and header[1] == "external":
                found["result"] = UNKNOWN
            return Value((), found, is_known="result" in found)

        return self._once(header, members)

    def outputs(self, name: str) -> Value:
        """Return what a module may give."""
        if ("module", name) not in self.blocks:
            return UNKNOWN
        here, body = self.blocks["module", name]
        if attribute(body, "for_each") or attribute(body, "count"):
            return UNKNOWN

        def members() -> Value:
            child = self.child(body, here)
            if child is None:
                return OWN if self.is_own_module(body, here) else UNKNOWN
            found: dict[str, Value] = {}
            for header, (at, inner) in child.blocks.items():
                if header[0] == "output" and (node := attribute(inner, "value")):
                    found[header[1]] = child.evaluate(node, at.at("value"))
            return Value((), found)

        return self._once(("module", name), members)

    def child(self, body: Body, here: Here) -> "Configuration | None":
        """Return the configuration that a module block calls; None if its directory is not at hand."""
        source = self.source(body, here)
        is_circular = source in self.chain or len(self.chain) > _DEEPEST
        documents = self.load(source) if source and not is_circular else None
        if documents is None or source is None:
            return None
        arguments = {each.name: self.evaluate(each.value, here.at(each.name)) for each in attributes(body)}
        return Configuration(source, documents, self.load, self.budget, arguments=arguments, caller=self)

    def source(self, body: Body, here: Here) -> Path | None:
        """Return the directory of a module, for a source that is a path or was downloaded by `terraform init`."""
        text = self._source_text(body, here)
        if text.startswith(("./", "../", "/")) or text in (".", ".."):
            return Path(os.path.normpath(self.directory / text.replace("//", "/")))
        index = self.run_in / ".terraform" / "modules" / "modules.json"
        try:
            modules = json.loads(read_file(index))["Modules"]
            downloaded = {each["Source"]: each["Dir"] for each in modules}
        except (OSError, PinError, ValueError, LookupError, TypeError):
            return None
        return self.run_in / downloaded[text] if text in downloaded else None

    def is_own_module(self, body: Body, here: Here) -> bool:
        """Whether a module's source is lxcast's module lxc-template."""
        return re.search(r"(^|/)lxc-template/?(\?|$)", self._source_text(body, here)) is not None

    def _source_text(self, body: Body, here: Here) -> str:
        node = attribute(body, "source")
        texts = self.evaluate(node, here.at("source")).texts if node else ()
        return texts[0].text if len(texts) == 1 else ""

    def _once(self, key: tuple[str, ...], evaluate: Callable[[], Value]) -> Value:
        if key not in self._values:
            self._values[key] = UNKNOWN  # while it is evaluated: a value that is built from itself
            self._values[key] = evaluate()
        return self._values[key]

    def _call(self, node: Node, here: Here) -> Value:
        arguments = [self.evaluate(part, here) for part in node.parts]
        name = node.value.removeprefix("core::")
        if name == "jsondecode" and len(node.parts) == 1 and node.parts[0].value.removeprefix("core::") == "file":
            paths = self.evaluate(node.parts[0].parts[0], here) if node.parts[0].parts else UNKNOWN
            return union([*(self._decoded(text.text) for text in paths.texts), *([] if paths.is_known else [UNKNOWN])])
        return call(name, arguments)

    def _decoded(self, name: str) -> Value:
        """Return what a JSON file holds."""
        path = Path(os.path.normpath(self.run_in / name))
        try:
            text = read_file(path).decode()
            return self.evaluate(parse_json(text), Here(Document(path, text, None, None)))
        except (OSError, PinError, ValueError):
            return UNKNOWN

    def _loop(self, node: Node, here: Here) -> Value:
        collection, value = self.evaluate(node.parts[0], here), node.parts[1]
        results: list[Value] = []
        members: dict[str, Value] = {}
        for bindings in loop_bindings(collection, node.names):
            inside = here.bound(bindings)
            found = self.evaluate(value, inside)
            if node.value == "object":
                members |= {text.text: found for text in self.evaluate(node.parts[2], inside).texts}
            results.append(found)
        if node.value == "object":
            return Value((), members, collection.is_known)
        return listed(results, is_known=collection.is_known)

    def bindings(self, body: Body, here: Here) -> Iterator[Here]:
        """Yield the place of a block once for each of its for_each or count."""
        if node := attribute(body, "for_each"):
            collection = self.evaluate(node, here.at("for_each"))
            yield from (here.bound({"each": each["each"]}) for each in each_bindings(collection, "each"))
        elif node := attribute(body, "count"):
            count = self.evaluate(node, here.at("count"))
            numbers = [int(text.text) for text in count.texts if text.text.isdigit()]
            indexes = [Value((Text(str(number)),)) for number in range(min(max(numbers, default=0), MOST))]
            index = union(indexes) if indexes and count.is_known else UNKNOWN
            yield here.bound({"count": Value((), {"index": index})})
        else:
            yield here


def is_own_program(program: Value) -> bool:
    """Whether the program of a data source is lxcast's, or may be."""
    words = [text.text for text in program.all_texts()]
    return not program.is_known or any("lxcast" in word or "terraform_ext" in word for word in words)


def attributes(body: Body) -> Iterator[Attribute]:
    """Yield the attributes of a body."""
    return (item for item in body.items if isinstance(item, Attribute))


def attribute(body: Body, name: str) -> Node | None:
    """Return the value of an attribute, None if it is not set."""
    return next((item.value for item in attributes(body) if item.name == name), None)
