"""Templates and backends for containers: what a user names, and which backend creates it."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from lxcast.containers.backend import Backend
from lxcast.containers.ledger import ContainerRecord
from lxcast.errors import PinError, StorageError, UsageError
from lxcast.identifiers import split_volid, stem_of, suffix_of
from lxcast.model import Version
from lxcast.progress import Progress
from lxcast.proxmox.profile import VARIABLES
from lxcast.record import Record, parse_record
from lxcast.settings import Settings, StorageOptions, build_options, select
from lxcast.storages.open import is_remote, open_storage
from lxcast.storages.storage import StoredTemplate

BACKENDS = ("proxmox", "pct", "lxc", "runc", "crun")

_VIRTUAL_MACHINES = ("vm", "qemu", "kvm")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that a container is created from."""

    volid: str
    record: Record | None
    size: int
    node: str = ""
    """The node that has it; "" if it is in a directory."""
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where a container is created: what the first matching rule of the settings file sets."""

    backend: str = ""
    storage: str = ""
    profile: str = ""
    rule: int = 0
    """The number of the rule, from 1; 0 if none matches."""


_CONDITIONS = ("what", "name")
_TARGETS = ("backend", "storage", "profile")


def find_route(what: str, name: str, settings: Settings) -> Route:
    """Return the first rule of [[routes]] whose patterns match WHAT and the container's name. Raises UsageError."""
    rules = settings.tables.get("routes", [])
    problems = [] if isinstance(rules, list) else [f"{settings.path}: routes must be an array of tables: [[routes]]"]
    found = Route()
    for number, rule in enumerate(rules if isinstance(rules, list) else [], 1):
        where = f"{settings.path}: rule {number} of routes"
        if not isinstance(rule, dict) or not all(isinstance(each, str) for each in rule.values()):
            problems.append(f"{where}: expected a table of strings")
            continue
        if unknown := [key for key in rule if key not in (*_CONDITIONS, *_TARGETS)]:
            problems.append(
                f"{where}: unknown key {', '.join(unknown)}; expected {', '.join((*_CONDITIONS, *_TARGETS))}"
            )
        matches = fnmatchcase(what, rule.get("what", "*")) and fnmatchcase(name, rule.get("name", "*"))
        if matches and not found.rule:
            found = Route(**{key: rule[key] for key in _TARGETS if key in rule}, rule=number)
    if problems:
        raise UsageError("\n".join(problems))
    return found


def choose_backend(name: str, route: Route, settings: Settings) -> tuple[str, str]:
    """Return the named backend, the route's, or one that is possible here, and the reason. Raises UsageError."""
    reason = f"--backend {name}"
    if not name and route.backend:
        name, reason = route.backend, f"rule {route.rule} of {settings.path}"
    if name in _VIRTUAL_MACHINES:
        raise UsageError(
            "virtual machines are not supported: a container template has no kernel and no boot loader",
            hint=f"--backend is one of: {', '.join(BACKENDS)}",
        )
    if name not in ("", *BACKENDS):
        raise UsageError(f"unknown backend {name!r}", hint=f"one of: {', '.join(BACKENDS)}")
    if name:
        return name, reason
    if is_remote(settings.text("storage")):
        return "proxmox", f"the storage is {settings.text('storage')}"
    if settings.text("profile") or settings.text("api_url") or any(os.environ.get(each) for each in _API):
        return "proxmox", "a Proxmox API is set"
    for backend, program in (("pct", "pct"), ("lxc", "lxc-start"), ("runc", "runc"), ("crun", "crun")):
        if os.geteuid() == 0 and shutil.which(program):
            return backend, f"{program} is installed"
    raise UsageError(
        "no backend is possible here: no Proxmox API is set, and LXC, runc and crun need root and their programs",
        hint="set PM_API_URL and a token (lxcast doctor), or choose one by --backend",
    )


_API = VARIABLES["api_url"][0]


