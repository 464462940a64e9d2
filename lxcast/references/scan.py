"""Which strings of a configuration name templates, and the literals that they are changed at."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lxcast.identifiers import MAX_VOLID, stem_of, suffix_of
from lxcast.references.address import Nth, Step, show_address
from lxcast.references.bindings import each_bindings
from lxcast.references.configuration import Configuration, Here, attribute, attributes, is_own_program
from lxcast.references.entries import DEFAULT, VARIABLE
from lxcast.references.hcl import Document
from lxcast.references.nodes import Attribute, Block, Body, Node
from lxcast.references.slots import body_places, reference_nodes
from lxcast.references.values import ANYTHING, NOTHING, UNKNOWN, Text, Value

_PROSE = {
    *("description", "error_message", "validation", "precondition", "postcondition", "assert", "check", "comment"),
    *("command", "inline", "execute_command", "provisioner", "required_providers"),
}
"""Attributes and blocks whose strings are for people, or commands."""

_WORD = re.compile(r"[\w.*:/-]+", re.ASCII)
_VOLID = re.compile(r"[\w.*-]+:vztmpl/[\w.*-]+", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9][\w.*-]*-(v[0-9]+|\*)[\w.*-]*\.tar(\.(zst|gz|xz|bz2))?", re.ASCII)
_STEM = re.compile(r"[A-Za-z0-9][\w.-]*-v[1-9][0-9]{0,8}", re.ASCII)
_VERSION = re.compile(r"v[1-9][0-9]{0,8}", re.ASCII)
_MOST = 5000
"""Instances of modules that one search scans."""

_TEMPLATE_ARGUMENT = re.compile(r"template|rootfs|image|lxc|version|release|tag")


@dataclass(frozen=True, slots=True)
class Found:
    """A pin in a tree."""

    file: Path
    line: int
    """0 in a pin file."""
    address: str
    value: str
    """The literal there."""
    template: str
    """The volid, the file name or NAME-vN that it makes up; "*" replaces unknown parts."""
    sha256: str = ""
    """The digest that a pin file's entry has."""
    is_certain: bool = True
    """False for a string that only looks like the name of a template."""

    @property
    def is_exact(self) -> bool:
        """Whether it names one template."""
        return ANYTHING not in self.template


def matches(found: Found, file: str, name: str, version: str) -> bool:
    """Whether a pin names a template, or may name it; a storage's id does not matter."""
    wanted = found.template.rpartition(":vztmpl/")[2]
    if found.is_exact:
        return wanted == file or wanted in (f"{name}-{version}", stem_of(file))
    pattern = re.compile(re.escape(wanted).replace(re.escape(ANYTHING), "[A-Za-z0-9_.-]*"))
    return any(pattern.fullmatch(each) for each in (file, stem_of(file), f"{name}-{version}"))


