"""Containers of an OCI runtime on this host, runc or crun: a bundle is made of the template.

The bundle's config.json follows the OCI runtime specification 1.0.2. A bundle is built in a directory whose name starts
with a dot, and gets its name when it is complete.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lxcast.containers.backend import Existing, Finding, Plan, Say, State, unsupported
from lxcast.containers.ledger import ContainerRecord
from lxcast.containers.spec import ContainerSpec, MountPoint
from lxcast.containers.tree import remove_tree, run, uptime
from lxcast.containers.unpack import IdMap, delegated, missing_programs, unpack
from lxcast.errors import ConflictError, ContainerError

PATH = Path("/var/lib/lxcast/bundles")
"""Where bundles are; LXCAST_BUNDLES in the environment replaces it. Mapped ids must be able to enter it."""

_MARKER, _TEMPLATE = "io.lxcast.marker", "io.lxcast.template"
_STOP = 10.0
"""Seconds that a program may take to end after its stop signal."""

_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
]
"""What container engines give by default."""

_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),  # noqa: S108 - its place
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
)
_MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware")
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class RuntimeContainers:
    """The containers of one runtime. `template` is the file of the template on this host."""

    def __init__(self, runtime: str, template: Path | None, host: str, say: Say) -> None:
        self.name, self._template, self._say = runtime, template, say
        self._path = Path(os.environ.get("LXCAST_BUNDLES") or PATH)
        self.location = f"{runtime}@{host}"

    def find(self, name: str) -> list[Existing]:
        """Return the container with this name, with or without a bundle of lxcast."""
        if found := _read(self._path / name):
            return [found]
        return [Existing(name, "", "", "")] if self._state(name) else []

    def get(self, record: ContainerRecord) -> Existing | None:
        """Return the container of a record, finished or not."""
        for directory in (self._path / (record.id or record.name), self._unfinished(record)):
            found = _read(directory)
            if found and found.marker == record.marker:
                return found
        return None

    def _unfinished(self, record: ContainerRecord) -> Path:
        return self._path / f".lxcast-{record.marker}"

    def _state(self, name: str) -> dict[str, Any] | None:
        done = run([self.name, "state", name])
        return json.loads(done.stdout) if done.returncode == 0 else None

    def plan(self, spec: ContainerSpec) -> Plan:
        """Return the commands, and check this host."""
        bundle = self._path / spec.hostname
        steps = [
            f"unpack {self._template} to {bundle}/rootfs",
            f"write {bundle}/config.json",
            f"{self.name} create --bundle {bundle} {spec.hostname}",
            f"{self.name} start {spec.hostname}",
        ]
        return Plan(steps, findings=[*self._check(spec)])

    def _check(self, spec: ContainerSpec) -> Iterator[Finding]:
        if os.geteuid() != 0:
            yield Finding("user", "error", f"{self.name} containers are created as root", "run the command with sudo")
        missing = [self.name] if shutil.which(self.name) is None else []
        missing += missing_programs(self._template) if self._template else []
        if missing:
            yield Finding("programs", "error", f"not installed: {', '.join(missing)}", f"apt install {self.name} zstd")
        if spec.networks:
            yield Finding(
                "network",
                "error",
                f"{self.name} sets up no network interfaces",
                "pass --net none, or use --backend lxc",
            )
        for each in spec.mounts:
            if not each.is_bind:
                yield Finding(
                    "mounts", "error", f"volume {each.volume}: {self.name} mounts only directories", "use /DIR,mp=PATH"
                )
            elif not Path(each.volume).exists():
                yield Finding("mounts", "error", f"{each.volume} not found", f"mkdir -p {each.volume}")
        if spec.is_image:
            yield Finding("format", "error", "an OCI archive cannot be unpacked here", "build with --format zst")
        yield from unsupported(spec, self.name)

    def create(self, spec: ContainerSpec, record: ContainerRecord, save: Callable[[ContainerRecord], None]) -> str:
        """Make the bundle, then create the container from it."""
        assert self._template
        save(replace(record, id=spec.hostname))
        unfinished, bundle = self._unfinished(record), self._path / spec.hostname
        ids = (delegated() or IdMap()) if spec.unprivileged else None
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir(mode=0o755)
            config = make_config(spec, record.marker, ids)
            (unfinished / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            unpack(self._template, unfinished / "rootfs", ids)
            unfinished.rename(bundle)
        except OSError as error:
            if bundle.exists() and unfinished.exists():
                raise ConflictError(f"{bundle} already exists", hint="use another --name") from error
            raise ContainerError(
                f"{error.filename or unfinished}: {error.strerror}", hint="see `df` and mounts"
            ) from error
        # The program keeps these streams: a pipe of ours would end with this process.
        with (bundle / "console.log").open("wb") as log:
            done = subprocess.run(  # noqa: S603 - an argument list of our own
                [self.name, "--log", str(bundle / "runtime.log"), "create", "--bundle", str(bundle), spec.hostname],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            self._fail(bundle, f"{self.name} cannot create container {spec.hostname}")
        return spec.hostname

    def start(self, record: ContainerRecord) -> None:
        """Start the program."""
        if run([self.name, "start", record.id]).returncode:
            self._fail(self._path / record.id, f"container {record.id} does not start")

    def _fail(self, bundle: Path, message: str) -> None:
        files = [bundle / name for name in ("runtime.log", "console.log")]
        lines = [line for file in files if file.exists() for line in file.read_text(errors="replace").splitlines()]
        raise ContainerError("\n".join([message, *lines[-20:]]), hint="look at the bundle with --keep")

    def inspect(self, record: ContainerRecord) -> State:
        """Return the state as the runtime reports it."""
        settings = {"config": (self._path / record.id / "config.json").read_text(encoding="utf-8")}
        state = self._state(record.id) or {}
        running = state.get("status") == "running"
        return State(running, settings, (), uptime(int(state["pid"])) if running else 0)

    def differences(self, spec: ContainerSpec, state: State) -> list[str]:
        """Return the parts of config.json that differ from what was written."""
        config = json.loads(state.settings["config"])
        ids = (delegated() or IdMap()) if spec.unprivileged else None
        expected = make_config(spec, config.get("annotations", {}).get(_MARKER, ""), ids)
        return [key for key in expected if expected[key] != config.get(key)]

    def destroy(self, record: ContainerRecord) -> None:
        """Stop the container and remove its bundle, if the bundle has the record's marker."""
        bundle = self._path / (record.id or record.name)
        found = _read(bundle)
        if found and found.marker == record.marker:
            run([self.name, "kill", found.id, "TERM"])
            end = time.monotonic() + _STOP
            while (self._state(found.id) or {}).get("status") == "running" and time.monotonic() < end:
                time.sleep(0.05)
            run([self.name, "delete", "--force", found.id])
            if self._state(found.id):
                raise ContainerError(
                    f"container {found.id} could not be removed",
                    hint=f"run as root: {self.name} delete --force {found.id}",
                )
            remove_tree(bundle, last="config.json")
        remove_tree(self._unfinished(record), last="config.json")