def find_template(
    what: str, name: str, backend: str, settings: Settings, progress: Progress, *, dry_run: bool
) -> Template:
    """Return the template that WHAT names: a volid, NAME, NAME:vN, pin:FILE#NAME, or a source, which is built first.

    A source gets `name` as the name of its template. In a dry run nothing is built, so a source must have a template.
    Raises UsageError, PinError, StorageError, ApiError, and what a build raises.
    """
    settings = _with_remote_storage(settings) if backend == "proxmox" else settings
    options = select(StorageOptions, settings)
    if what.startswith("pin:"):
        what = _pinned(what.removeprefix("pin:"))
    elif backend != "proxmox" and (local := _local_file(Path(what))):
        return local
    storage = open_storage(options)
    _, file = split_volid(what)
    if file:
        listing = storage.templates()
        found = listing.find(file)
        if found is None or found.template_id != what:
            raise StorageError(
                f"template {what} not found in {listing.location}", hint="`lxcast list` shows the templates"
            )
        return _template(found)
    named, colon, version = what.partition(":")
    is_name = "/" not in what and (not colon or version.removeprefix("v").isdigit())
    # A path wins over a template of the same name; a directory storage may not exist before the first build.
    if is_name and not Path(what).exists() and (is_remote(options.storage) or storage.workspace.is_dir()):
        listing = storage.templates()
        if any(each.name == named for each in listing.templates):
            number = Version(int(version.removeprefix("v"))) if colon else None
            return _template(listing.select(named, number))
    from lxcast.jobs.build import build

    # A source without a digest is converted again; the same content then gives the same template.
    options_of_build = replace(build_options(settings, name=name, dry_run=dry_run), if_changed=True)
    built = build(what, options_of_build, progress)
    if not built.record.template_id:
        raise UsageError(
            f"{what} has no template in {storage.location} yet, so there is no plan for a container of it",
            hint="build it first (lxcast build), or leave out --dry-run",
        )
    for warning in built.warnings:
        progress.warn(warning)
    listed = storage.templates().find(built.record.file)
    node, path = (listed.node, listed.path) if listed else ("", built.path)
    return Template(built.record.template_id, built.record, built.record.size, node, path)


def _with_remote_storage(settings: Settings) -> Settings:
    """Return the settings with `proxmox:` as the storage, unless another remote storage is set."""
    if is_remote(settings.text("storage")):
        return settings
    return replace(settings, values={**settings.values, "storage": "proxmox:"})


def _template(found: StoredTemplate) -> Template:
    return Template(found.template_id, found.record, found.size, found.node, found.path)


def _pinned(text: str) -> str:
    """Return the volid that FILE#NAME pins. Raises UsageError and PinError."""
    from lxcast.references.files import read_file
    from lxcast.references.pin_file import parse_pins

    file, sign, name = text.rpartition("#")
    if not sign or not file or not name:
        raise UsageError(f"invalid pin pin:{text}", hint="expected pin:FILE#NAME")
    pins = parse_pins(read_file(file), Path(file))
    if name not in pins:
        raise PinError(f"{file} has no pin {name!r}", hint=f"available: {', '.join(pins) or 'none'}")
    return pins[name].template_id


def _local_file(path: Path) -> Template | None:
    """Return the template that a path names, if its record is next to it."""
    record = path.parent / f"{stem_of(path.name)}.json"
    if not suffix_of(path.name) or not path.is_file() or not record.is_file():
        return None
    found = parse_record(record.read_bytes(), str(record))
    return Template(found.template_id or f"local:vztmpl/{path.name}", found, found.size, path=path.absolute())


@contextmanager
def open_backend(name: str, template: Template, settings: Settings, progress: Progress) -> Iterator[Backend]:
    """Open the backend that creates a container. Raises UsageError."""
    if name == "lxc":
        from lxcast.containers.lxc import LxcContainers

        yield LxcContainers(template.path, socket.gethostname(), progress.debug)
        return
    if name == "pct":
        from lxcast.containers.pct import PctContainers

        yield PctContainers(socket.gethostname(), progress.debug)
        return
    if name in ("runc", "crun"):
        from lxcast.containers.oci_runtime import RuntimeContainers

        yield RuntimeContainers(name, template.path, socket.gethostname(), progress.debug)
        return
    from lxcast.containers.proxmox import ProxmoxContainers
    from lxcast.proxmox.client import Client, load_profile

    options = select(StorageOptions, settings)
    profile = load_profile(options.profile, options.api_url, options.ca_file, options.fingerprint)
    with Client(profile) as client:
        size = template.record.size if template.record else 0
        yield ProxmoxContainers(client, template.node, size, progress.debug)


@contextmanager
def open_recorded(record: ContainerRecord, settings: Settings, progress: Progress) -> Iterator[Backend]:
    """Open the backend of a container that exists. Raises UsageError."""
    template = Template(record.template_id, None, 0, record.node)
    with open_backend(record.backend, template, settings, progress) as backend:
        if backend.location != record.location:
            raise UsageError(
                f"{record.name} is at {record.location}, the settings name {backend.location}",
                hint="set PM_API_URL or --profile to the cluster that has it",
            )
        yield backend
