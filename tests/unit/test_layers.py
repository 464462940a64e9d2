"""The house of docs/explanation/architecture.md, held by walking every import: arrows point to a lower floor only."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# From the roof down. The rooms of one floor do not know each other; a room may be a module or a package.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("lxcast.__main__",),
    ("lxcast.cli",),  # it installs the plugin
    ("packer_post", "terraform_ext", "lxcast.api"),
    ("lxcast.jobs",),
    ("lxcast.sources", "lxcast.rootfs", "lxcast.storages", "lxcast.containers", "lxcast.references", "lxcast.evidence"),
    ("lxcast.tar", "lxcast.oci", "lxcast.incus", "lxcast.record"),
    ("lxcast.proxmox", "lxcast.download", "lxcast.engine", "lxcast.compression", "lxcast.durable"),
    # The ground floor has three levels, so that it too has a direction.
    ("lxcast.naming", "lxcast.settings"),
    ("lxcast.model", "lxcast.progress", "lxcast.interrupt"),
    ("lxcast.errors", "lxcast.identifiers", "lxcast.http", "lxcast.hints"),
    ("lxcast",),  # the version, and nothing that imports
)
# Stands beside the house: it shares no code with it, so that a mistake of the client is not its stand-in server's too.
APART = "lxcast.testing"
# Modules that still import each other; this set only ever shrinks.
CIRCLE = {"lxcast.references.entries", "lxcast.references.pin_file", "lxcast.references.reference"}
# Packages and modules that import inside functions, all for start-up time: what a run does not use is not loaded.
LATE = {
    "lxcast.cli": "only the command that runs imports its job",
    "lxcast.compression.codecs": "only the format in use loads its library",
    "lxcast.containers": "only the chosen runtime is imported",
    "lxcast.engine.transport": "docker takes 90 ms",
    "lxcast.http": "requests takes 80 ms",
    "lxcast.jobs.containers": "only the chosen runtime is imported",
    "lxcast.jobs.convert": "only an OCI archive needs lxcast.oci",
    "lxcast.jobs.packaged": "only an image with templates needs lxcast.incus",
    "lxcast.proxmox.profile": "tomllib and ssl are needed with a configuration and a server only",
    "lxcast.references.grammar": "hcl2 and lark take 100 ms",
    "lxcast.sources": "only the kind of source in use is imported",
    "packer_post.launcher": "a configuration of Packer that is only described needs no server",
}
HEIGHT = {room: -number for number, floor in enumerate(FLOORS) for room in floor}
OWN = {room.partition(".")[0] for room in HEIGHT}


def room_of(module: str) -> str | None:
    """The room that a module lies in; "lxcast" is a room for itself alone."""
    return next(
        (room for room in (APART, *HEIGHT) if module == room or (room != "lxcast" and module.startswith(room + "."))),
        None,
    )


def imports(module: str, is_package: bool, source: str) -> Iterator[str]:
    """Every name that a module imports, wherever the statement stands, also for types only or by import_module()."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".") if is_package else module.split(".")[:-1]
            start = parents[: len(parents) + 1 - node.level] if node.level else []
            origin = ".".join(start + ([node.module] if node.module else []))
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.args[0].value