class Scan:
    """Walks through configurations and reports the pins; `read_pin_file` says whether a file could be read."""

    def __init__(self, report: Callable[[Found], None], read_pin_file: Callable[[Path], bool]) -> None:
        self.report = report
        self.read_pin_file = read_pin_file
        self.directories: set[Path] = set()
        """Those whose configurations were scanned."""
        self.instances = 0

    def configuration(self, configuration: Configuration) -> None:
        """Report the pins of a configuration and of the modules that it calls."""
        self.directories.add(configuration.directory)
        self.instances += 1
        if self.instances > _MOST:
            document = configuration.documents[0]
            self.report(
                Found(document.path, 1, f"more than {_MOST} module calls", "", ANYTHING)
            )  # what is not scanned may name anything
            return
        for document in configuration.documents:
            if document.body:
                self._body(configuration, document.body, Here(document))
                self._terragrunt(configuration, document.body, Here(document))
        self._unused(configuration)

    def _unused(self, configuration: Configuration) -> None:
        """Report versions that only another file can use, such as the locals of a file that Terragrunt includes."""
        unused = {name: place for name, place in configuration.locals.items() if is_version(place[1])}
        for document in configuration.documents if unused else ():
            for _, node in body_places(document.body) if document.body else ():
                for reference in reference_nodes(node):
                    if reference.parts[0].value == "local" and len(reference.parts) > 1:
                        unused.pop(reference.parts[1].value, None)
        for here, node in unused.values():
            self.report(place_found(here, node, f"{ANYTHING}-{node.value}", is_certain=False))

    def values(self, configuration: Configuration, document: Document) -> None:
        """Report the pins in a file that sets variables."""
        if document.values is not None:
            self._value(configuration, document.values, Here(document))
        elif document.body:
            self._body(configuration, document.body, Here(document))

    def _body(self, configuration: Configuration, body: Body, here: Here) -> None:
        count = Counter(item.header for item in body.items if isinstance(item, Block))
        number: Counter[tuple[str, ...]] = Counter()
        for item in body.items:
            if isinstance(item, Attribute):
                if item.name not in _PROSE and not _is_pin_map(here, item.name):
                    is_local = item.name == "expression" and here.path[:1] == ("local",)
                    self._value(configuration, item.value, here if is_local else here.at(item.name))
                continue
            steps: tuple[Step, ...] = (*item.header, Nth(number[item.header], count[item.header] > 1))
            number[item.header] += 1
            if not here.path and item.header[0] in ("locals", "local"):
                steps = ("local", *item.header[1:])
            if item.header[0] not in _PROSE:
                inside = Here(here.document, (*here.path, *steps), here.bindings)
                for each in self._repeated(configuration, item, inside):
                    self._block(configuration, item, each)

    def _repeated(self, configuration: Configuration, block: Block, here: Here) -> Iterator[Here]:
        """Yield the place of a block once for each of its instances."""
        if block.header[0] != "dynamic" or len(block.header) != 2:
            yield from configuration.bindings(block.body, here)
            return
        collection = attribute(block.body, "for_each")
        iterator = attribute(block.body, "iterator")
        name = iterator.value if iterator and iterator.value else block.header[1]
        members = configuration.evaluate(collection, here.at("for_each")) if collection else UNKNOWN
        yield from (here.bound(bindings) for bindings in each_bindings(members, name))

    def _block(self, configuration: Configuration, block: Block, here: Here) -> None:
        self._body(configuration, block.body, here)
        if block.header[:2] == ("data", "external"):
            query = attribute(block.body, "query")
            program = attribute(block.body, "program")
            words = configuration.evaluate(program, here.at("program")) if program else UNKNOWN
            if query and is_own_program(words):
                self._query(configuration, configuration.evaluate(query, here.at("query")), here.at("query"), query)
        elif block.header[0] == "module" and len(here.path) <= 3:
            self._module(configuration, block.body, here)

    def _module(self, configuration: Configuration, body: Body, here: Here) -> None:
        child = configuration.child(body, here)
        if child:
            self.configuration(child)
            return
        arguments = {each.name: configuration.evaluate(each.value, here.at(each.name)) for each in attributes(body)}
        node = attribute(body, "source")
        if node and configuration.is_own_module(body, here):
            arguments["version"] = arguments.pop("template_version", NOTHING)
            self._query(configuration, Value((), arguments), here, node)
        elif node:
            self._unread(arguments, here, node)

    def _unread(self, arguments: Mapping[str, Value], here: Here, node: Node) -> None:
        """Report versions among the arguments of a module that cannot be read: of which template is not known."""
        for key, value in arguments.items():
            for text in value.texts if _TEMPLATE_ARGUMENT.search(key) else ():
                if _VERSION.fullmatch(text.text):
                    self._add(text, f"{ANYTHING}-{text.text}", here, node)

    def _terragrunt(self, configuration: Configuration, body: Body, here: Here) -> None:
        """Scan the module that a Terragrunt file runs, with the file's inputs as arguments."""
        blocks = [item.body for item in body.items if isinstance(item, Block) and item.header == ("terraform",)]
        sources = [source for block in blocks if (source := configuration.source(block, here))]
        inputs = attribute(body, "inputs")
        if inputs is None or configuration.arguments is not None:
            return
        arguments = configuration.evaluate(inputs, here.at("inputs")).members
        documents = configuration.load(sources[0]) if sources else None
        if documents is None:
            self._unread(arguments, here.at("inputs"), inputs)
        else:
            budget, load = configuration.budget, configuration.load
            module = Configuration(sources[0], documents, load, budget, arguments=arguments, caller=configuration)
            self.configuration(module)

    def _query(self, configuration: Configuration, query: Value, here: Here, node: Node) -> None:
        """Report the templates that a query of the data source asks for."""
        names = query.members.get("name", UNKNOWN)
        version = query.members.get("version", NOTHING if query.is_known else UNKNOWN)
        known = names.texts if names.is_known else (*names.texts, Text(ANYTHING))
        versions = version.texts if version.is_known else (*version.texts, Text(ANYTHING))
        if not versions:
            file = query.members.get("pin_file", NOTHING)
            paths = [text.text for text in file.texts] or ([DEFAULT] if file.is_known else [])
            missing = [path for path in paths if not self.read_pin_file(Path(configuration.run_in, path))]
            if paths and not missing:
                return
            versions = (Text(ANYTHING),)
        for name in known:
            for each in versions:
                self._add(Text(each.text, each.origins or name.origins), f"{name.text}-{each.text}", here, node)

    def _value(self, configuration: Configuration, node: Node, here: Here) -> None:
        if node.kind == "object":
            for key, value in zip(node.parts[::2], node.parts[1::2], strict=True):
                if key.value not in _PROSE and not _is_pin_map(here, key.value):
                    self._value(configuration, value, here.at(key.value) if key.kind == "string" else here)
        elif node.kind == "list":
            for index, item in enumerate(node.parts):
                self._value(configuration, item, here.at(index))
        else:
            for text in configuration.evaluate(node, here).all_texts():
                self._text(text, here, node)
            for inner in _strings(node):
                for text in configuration.evaluate(inner, here).texts:
                    self._text(text, here, node)

    def _text(self, text: Text, here: Here, node: Node) -> None:
        for template, is_certain in named_templates(text.text):
            self._add(text, template, here, node, is_certain=is_certain)

    def _add(self, text: Text, template: str, here: Here, node: Node, *, is_certain: bool = True) -> None:
        origins = [each for each in text.origins if _VERSION.fullmatch(each.node.value)]
        if not origins and ANYTHING not in template:
            origins = [each for each in text.origins if each.node.value]
        for origin in origins:
            self.report(place_found(Here(origin.document, origin.path), origin.node, template, is_certain=is_certain))
        if not origins:
            self.report(place_found(here, node, template, is_certain=is_certain))


