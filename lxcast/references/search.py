"""Every pin in a tree of configurations: exact ones, and what a value that is not known may name."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lxcast.errors import PinError
from lxcast.references.configuration import Assignment, Budget, Configuration, Here
from lxcast.references.entries import VARIABLE, PinEntry, load
from lxcast.references.files import read_file
from lxcast.references.hcl import CONFIGURATIONS, PACKER, VALUES, Document, parse
from lxcast.references.nodes import Attribute, Block, Body, Node
from lxcast.references.pin_file import is_pin_file, parse_pins
from lxcast.references.scan import Found, Scan, is_version, place_found
from lxcast.references.slots import Slot, reference_nodes
from lxcast.references.values import ANYTHING

_TESTS = (".tftest.hcl", ".tofutest.hcl", ".tftest.json", ".tofutest.json", ".tfmock.hcl", ".tfmock.json")
_ENDS = (*CONFIGURATIONS, *PACKER, *VALUES, *_TESTS, ".hcl")
_AUTOMATIC = re.compile(r"terraform\.tfvars(\.json)?|.*\.auto\.(tfvars|pkrvars)(\.json|\.hcl)?")
_OVERRIDE = re.compile(r"(.*_)?override\.(tf|tofu)(\.json)?")
_IGNORED = {".terraform", ".terragrunt-cache", ".git", ".hg", ".svn"}
_LOCK = ".terraform.lock.hcl"
_HINTS = re.compile(rb"vztmpl|\.tar\b|lxcast|terraform_ext|lxc[-_]template|v[0-9]")
"""A tree in which no file has one of these holds no pin."""


def find_pins(
    path: Path, warn: Callable[[str], None], *, previous: bool = False, recursive: bool = True
) -> list[Found]:
    """Return the pins of a file, or of every configuration below a directory; `warn` gets what cannot be read.

    With `previous`, also the templates that entries of pin files would roll back to.
    """
    search = _Search(warn, previous=previous)
    search.read([path] if not path.is_dir() else list(_files(path)) if recursive else _own_files(path))
    return search.run()


def find_origins(document: Document, slot: Slot) -> list[tuple[Path, Slot]]:
    """Return the literals that a value is built from, in its file and in the others of its directory."""
    nodes = list(reference_nodes(slot.node))
    if not nodes:
        return []
    search = _Search(lambda _: None, previous=False)
    directory = Path(os.path.abspath(document.path.parent))  # noqa: PTH100 - keeps links
    search.documents[directory].append(document)
    search.read([each for each in _own_files(document.path.parent) if each.name != document.path.name])
    found: dict[tuple[Path, int], tuple[Path, Slot]] = {}
    for configuration in search.roots():
        if document in configuration.documents:
            values = [configuration.evaluate(node, Here(document, slot.path)) for node in nodes]
            for origin in [origin for value in values for text in value.all_texts() for origin in text.origins]:
                place = origin.document.slot((origin.path, origin.node))
                found.setdefault((origin.document.path, place.start), (origin.document.path, place))
    return list(found.values())


def _own_files(directory: Path) -> list[Path]:
    """Return the files in a directory itself that may hold pins."""
    return [each for each in sorted(directory.iterdir()) if each.name.endswith(_ENDS) and each.is_file()]


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files that may hold pins. Links to directories are followed, but never to one that is above."""
    seen = {os.path.realpath(directory)}
    for root, directories, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(root)
        kept = []
        for name in sorted(set(directories) - _IGNORED):
            target = os.path.realpath(Path(root, name))
            if target not in seen and not f"{real}/".startswith(f"{target}/"):
                seen.add(target)
                kept.append(name)
        directories[:] = kept
        yield from (Path(root, name) for name in sorted(names) if name.endswith(_ENDS) and name != _LOCK)