def judge(sources: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the imports of modules (name -> source text); `packages` names those that are an __init__."""
    problems = []
    importers: dict[str, set[str]] = defaultdict(set)
    for module, source in sources.items():
        room = room_of(module)
        if room is None:
            problems.append(f"{module} has no room: name it in FLOORS, on the floor that it belongs to")
            continue
        for name in imports(module, module in packages, source):
            library = name.partition(".")[0]
            if library not in OWN:
                if library not in sys.stdlib_module_names:
                    importers[library].add(module)
                continue
            # `from lxcast import errors` names a module, `from lxcast.errors import UsageError` an object in one.
            target = room_of(name) or room_of(name.rpartition(".")[0])
            if target is None:
                problems.append(f"{module} imports {name}, which has no room")
            elif target != room and APART in (target, room):
                problems.append(f"{module} imports {name}: {APART} shares no code with the house")
            elif target != room and HEIGHT[target] >= HEIGHT[room]:
                problems.append(f"{module} imports {name}: {target} is not below {room}")
    problems += [
        f"{library} is imported by {', '.join(sorted(modules))}: one library, one module"
        for library, modules in importers.items()
        if len(modules) > 1
    ]
    return problems


def resolve(name: str, modules: Mapping[str, str]) -> str:
    """The module that an imported name is, or lies in; "" for other libraries."""
    return next((each for each in (name, name.rpartition(".")[0]) if each in modules), "")


def find_circles(sources: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[set[str]]:
    """Find the groups of modules that import each other, in functions and for types too (Tarjan's algorithm)."""
    graph = {
        module: {resolve(name, sources) for name in imports(module, module in packages, source)} - {"", module}
        for module, source in sources.items()
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                circles.append(set(stack[at:]))
            del stack[at:]

    for module in graph:
        if module not in order:
            visit(module)
    return circles


def late_imports(source: str) -> list[str]:
    """The lines with an import inside a function that no comment explains, on the line or above it."""
    lines = source.splitlines()
    found = {
        node.lineno
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [
        lines[number - 1].strip()
        for number in sorted(found)
        if "#" not in lines[number - 1] and not lines[number - 2].strip().startswith("#")
    ]


def read_modules() -> tuple[dict[str, str], frozenset[str]]:
    """Every module of the three import packages by its dotted name, and which of them are packages."""
    sources, packages = {}, set()
    for file in sorted(file for package in OWN for file in (REPOSITORY / package).rglob("*.py")):
        parts = file.relative_to(REPOSITORY).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[module] = file.read_text()
        if parts[-1] == "__init__":
            packages.add(module)
    return sources, frozenset(packages)


def test_every_import_points_to_a_lower_floor() -> None:
    sources, packages = read_modules()
    assert "lxcast.errors" in sources
    assert judge(sources, packages) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert [circle for circle in find_circles(*read_modules()) if not circle <= CIRCLE] == []


def test_each_import_inside_a_function_has_a_reason() -> None:
    sources, _ = read_modules()
    unexplained = {
        module: lines
        for module, source in sources.items()
        if not any(module == name or module.startswith(f"{name}.") for name in LATE) and (lines := late_imports(source))
    }
    assert unexplained == {}


def test_a_circle_is_found_through_functions_and_types() -> None:
    sources = {
        "lxcast.a": "from lxcast import b",
        "lxcast.b": "def f():\n    from lxcast.c import x",
        "lxcast.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lxcast.a import y",
        "lxcast.d": "from lxcast.a import y",
    }
    assert find_circles(sources) == [{"lxcast.a", "lxcast.b", "lxcast.c"}]


def test_an_import_inside_a_function_without_a_comment_is_found() -> None:
    source = "def f():\n    import a\n    import b  # 90 ms\n    # 80 ms\n    import c"
    assert late_imports(source) == ["import a"]


def test_the_architecture_page_names_every_room() -> None:
    page = (REPOSITORY / "docs/explanation/architecture.md").read_text()
    names = [room.replace(".", "/") for room in (*HEIGHT, APART) if room not in ("lxcast", "lxcast.__main__")]
    there = [name if (REPOSITORY / name).is_dir() else f"{name}.py" for name in names]
    assert [name for name in there if (REPOSITORY / name).exists() and f"`{name}`" not in page] == []


def test_the_folder_of_terraform_and_packer_code_is_no_import_package() -> None:
    assert list((REPOSITORY / "hcl").rglob("*.py")) == []


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("lxcast.tar.reader", "import lxcast.jobs.build", "lxcast.jobs is not below lxcast.tar"),
        (
            "lxcast.tar.reader",
            "def f():\n    from lxcast.rootfs import survey",
            "lxcast.rootfs is not below lxcast.tar",
        ),
        (
            "lxcast.sources.tarfile",
            "from lxcast.rootfs.survey import Survey",
            "lxcast.rootfs is not below lxcast.sources",
        ),
        ("lxcast.sources.tarfile", "from ..rootfs import survey", "lxcast.rootfs is not below lxcast.sources"),
        ("lxcast.rootfs.fit", "from lxcast import jobs", "lxcast.jobs is not below lxcast.rootfs"),
        ("lxcast.jobs.build", "import packer_post", "packer_post is not below lxcast.jobs"),
        ("packer_post.receipt", "from lxcast.cli import main", "lxcast.cli is not below packer_post"),
        ("terraform_ext.query", "import packer_post.parent", "packer_post is not below terraform_ext"),
        ("lxcast.errors", "from lxcast.model import Volid", "lxcast.model is not below lxcast.errors"),
        ("lxcast.model", "import lxcast.progress", "lxcast.progress is not below lxcast.model"),
        (
            "lxcast.storages",
            "from importlib import import_module\nimport_module('lxcast.references')",
            "lxcast.references is not below",
        ),
        ("lxcast.testing.storage", "from lxcast.model import Volid", "lxcast.testing shares no code with the house"),
        ("lxcast.testing.http", "from lxcast import __version__", "lxcast.testing shares no code with the house"),
        ("lxcast.jobs.build", "from lxcast.testing import Cluster", "lxcast.testing shares no code with the house"),
        ("lxcast.extra", "", "lxcast.extra has no room"),
        ("lxcast.jobs.build", "import lxcast.extra.thing", "lxcast.extra.thing, which has no room"),
    ],
)
def test_an_arrow_that_the_house_does_not_allow_is_named(module: str, source: str, said: str) -> None:
    (problem,) = judge({module: source}, frozenset({"lxcast.storages"}))
    assert problem.startswith(module)
    assert said in problem


def test_a_library_that_two_modules_import_is_named() -> None:
    sources = {
        "lxcast.proxmox.client": "import requests",
        "lxcast.engine": "def f():\n    from requests.adapters import X",
    }
    assert judge(sources) == ["requests is imported by lxcast.engine, lxcast.proxmox.client: one library, one module"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "lxcast.jobs.build",
            "from lxcast import durable, errors\nfrom lxcast.sources import open\nfrom . import options",
        ),
        (
            "lxcast.tar.reader",
            "from .header import BLOCK\nfrom lxcast.errors import ArchiveError\nfrom lxcast import __version__",
        ),
        ("terraform_ext.answer", "import json\nfrom lxcast.storages.directory import DirectoryStorage"),
        ("lxcast.proxmox.client", "import requests\nimport requests.adapters"),
    ],
)
def test_what_the_house_allows_passes(module: str, source: str) -> None:
    assert judge({module: source}) == []
