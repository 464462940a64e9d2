"""Creates a container from a template, or from a source that is built and published first."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from lxcast import __version__
from lxcast.containers.backend import Backend, Existing, Plan
from lxcast.containers.ledger import ContainerLedger, ContainerRecord
from lxcast.containers.options import Explained, convert_profile, make_spec
from lxcast.containers.spec import BRIDGE, ContainerSpec, Network, spec_of
from lxcast.errors import ApiError, ConflictError, ContainerError, LxcastError, UsageError
from lxcast.interrupt import Interrupted
from lxcast.jobs.containers import Template, choose_backend, find_route, find_template, open_backend
from lxcast.model import moment, rfc3339
from lxcast.progress import Progress
from lxcast.settings import Settings, Value

LXC_BRIDGE = "lxcbr0"
"""The bridge that LXC makes by default."""

_UPTIME = 1
"""Seconds that a container must have been up, as its host counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What the user wants besides the container's own options."""

    name: str
    backend: str = ""
    """"" to choose by the routing rules."""
    profile: str = ""
    """A table of the settings file: containers.PROFILE."""
    values: Mapping[str, Value]
    """Options of the container, by the names of `lxcast.containers.options.OPTIONS`."""
    keep: bool = False
    """Leave a container that failed."""
    timeout: float = 60.0
    """Seconds to wait for an address and for the port."""
    port: int = 0
    """TCP port that must answer; 0 for none."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """The result of a create, or of its plan."""

    record: ContainerRecord
    spec: ContainerSpec
    explained: list[Explained]
    plan: Plan | None = None
    """None if the container existed already."""
    reason: str = ""
    """Why this backend was chosen."""
    unchanged: bool = False


def create(what: str, options: CreateOptions, settings: Settings, progress: Progress) -> Created:
    """Create a container, start it and verify it. The same name from the same template is a success that does nothing.

    Raises UsageError, ConflictError, ApiError and ContainerError, and what a build raises. A failure leaves no
    container behind, except with `keep`; a container that this run did not create is never touched.
    """
    route = find_route(what, options.name, settings)
    if route.storage and "storage" not in settings.given:
        settings = replace(settings, values={**settings.values, "storage": route.storage})
    profile_name = options.profile or route.profile
    backend_name, reason = choose_backend(options.backend, route, settings)
    template = find_template(what, options.name, backend_name, settings, progress, dry_run=options.dry_run)
    profile = _profile(profile_name, settings)
    hints = template.record.hints if template.record else {}
    spec, explained = make_spec(_suggest(template), hints, options.name, profile, options.values, profile_name)
    with open_backend(backend_name, template, settings, progress) as backend:
        spec = _adapt(spec, explained, backend, progress)
        ledger = ContainerLedger(backend.location)
        record = ContainerRecord(
            name=options.name,
            backend=backend.name,
            location=backend.location,
            node=template.node,
            marker=secrets.token_hex(16),
            template_id=spec.ostemplate,
            sha256=template.record.sha256 if template.record else "",
            created=rfc3339(moment()),
            lxcast=__version__,
            spec=_recorded(spec),
        )
        if options.dry_run:
            return Created(record, spec, explained, backend.plan(spec), reason)
        with ledger.locked(options.name):
            previous = _settle(ledger, backend, options.name, progress)
            if existing := _existing(backend, spec, previous):
                record = replace(previous or record, id=existing.id, node=existing.node, marker=existing.marker)
                return Created(record, spec, explained, None, reason, unchanged=True)
            plan = backend.plan(spec)
            refuse(plan, backend.name)
            for finding in plan.findings:
                if finding.state in ("warning", "unchecked"):
                    progress.warn(finding.message)
            done = _carry_out(spec, record, backend, ledger, options, progress)
            return Created(done, spec, explained, plan, reason)


def refuse(plan: Plan, backend: str) -> None:
    """Raise one error with every problem of a plan; return if there is none."""
    if errors := plan.errors:
        hints = dict.fromkeys(each.hint for each in errors if each.hint)
        kind = ApiError if backend == "proxmox" else ContainerError
        raise kind("\n".join(each.message for each in errors), hint="\n".join(hints))


def _profile(name: str, settings: Settings) -> dict[str, Value]:
    """Return the values of a profile. Raises UsageError."""
    if not name:
        return {}
    tables = settings.tables.get("containers", {})
    if not isinstance(tables, dict) or not isinstance(tables.get(name), dict):
        names = ", ".join(tables) if isinstance(tables, dict) else ""
        raise UsageError(
            f"container profile {name!r} not found in {settings.path or 'a settings file'}",
            hint=f"available: {names}" if names else f"add a table [containers.{name}] to lxcast.toml",
        )
    return convert_profile(name, tables[name], str(settings.path))


def _suggest(template: Template) -> ContainerSpec:
    """Return the spec that a template suggests; without a record its disk is guessed from the size of the file."""
    if template.record:
        return replace(spec_of(template.record), ostemplate=template.volid)
    # A plain .tar may be an OCI archive; setting its process after the create task is right for both.
    is_image = template.volid.endswith(".tar")
    disk_gb = (4 * template.size >> 30) + 2
    return ContainerSpec(ostemplate=template.volid, hostname="", disk_gb=disk_gb, is_image=is_image)


def _adapt(spec: ContainerSpec, explained: list[Explained], backend: Backend, progress: Progress) -> ContainerSpec:
    """Return the spec with the defaults and hints that the backend can use; explicit options stay as they are."""
    origins = {each.option: each.origin for each in explained}
    if backend.name != "proxmox":
        names = {name for _, name in socket.if_nameindex()}
        bridges = [each for each in (BRIDGE, LXC_BRIDGE) if each in names]
        if "option" in origins["nets"] or "profile" in origins["nets"] or backend.name == "pct":
            return spec
        return replace(spec, networks=(Network(bridge=bridges[0]),) if bridges and backend.name == "lxc" else ())
    return _without_root_hints(spec, origins, progress)


def _without_root_hints(spec: ContainerSpec, origins: Mapping[str, str], progress: Progress) -> ContainerSpec:
    """Return the spec without hints that only root may set, each with a warning: nobody asked for them explicitly."""
    dropped = [f"{key} = {value}" for key, value in spec.limits]
    if origins["mounts"] == "record's hints":
        dropped += [f"mount of {each.volume}" for each in spec.mounts if each.is_bind]
        spec = replace(spec, mounts=tuple(each for each in spec.mounts if not each.is_bind))
    if origins["features"] == "record's hints":
        dropped += [each for each in spec.features if not each.startswith("nesting=")]
        spec = replace(spec, features=tuple(each for each in spec.features if each.startswith("nesting=")))
    for each in dropped:
        progress.warn(f"not carried over, only root@pam can set it: {each}")
    return replace(spec, limits=())


def _settle(ledger: ContainerLedger, backend: Backend, name: str, progress: Progress) -> ContainerRecord | None:
    """Return the record of a finished container of this name; remove what a run that was killed left behind."""
    previous = ledger.read(name)
    if previous and previous.state == "creating":
        if left := backend.get(previous):
            progress.warn(f"removing {left.location}, which an interrupted run of lxcast left behind")
        backend.destroy(previous)
        ledger.remove(name)
        return None
    if previous and backend.get(previous) is None:
        ledger.remove(name)
        return None
    return previous


def _existing(backend: Backend, spec: ContainerSpec, previous: ContainerRecord | None) -> Existing | None:
    """Return the container of this name from this template, None if the name is free. Raises ConflictError."""
    for each in backend.find(spec.hostname):
        if each.marker and each.template_id == spec.ostemplate:
            return each
        if not each.marker:
            raise ConflictError(
                f"{each.location} is called {spec.hostname} and was not created by lxcast", hint="use another --name"
            )
        raise ConflictError(
            f"{each.location} is called {spec.hostname} and was created from {each.template_id}, not from "
            f"{spec.ostemplate}",
            hint=f"remove it (lxcast destroy {previous.name if previous else spec.hostname} --apply), or use another "
            "--name",
        )
    return None


def _carry_out(
    spec: ContainerSpec,
    record: ContainerRecord,
    backend: Backend,
    ledger: ContainerLedger,
    options: CreateOptions,
    progress: Progress,
) -> ContainerRecord:
    current = record

    def save(changed: ContainerRecord) -> None:
        nonlocal current
        ledger.write(changed)
        current = changed

    with _cleaning_up(backend, ledger, options, lambda: current):
        with progress.step(f"creating {options.name} from {spec.ostemplate}"):
            save(record)
            id = backend.create(spec, record, save)
        with progress.step(f"starting {options.name} ({id})"):
            backend.start(current)
        with progress.step(f"verifying {options.name}"):
            addresses = _verify(spec, current, backend, options)
        save(replace(current, state="verified", addresses=addresses))
    return current


@contextmanager
def _cleaning_up(
    backend: Backend, ledger: ContainerLedger, options: CreateOptions, current: Callable[[], ContainerRecord]
) -> Iterator[None]:
    """Remove the container after a failure or an interrupt, or name the command that does."""
    try:
        yield
    except (LxcastError, Interrupted) as error:
        record = current()
        if options.keep and record.id and backend.get(record):
            ledger.write(replace(record, state="created"))
            hint = f"container {record.id} was kept; remove it with: lxcast destroy {record.name} --apply"
            if isinstance(error, Interrupted):
                raise error.with_hint(hint) from error
            raise ContainerError(error.message, hint="\n".join(filter(None, (error.hint, hint)))) from error
        try:
            backend.destroy(record)
            ledger.remove(record.name)
        except LxcastError as failed:
            hint = failed.hint or f"run the same command again, it removes container {record.id} first"
            if isinstance(error, Interrupted):
                raise error.with_hint(f"{failed.message}: {hint}") from failed
            raise ContainerError(
                f"{error.message}\ncontainer {record.id} could not be removed: {failed.message}", hint=hint
            ) from error
        raise


def _verify(spec: ContainerSpec, record: ContainerRecord, backend: Backend, options: CreateOptions) -> list[str]:
    """Wait until the container is up and has an address; return its addresses. Raises ContainerError."""
    end = time.monotonic() + options.timeout
    pause = 0.05
    needs_address = any(each.ip or each.ip6 for each in spec.networks)
    while True:
        state = backend.inspect(record)
        if not state.running:
            raise ContainerError(
                f"container {record.id} stopped right after its start",
                hint=f"look inside with --keep; console: pct start {record.id} --debug"
                if backend.name in ("proxmox", "pct")
                else "look inside with --keep",
            )
        if different := backend.differences(spec, state):
            raise ContainerError(
                f"container {record.id} differs from the plan: {'; '.join(different)}",
                hint="another program or user changed it while it was created; run the same command again",
            )
        if state.uptime >= _UPTIME and (state.addresses or not needs_address):
            break
        if time.monotonic() > end:
            raise ContainerError(
                f"container {record.id} has no address after {options.timeout:g} s",
                hint="check the DHCP server of the bridge, or set an address: --net bridge=vmbr0,ip=ADDRESS/PREFIX",
            )
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
    if options.port:
        _await_port(state.addresses[0] if state.addresses else "", options.port, end)
    return [*state.addresses]


def _await_port(address: str, port: int, end: float) -> None:
    reason = "no address"
    while address:
        try:
            socket.create_connection((address, port), timeout=2).close()
            return
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    raise ContainerError(
        f"port {port} at {address or 'the container'} does not answer: {reason}",
        hint="check that the service starts and listens on all addresses (--keep leaves the container running)",
    )


def _recorded(spec: ContainerSpec) -> dict[str, object]:
    """Return what the record keeps of a spec: no values of variables, which may be secret."""
    values = asdict(spec)
    values["env"] = [each.partition("=")[0] for each in spec.env]
    if values["process"]:
        values["process"]["env"] = [each.partition("=")[0] for each in spec.environment]
    return values
