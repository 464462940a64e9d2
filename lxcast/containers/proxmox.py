"""Containers on a Proxmox VE node, created by an API token.

The create call is the only atomic claim of an id: GET /cluster/nextid reserves nothing (pve-manager, API2/Cluster.pm).
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from lxcast.containers.backend import Existing, Plan, Say, State
from lxcast.containers.ledger import ContainerRecord
from lxcast.containers.proxmox_plan import preflight, privileges_of, root_only
from lxcast.containers.render import parameters
from lxcast.containers.spec import ContainerSpec
from lxcast.errors import ApiError, ContainerError
from lxcast.proxmox.client import Client
from lxcast.proxmox.tasks import last, list_tasks, wait

_ATTEMPTS = 30
"""Ids that are tried, if other creates take the free ones first."""

MARKER = re.compile(r"lxcast: ([0-9a-f]{32}) from (\S+)")

_LONGER_THAN_RECEIVED = 2.0
"""Seconds to look for a container whose create call got no reply."""


def notes_of(spec: ContainerSpec, marker: str) -> str:
    """Return the notes of a container: those that were given, and how lxcast recognizes it."""
    return f"{spec.notes}\n\nlxcast: {marker} from {spec.ostemplate}\n".lstrip()


def compare(spec: ContainerSpec, state: State) -> list[str]:
    """Return every parameter of the create call that the configuration has with another value."""
    found = []
    settings = state.settings
    for key, expected in parameters(spec).items():
        if key in ("pool", "ostype", *(("entrypoint",) if spec.is_image and not spec.command else ())):
            continue
        got = settings.get(key, "")
        if key == "rootfs" or (key.startswith("mp") and re.match(r"[^:/]+:\d+(,|$)", expected)):
            size = re.match(r"[^:]+:(\d+)", expected)
            same = bool(size) and f"size={size[1]}G" in got.split(",")  # type: ignore[index] # bool(size)
        elif re.fullmatch(r"(net|mp)\d+", key):
            same = {*expected.split(",")} <= {*got.split(",")}
        else:
            same = got == expected
        if not same:
            found.append(f"{key}: expected {expected}, got {got or 'nothing'}")
    return found


class ProxmoxContainers:
    """The containers of one node. One thread uses it."""

    name = "proxmox"

    def __init__(self, client: Client, node: str, template_size: int, say: Say) -> None:
        self._client, self._node, self._say = client, node, say
        self._template_size = template_size
        self.location = client.profile.host

    def find(self, name: str) -> list[Existing]:
        """Return the containers of the cluster with this host name."""
        resources = self._client.get("/cluster/resources", type="vm").list()
        named = [each for each in resources if each["name"].text("") == name and each["type"].text("") == "lxc"]
        found = (self._existing(each["node"].node(), str(each["vmid"].number())) for each in named)
        return [each for each in found if each]

    def get(self, record: ContainerRecord) -> Existing | None:
        """Return the container of a record; None if its id is free or belongs to another container."""
        found = self._existing(record.node, record.id) if record.id else None
        return found if found and found.marker == record.marker else None

    def _existing(self, node: str, id: str) -> Existing | None:
        try:
            config = self._client.get(f"/nodes/{node}/lxc/{id}/config")
        except ApiError as error:
            if error.status == 500 and "does not exist" in error.message:
                return None
            raise
        mark = MARKER.search(config["description"].text(""))
        marker, template = mark.groups() if mark else ("", "")
        return Existing(id, node, marker, template, config["lock"].text(""))

    def plan(self, spec: ContainerSpec) -> Plan:
        """Return the API calls, and check everything that they need."""
        given = self._parameters(spec, "MARKER")
        # Values of variables may be secret.
        hidden = {"env": " ".join(f"{each.partition('=')[0]}=***" for each in spec.environment)}
        shown = " ".join(f"{key}={hidden.get(key, value)!r}" for key, value in given.items())
        lxc = f"/nodes/{self._node}/lxc"
        steps = [f"POST {lxc} vmid={spec.vmid or 'NEXT'} ostemplate={spec.ostemplate} {shown}"]
        if late := self._late(spec):
            steps.append(f"PUT {lxc}/ID/config {' '.join(late)}")
        steps.append(f"POST {lxc}/ID/status/start")
        return Plan(
            steps,
            privileges_of(spec, given),
            root_only(spec),
            preflight(self._client, self._node, spec, given, self._template_size),
        )

    def _parameters(self, spec: ContainerSpec, marker: str) -> dict[str, str]:
        given = parameters(spec) | {"description": notes_of(spec, marker)}
        if spec.ssh_keys and spec.takes_keys:
            given["ssh-public-keys"] = spec.ssh_keys
        if spec.environment and not spec.is_image:
            given["env"] = "\0".join(spec.environment)
        return given

    def _late(self, spec: ContainerSpec) -> dict[str, str]:
        """Return what is set after the create task: of an OCI archive it overwrites both (restore_oci_archive)."""
        late = {"entrypoint": spec.command, "env": "\0".join(spec.env)}
        return {key: value for key, value in late.items() if value and spec.is_image}

    def create(self, spec: ContainerSpec, record: ContainerRecord, save: Callable[[ContainerRecord], None]) -> str:
        """Create the container under the given id, or the next free one."""
        given = self._parameters(spec, record.marker)
        for attempt in range(_ATTEMPTS):
            id = str(spec.vmid or self._client.get("/cluster/nextid").number())
            record = replace(record, id=id)
            save(record)
            try:
                upid = self._post(id, spec, given, record)
                break
            except ApiError as error:
                taken = error.status == 500 and "already exists" in error.message
                if not taken or spec.vmid or attempt == _ATTEMPTS - 1:
                    raise
        status, log = wait(self._client, upid, self._say)
        if status != "OK" and not status.startswith("WARNINGS"):
            raise ApiError(
                f"creating container {id} on {self._node} failed: {last(log, status)}",
                hint=f"the complete log: pvesh get /nodes/{self._node}/tasks/{upid}/log",
            )
        if late := self._late(spec):
            config = self._client.get(f"/nodes/{self._node}/lxc/{id}/config")
            if "env" in late:
                image = [each for each in config["env"].text("").split("\0") if each]
                late["env"] = "\0".join(replace(spec, env=(*image, *spec.env)).environment)
            self._client.put(f"/nodes/{self._node}/lxc/{id}/config", **late)
        return id

    def _post(self, id: str, spec: ContainerSpec, given: dict[str, str], record: ContainerRecord) -> str:
        """Send the create call; if its reply is lost, find out whether it was carried out."""
        try:
            return self._client.post(f"/nodes/{self._node}/lxc", vmid=id, ostemplate=spec.ostemplate, **given).text()
        except ApiError as error:
            if not error.lost:
                raise
            end = time.monotonic() + _LONGER_THAN_RECEIVED
            while not (found := self.get(record)) and time.monotonic() < end:
                time.sleep(0.2)
            tasks = self._tasks(id) if found else []
            if not tasks:
                raise
            return tasks[0]

    def _tasks(self, id: str) -> list[str]:
        """Return the create tasks of an id that belong to this token, newest first."""
        tasks = [*list_tasks(self._client, self._node, "vzcreate", limit=200)]
        own = [each for each in tasks if each.id == id and each.owner == self._client.profile.token_id]
        return [each.upid for each in sorted(own, key=lambda each: -each.began)]

    def start(self, record: ContainerRecord) -> None:
        """Start the container by a task of its own, which is awaited; on failure with LXC's log."""
        path = f"/nodes/{record.node}/lxc/{record.id}/status/start"
        status, log = wait(self._client, self._client.post(path).text(), self._say)
        if status == "OK" or status.startswith("WARNINGS"):
            return
        try:
            _, log = wait(self._client, self._client.post(path, debug=1).text())
        except ApiError as error:
            log = [*log, error.message]
        raise ContainerError(
            f"container {record.id} on {record.node} does not start: {status}\n" + "\n".join(log[-20:]),
            hint="see the log above; `lxcast check` shows whether the template has an init",
        )

    def inspect(self, record: ContainerRecord) -> State:
        """Return the state as the node sees it: nothing is run inside the container."""
        path = f"/nodes/{record.node}/lxc/{record.id}"
        current = self._client.get(f"{path}/status/current")
        running = current["status"].text() == "running"
        settings = {key: each.text("") for key, each in self._client.get(f"{path}/config").members().items()}
        addresses = [*self._addresses(path)] if running else []
        return State(running, settings, addresses, current["uptime"].number(0))

    def _addresses(self, path: str) -> Iterator[str]:
        for interface in self._client.get(f"{path}/interfaces").list():
            if interface["name"].text("") == "lo":
                continue
            members = interface.members()
            for each in members["ip-addresses"].list() if "ip-addresses" in members else []:
                yield each["ip-address"].text()
            # Before pve-container 5.2 there are only these two.
            for key in ("inet", "inet6") if "ip-addresses" not in members else ():
                if address := interface[key].text(""):
                    yield address.partition("/")[0]

    def differences(self, spec: ContainerSpec, state: State) -> list[str]:
        """Return every parameter of the create call that the configuration has with another value."""
        return compare(spec, state)

    def stop(self, record: ContainerRecord) -> None:
        """Stop the container at once, if it runs."""
        path = f"/nodes/{record.node}/lxc/{record.id}/status"
        if self._client.get(f"{path}/current")["status"].text() == "running":
            wait(self._client, self._client.post(f"{path}/stop").text())

    def destroy(self, record: ContainerRecord) -> None:
        """Stop and remove the container, if it still has the record's marker, and confirm that it is gone."""
        found = self.get(record)
        for upid in self._tasks(record.id) if found and found.locked else []:
            wait(self._client, upid)  # its worker may still run, as after a killed lxcast
            found = self.get(record)
        if found is None:
            return
        if found.locked:
            raise ContainerError(
                f"{found.location} is locked ({found.locked}): the task that locked it was killed",
                hint=f"run as root on {found.node}: pct unlock {found.id} && pct destroy {found.id} --purge",
            )
        try:
            self.stop(record)
            path = f"/nodes/{found.node}/lxc/{found.id}"
            upid = self._client.delete(path, **{"force": 1, "purge": 1, "destroy-unreferenced-disks": 0}).text()
            status, log = wait(self._client, upid, self._say)
            problem = "" if status == "OK" or status.startswith("WARNINGS") else last(log, status)
        except ApiError as error:
            if self.get(record) is None:
                return
            problem = error.message
        if problem or self.get(record):
            raise ContainerError(
                f"{found.location} could not be removed: {problem or 'it still exists'}",
                hint=f"run as root on {found.node}: pct destroy {found.id} --force --purge",
            )
