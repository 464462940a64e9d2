"""Containers on the Proxmox VE node that lxcast runs on, created by `pct` as root.

Root may set what no API token may: every feature, bind mounts, and settings of LXC in the configuration file.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from lxcast.containers.backend import Existing, Finding, Plan, Say, State
from lxcast.containers.ledger import ContainerRecord
from lxcast.containers.proxmox import MARKER, compare, notes_of
from lxcast.containers.render import lxc_settings, parameters
from lxcast.containers.spec import ContainerSpec
from lxcast.containers.tree import run, uptime
from lxcast.errors import ContainerError
from lxcast.identifiers import one_line

CONFIGURATIONS = Path("/etc/pve/lxc")
"""Where a node keeps the configurations of its containers; PCT_CONFIG in the environment replaces it."""

_ATTEMPTS = 30
_PROGRAMS = ("pct", "pvesh", "lxc-info")


class PctContainers:
    """The containers of this node."""

    name = "pct"

    def __init__(self, host: str, say: Say) -> None:
        self._say = say
        self._configurations = Path(os.environ.get("PCT_CONFIG") or CONFIGURATIONS)
        self.location = f"pct@{host}"

    def find(self, name: str) -> list[Existing]:
        """Return the containers of this node with this host name."""
        ids = [line.split()[0] for line in self._pct("list").splitlines()[1:] if line.split()[-1:] == [name]]
        return [each for each in map(self._existing, ids) if each]

    def get(self, record: ContainerRecord) -> Existing | None:
        """Return the container of a record; None if its id is free or belongs to another container."""
        found = self._existing(record.id) if record.id else None
        return found if found and found.marker == record.marker else None

    def _existing(self, id: str) -> Existing | None:
        done = run(["pct", "config", id])
        if done.returncode:
            if "does not exist" in done.stderr:
                return None
            raise ContainerError(f"pct config {id}: {done.stderr.strip()}", hint="run the command as root on the node")
        settings = _parse(done.stdout)
        mark = MARKER.search(settings.get("description", ""))
        marker, template = mark.groups() if mark else ("", "")
        return Existing(id, "", marker, template, settings.get("lock", ""))

    def _pct(self, *words: str) -> str:
        """Run pct and return its output. Raises ContainerError."""
        done = run(["pct", *words])
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()[-20:]
            raise ContainerError(
                f"pct {' '.join(words[:2])} failed: " + "\n".join(lines), hint="see the task log: pvesh"
            )
        return done.stdout

    def plan(self, spec: ContainerSpec) -> Plan:
        """Return the commands, and check this host."""
        steps = [" ".join(["pct", *self._arguments(spec, str(spec.vmid or "ID"), "MARKER")])]
        # Values of variables may be secret.
        if lines := [re.sub(r"^(lxc\.environment: [^=]*=).*", r"\1***", each) for each in _raw(spec)]:
            steps.append(f"append to {self._configurations}/ID.conf: {'; '.join(lines)}")
        return Plan([*steps, "pct start ID"], findings=[*self._check(spec)])

    def _check(self, spec: ContainerSpec) -> Iterator[Finding]:
        if os.geteuid() != 0:
            yield Finding("user", "error", "pct needs root", "run the command with sudo on the node")
        if missing := [each for each in _PROGRAMS if shutil.which(each) is None]:
            yield Finding(
                "programs", "error", f"not installed: {', '.join(missing)}", "run lxcast on a Proxmox VE node"
            )

    def _arguments(self, spec: ContainerSpec, id: str, marker: str) -> list[str]:
        given = parameters(spec) | {"description": notes_of(spec, marker)}
        return ["create", id, spec.ostemplate, *(word for key, value in given.items() for word in (f"--{key}", value))]

    def create(self, spec: ContainerSpec, record: ContainerRecord, save: Callable[[ContainerRecord], None]) -> str:
        """Create the container under the given id, or the next free one."""
        for attempt in range(_ATTEMPTS):
            id = str(spec.vmid or run(["pvesh", "get", "/cluster/nextid"]).stdout.strip().strip('"'))
            save(replace(record, id=id))
            try:
                for line in self._pct(*self._arguments(spec, id, record.marker)).splitlines():
                    self._say(line)
                break
            except ContainerError as error:
                if "already exists" not in error.message or spec.vmid or attempt == _ATTEMPTS - 1:
                    raise
        if lines := _raw(spec):
            path = self._configurations / f"{id}.conf"
            text = path.read_text(encoding="utf-8")
            # Snapshots follow as sections; a new container has none.
            path.write_text(text.rstrip("\n") + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
        return id

    def start(self, record: ContainerRecord) -> None:
        """Start the container; on failure with LXC's log."""
        try:
            self._pct("start", record.id)
        except ContainerError as error:
            log = run(["pct", "start", record.id, "--debug"])
            lines = "\n".join((log.stderr + log.stdout).splitlines()[-20:])
            raise ContainerError(f"{error.message}\n{lines}", hint="see the log above") from error

    def inspect(self, record: ContainerRecord) -> State:
        """Return the state as the node sees it."""
        settings = _parse(self._pct("config", record.id))
        pid = run(["lxc-info", "--name", record.id, "--no-humanize", "--pid"]).stdout.strip()
        if "running" not in self._pct("status", record.id) or not pid.isdigit():
            return State(False, settings)
        addresses = run(["lxc-info", "--name", record.id, "--no-humanize", "--ips"]).stdout.split()
        return State(True, settings, addresses, uptime(int(pid)))

    def differences(self, spec: ContainerSpec, state: State) -> list[str]:
        """Return every option that the configuration has with another value."""
        return compare(spec, state)

    def destroy(self, record: ContainerRecord) -> None:
        """Stop and remove the container, if it still has the record's marker, and confirm that it is gone."""
        found = self.get(record)
        if found is None:
            return
        if found.locked:
            self._pct("unlock", found.id)  # this run's own, whose pct was killed
        if "running" in self._pct("status", found.id):
            self._pct("stop", found.id)
        self._pct("destroy", found.id, "--force", "1", "--purge", "1")
        if self.get(record):
            raise ContainerError(
                f"container {found.id} could not be removed",
                hint=f"run as root: pct destroy {found.id} --force --purge",
            )


def _raw(spec: ContainerSpec) -> list[str]:
    """Return the lines of LXC settings; no value can make a line of its own."""
    settings = [each for each in lxc_settings(spec) if each[0] != "lxc.environment"]
    settings += [("lxc.environment", each) for each in spec.environment]
    return [f"{key}: {one_line(value)}" for key, value in settings]


def _parse(text: str) -> dict[str, str]:
    """Return the settings that `pct config` prints, whose notes are URL-encoded in one line."""
    from urllib.parse import unquote  # start-up time: only this backend needs it

    pairs = (line.partition(": ")[::2] for line in text.splitlines())
    found = {key: value for key, value in pairs if re.fullmatch(r"[a-z0-9.-]+", key)}
    return found | {"description": unquote(found.get("description", ""))}