def _read(bundle: Path) -> Existing | None:
    try:
        config = json.loads((bundle / "config.json").read_bytes())
        notes = config.get("annotations") or {}
        return Existing(bundle.name, "", str(notes.get(_MARKER, "")), str(notes.get(_TEMPLATE, "")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, AttributeError):
        return Existing(bundle.name, "", "", "")


def make_config(spec: ContainerSpec, marker: str, ids: IdMap | None) -> dict[str, Any]:
    """Return the config.json of a container."""
    process = spec.process
    args = shlex.split(spec.command) if spec.command else [*process.argv] if process else ["/sbin/init"]
    environment = [*spec.environment]
    if not any(each.startswith("PATH=") for each in environment):
        environment.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    user = {"uid": process.uid, "gid": process.gid, "additionalGids": [*process.groups]} if process else {}
    kinds = ["pid", "ipc", "uts", "mount", "network", *(["user"] if ids else [])]
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": [*_MASKED],
        "readonlyPaths": [*_READ_ONLY],
        "resources": _resources(spec),
    }
    if ids:
        mapping = [{"containerID": 0, "hostID": ids.first, "size": ids.count}]
        linux |= {"uidMappings": mapping, "gidMappings": mapping}
    return {
        "ociVersion": "1.0.2",
        "hostname": spec.hostname,
        "root": {"path": "rootfs", "readonly": False},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0} | user,
            "args": args,
            "env": environment,
            "cwd": process.working_dir if process else "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "rlimits": [*_rlimits(spec)],
            "noNewPrivileges": False,
        },
        "mounts": [
            *(
                {"destination": to, "type": kind, "source": source, "options": [*options]}
                for to, kind, source, options in _MOUNTS
            ),
            *map(_bind, spec.mounts),
        ],
        "linux": linux,
        "annotations": {_MARKER: marker, _TEMPLATE: spec.ostemplate},
    }


def _bind(mount: MountPoint) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro" if mount.read_only else "rw"]
    return {"destination": mount.path, "type": "bind", "source": mount.volume, "options": options}


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if spec.memory:
        resources["memory"] = {"limit": spec.memory << 20}
    if spec.cpulimit:
        resources["cpu"] = {"quota": int(spec.cpulimit * 100_000), "period": 100_000}
    pids = dict(spec.limits).get("lxc.cgroup2.pids.max", "")
    if pids.isdigit():
        resources["pids"] = {"limit": int(pids)}
    return resources


def _rlimits(spec: ContainerSpec) -> Iterator[dict[str, Any]]:
    for key, value in spec.limits:
        if match := re.fullmatch(r"lxc\.prlimit\.(\w+)", key):
            soft, _, hard = value.partition(":")
            yield {"type": f"RLIMIT_{match[1].upper()}", "soft": int(soft), "hard": int(hard or soft)}