class _Search:
    """One search; documents by the directories that they are in."""

    def __init__(self, warn: Callable[[str], None], *, previous: bool) -> None:
        self.warn = warn
        self.previous = previous
        self.budget = Budget()
        self.documents: dict[Path, list[Document]] = defaultdict(list)
        self.found: dict[object, Found] = {}
        self.assignments: list[Assignment] = []
        self.used: set[Assignment] = set()

    def read(self, files: Sequence[Path]) -> None:
        """Parse files; pin files are read for their entries as well."""
        contents: dict[Path, bytes] = {}
        for file in files:
            try:
                contents[file] = read_file(file)
                if is_pin_file(file):
                    load(contents[file], file)  # a file that cannot be read may hold pins
                    if VARIABLE.encode() in contents[file]:
                        self.read_entries(file, contents[file])
            except PinError as error:
                self.warn(error.message)
            except OSError as error:
                self.warn(f"{file}: {error.strerror}")
        if any(_HINTS.search(data) for data in contents.values()):
            for file, data in contents.items():
                self._parse(file, data)

    def _parse(self, file: Path, data: bytes) -> None:
        try:
            self.documents[Path(os.path.abspath(file.parent))].append(parse(data, file))  # noqa: PTH100 - keeps links
        except PinError as error:
            if _HINTS.search(data) and not is_pin_file(file):
                self.warn(error.message)

    def read_entries(self, file: Path, data: bytes) -> None:
        """Add the entries of a pin file."""
        for key, pin in parse_pins(data, file).items():
            name, _, variant = key.partition("/")
            address = PinEntry(file, name, variant).address
            self.add(Found(file, 0, address, pin.version, pin.template_id, pin.sha256))
            if self.previous and (old := pin.previous):
                self.add(Found(file, 0, f"{address}.previous", old.version, old.template_id, old.sha256))

    def add(self, found: Found) -> None:
        """Keep a pin once."""
        self.found.setdefault((found.file, found.line, found.address, found.template), found)

    def run(self) -> list[Found]:
        """Evaluate every configuration, and return what was found."""
        self._scan(self.roots())
        for each in self.assignments:
            if each not in self.used and is_version(each.node):
                # Nothing in the tree declares the variable, so what it is a version of is not known.
                self.add(place_found(each.here, each.node, f"{ANYTHING}-{each.node.value}"))
        return list(self.found.values())

    def roots(self) -> list[Configuration]:
        """Return the configuration of every directory, with the values that files may set its variables to."""
        self.assignments = list(self._assignments())
        declared = {directory: set(_declared(documents)) for directory, documents in self.documents.items()}
        found: list[Configuration] = []
        for directory, documents in [*self.documents.items()]:
            assigned: dict[str, list[Assignment]] = defaultdict(list)
            for each in self.assignments:
                is_elsewhere = each.directory != directory and each.name in declared.get(each.directory, ())
                if each.name in declared[directory] and not is_elsewhere:
                    assigned[each.name].append(each)
                    self.used.add(each)
            found += [
                Configuration(directory, group, self.load, self.budget, assigned=assigned)
                for group in _groups(documents)
            ]
        return found

    def _scan(self, roots: Sequence[Configuration]) -> None:
        """Scan the configurations that are run themselves; a module is scanned with the arguments of its calls."""
        called = set()
        for root in roots:
            for here, block in root.top_blocks():
                if block.header[0] == "module" and (source := root.source(block.body, here)):
                    called.add(source)
        scan = Scan(self.add, self._read_pin_file)
        modules = []
        for root in roots:
            is_terraform = root.documents[0].path.name.endswith(CONFIGURATIONS)
            if is_terraform and root.directory in called and not root.assigned:
                modules.append(root)
            else:
                scan.configuration(root)
        for module in modules:
            if module.directory not in scan.directories:  # modules that call each other, and nothing calls them
                scan.configuration(module)
        for documents in [*self.documents.values()]:
            for document in documents:
                if document.path.name.endswith(VALUES):
                    scan.values(Configuration(document.path.parent, [document], self.load, self.budget), document)

    def load(self, directory: Path) -> Sequence[Document] | None:
        """Return Terraform's documents of a module's directory, which may be outside of the tree; None without any."""
        if directory not in self.documents:
            for file in sorted(directory.iterdir()) if directory.is_dir() else ():
                if file.name.endswith(CONFIGURATIONS) and not file.name.endswith(_TESTS) and file.is_file():
                    self._parse(file, read_file(file))
        groups = _groups(self.documents.get(directory, []))
        return next((group for group in groups if group[0].path.name.endswith(CONFIGURATIONS)), None)

    def _read_pin_file(self, file: Path) -> bool:
        """Add the entries of a pin file that a query names; whether it could be read."""
        try:
            self.read_entries(file, read_file(file))
        except (OSError, PinError):
            return False
        return True

    def _assignments(self) -> Iterator[Assignment]:
        for directory, documents in self.documents.items():
            for document in documents:
                name = document.path.name
                if name.endswith(VALUES):
                    for key, node in _top_values(document):
                        here = Here(document, (key,))
                        yield Assignment(directory, key, here, node, bool(_AUTOMATIC.fullmatch(name)))
                elif name.endswith(_TESTS) and document.body:
                    # The files of `terraform test` are next to the configuration, or in its directory "tests".
                    for key, here, node in _test_variables(document, document.body, ()):
                        yield Assignment(directory, key, here, node, is_automatic=False)
                        yield Assignment(directory.parent, key, here, node, is_automatic=False)


def _groups(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Yield the documents of a directory that make up one configuration: Terraform's, Packer's, each other alone."""
    # Terraform merges override files last ("Override Files"): what they set replaces what the others set.
    ordered = sorted(documents, key=lambda each: bool(_OVERRIDE.fullmatch(each.path.name)))
    others = [each for each in ordered if not each.path.name.endswith(VALUES)]
    for ends in (CONFIGURATIONS, PACKER):
        group = [each for each in others if each.path.name.endswith(ends)]
        if group:
            yield group
        others = [each for each in others if each not in group]
    yield from ([each] for each in others)


def _declared(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        for item in document.body.items if document.body else ():
            if isinstance(item, Block) and item.header[0] == "variable" and len(item.header) == 2:
                yield item.header[1]


def _top_values(document: Document) -> Iterator[tuple[str, Node]]:
    if document.values is not None:
        pairs = zip(document.values.parts[::2], document.values.parts[1::2], strict=True)
        yield from ((key.value, node) for key, node in pairs if key.value != VARIABLE)
    elif document.body:
        yield from ((item.name, item.value) for item in document.body.items if isinstance(item, Attribute))


def _test_variables(document: Document, body: Body, path: tuple[str, ...]) -> Iterator[tuple[str, Here, Node]]:
    for item in body.items:
        if isinstance(item, Block) and item.header == ("variables",):
            for each in item.body.items:
                if isinstance(each, Attribute):
                    yield each.name, Here(document, (*path, "variables", each.name)), each.value
        elif isinstance(item, Block) and item.header[0] == "run":
            yield from _test_variables(document, item.body, (*path, *item.header))