def _is_pin_map(here: Here, key: str) -> bool:
    """Whether a key is that of a pin file's entries, which are read on their own."""
    return key == VARIABLE and here.document.is_json and here.path in ((), ("local",), ("local", Nth(0, False)))


def named_templates(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the templates that a string names, and whether it is certain that it names one."""
    if "vztmpl" not in text and ".tar" not in text:  # most strings of a tree
        if "-v" in text and _STEM.fullmatch(text):
            yield text, False
        return
    for word in _WORD.findall(text):
        if len(word) > 2 * MAX_VOLID:
            continue
        if match := _VOLID.search(word):
            volid = match[0].rstrip(".")
            if ANYTHING in volid or suffix_of(volid.rpartition("/")[2]):
                yield volid, True
        elif _FILE.fullmatch(file := word.rpartition("/")[2]):
            yield file, True


def is_version(node: Node) -> bool:
    """Whether a literal is a version of a template."""
    return node.kind == "string" and _VERSION.fullmatch(node.value) is not None


def place_found(here: Here, node: Node, template: str, *, is_certain: bool = True) -> Found:
    """Return a pin at a place."""
    document = here.document
    value = node.value or document.text[node.start : node.end]
    line, _ = document.position(node.start)
    return Found(document.path, line, show_address(here.path), value, template, is_certain=is_certain)


def _strings(node: Node) -> Iterator[Node]:
    """Yield the strings that are nested in an expression; those in a `for` are evaluated for each of its members."""
    for part in node.parts[:1] if node.kind == "for" else node.parts:
        if part.kind in ("string", "template", "heredoc") and node.kind not in ("template", "heredoc", "reference"):
            yield part
        if node.kind != "reference" or part.kind != "string":
            yield from _strings(part)
