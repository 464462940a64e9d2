"""The container engine: Docker, or Podman through the same API.

Paths carry no API version: the engine then uses its newest one, and everything used here is the same in all versions
since 1.24 (2016).
"""

import errno
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lxcast.engine.endpoint import Endpoint, endpoints
from lxcast.engine.transport import Call, Reply, transport
from lxcast.errors import EngineError
from lxcast.model import ImageConfig

_LABEL = "lxcast.export"
"""The label of every container that lxcast creates; its value identifies the process."""

_DAY = 86400

_START = "start it: sudo systemctl start docker"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the engine."""

    id: str
    """ "sha256:HEX". In the containerd image store, the default since Docker 29, it changes with every cached build:
    attestations contain times."""
    identity: str
    """A digest of everything in the image that a template depends on, the same in both image stores."""
    config: ImageConfig


@dataclass(frozen=True, slots=True)
class Container:
    """A container in the engine; `volumes` are the mount points of its volumes."""

    id: str
    name: str
    image: str
    """The image's id; the engine may have removed the image."""
    running: bool
    volumes: tuple[str, ...]
    config: ImageConfig


class Engine:
    """An engine that answered. Created by `connect`."""

    def __init__(self, call: Call, address: str) -> None:
        self._call = call
        self.address = address

    def container(self, name: str) -> Container | None:
        """Return a container by name or id; None if it does not exist."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            return None
        data = self._json("GET", f"/containers/{name}/json")
        if data is None:
            return None
        volumes = tuple(sorted(one["Destination"] for one in data.get("Mounts") or [] if one.get("Type") == "volume"))
        running = bool((data.get("State") or {}).get("Running"))
        image = _digest(str(data.get("Image") or ""))
        found = self.image(image)
        config = ImageConfig.parse(data.get("Config") or {}, found.config.architecture if found else "")
        return Container(data["Id"], str(data.get("Name") or "").lstrip("/"), image, running, volumes, config)

    def image(self, reference: str) -> Image | None:
        """Return an image by reference or id; None if it does not exist. Nothing is pulled."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]*", reference) or ".." in reference or "//" in reference:
            return None
        data = self._json("GET", f"/images/{quote(reference, safe='/:@')}/json")
        if data is None:
            return None
        variant = str(data.get("Variant") or "")
        architecture = str(data.get("Architecture") or "") + (f"/{variant}" if variant else "")
        config = ImageConfig.parse(data.get("Config") or {}, architecture)
        id = _digest(data["Id"])
        return Image(id, _identity(data["RootFS"].get("Layers") or [], config) if data.get("RootFS") else id, config)

    @contextmanager
    def export(self, container: str) -> Iterator[Reply]:
        """Stream a container's filesystem as a tar; a truncated one lacks the end of the archive."""
        with self._stream(f"/containers/{container}/export") as reply:
            yield reply

    @contextmanager
    def archive(self, container: str, path: str) -> Iterator[Reply | None]:
        """Stream `path` as a container sees it, including volumes, as a tar whose names start with its last part.

        None if the container or the path does not exist.
        """
        with self._stream(f"/containers/{container}/archive?path={quote(path, safe='')}", 404) as reply:
            yield None if reply.status == 404 else reply

    @contextmanager
    def created(self, image: Image, warn: Callable[[str], None]) -> Iterator[str]:
        """Create a container of an image without a network, never start it, and always remove it."""
        name = f"lxcast-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self.create(image, name, {_LABEL: _owner()})
            yield name
        finally:
            self.remove(name, warn)

    def create(self, image: Image, name: str, labels: Mapping[str, str]) -> None:
        """Create a container of an image without a network. Raises EngineError if the name is taken."""
        body: dict[str, object] = {
            "Image": image.id,
            "Labels": dict(labels),
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none"},
        }
        if not image.config.cmd and not image.config.entrypoint:
            body["Cmd"] = ["/lxcast-never-starts-this"]  # an image without a command needs one here
        # Interrupts wait for the reply: else the engine would create the container after its removal.
        with _uninterrupted():
            self._json("POST", f"/containers/create?name={name}", body)

    def remove(self, container: str, warn: Callable[[str], None]) -> None:
        """Remove a container, running or not, and its anonymous volumes; if that fails, warn with the command."""
        try:
            # v=1: with the anonymous volumes of the image's VOLUME instructions.
            with _uninterrupted():
                self._json("DELETE", f"/containers/{container}?v=1&force=1")
        except EngineError as error:
            warn(
                f"the container {container} was left behind ({error.message}): docker rm --force --volumes {container}"
            )

    def sweep(self, warn: Callable[[str], None]) -> None:
        """Remove the containers of runs that were killed."""
        filters = quote(json.dumps({"label": [_LABEL]}), safe="")
        for one in self._json("GET", f"/containers/json?all=1&filters={filters}") or []:
            owner = str((one.get("Labels") or {}).get(_LABEL))
            # A process of another machine or an earlier boot cannot be checked, but no export takes a day.
            if _is_dead(owner) or time.time() - int(one.get("Created") or 0) > _DAY:
                self.remove(one["Id"], warn)

    @contextmanager
    def _stream(self, path: str, *allowed: int) -> Iterator[Reply]:
        try:
            reply = self._call("GET", path)
        except OSError as error:
            raise self._gone(error) from error
        try:
            if reply.status not in (200, *allowed):
                raise EngineError(f"the engine at {self.address}: {_message(reply)}")
            yield reply
        finally:
            reply.close()

    def _gone(self, error: OSError) -> EngineError:
        return EngineError(f"the engine at {self.address} is gone: {error.strerror or error}", hint=_START)

    def _json(self, method: str, path: str, body: object = None) -> Any:
        """Return the reply's JSON, None for an empty reply and for 404 (except to a POST). Raises EngineError."""
        try:
            reply = self._call(method, path, body)
        except OSError as error:
            raise self._gone(error) from error
        try:
            if reply.status == 404 and method != "POST":
                return None
            if not 200 <= reply.status < 300:
                raise EngineError(f"the engine at {self.address}: {_message(reply)}")
            content = reply.read()
        finally:
            reply.close()
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise EngineError(f"the engine at {self.address}: expected JSON, got {content[:80]!r}") from error


def connect(environ: Mapping[str, str] = os.environ) -> Engine:
    """Return the engine that the docker command would use, else the first of the usual ones that answers.

    Raises EngineError with all addresses and why each failed.
    """
    tried: list[tuple[Endpoint, int, str]] = []
    for endpoint in endpoints(environ):
        try:
            call = transport(endpoint)
            reply = call("GET", "/_ping", seconds=10)
            status, message = reply.status, "" if reply.status == 200 else _message(reply)
            reply.close()
        except EngineError as error:
            tried.append((endpoint, 0, error.message))
        except OSError as error:
            tried.append((endpoint, error.errno or 0, _REASONS.get(error.errno or 0, error.strerror or str(error))))
        else:
            if status == 200:
                return Engine(call, endpoint.host)
            tried.append((endpoint, errno.EACCES if status in (401, 403) else 0, message))
    raise _unreachable(tried)


_REASONS = {
    errno.ENOENT: "no such socket",
    errno.EACCES: "permission denied",
    errno.ECONNREFUSED: "not running (connection refused)",
}


def _unreachable(tried: list[tuple[Endpoint, int, str]]) -> EngineError:
    lines = [f"{one.host}{f' (from {one.named_by})' if one.named_by else ''}: {reason}" for one, _, reason in tried]
    numbers = {number for _, number, _ in tried}
    if errno.EACCES in numbers:
        hint = "join the group that owns the socket (sudo usermod -aG docker USER, then log in again), or use sudo"
    elif errno.ECONNREFUSED in numbers:
        hint = _START
    elif tried[0][0].named_by:
        hint = f"check {tried[0][0].named_by}; `docker version` uses the same engine"
    else:
        hint = "start an engine, or set DOCKER_HOST; an archive of docker export needs no engine"
    return EngineError("no container engine answers: " + "; ".join(lines), hint=hint)


def _message(reply: Reply) -> str:
    content = reply.read()
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {reply.status}, {content[:80]!r}"


def _digest(id: str) -> str:
    # Podman gives ids without the algorithm.
    return f"sha256:{id}" if re.fullmatch(r"[0-9a-f]{64}", id) else id


def _identity(layers: list[str], config: ImageConfig) -> str:
    parsed = {key: value for key, value in asdict(config).items() if value}
    return f"sha256:{hashlib.sha256(json.dumps([layers, parsed], sort_keys=True).encode()).hexdigest()}"


def _owner(pid: int | None = None) -> str:
    """Identify a process: boot, pid namespace, pid, and start time, since pids are reused."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = Path(f"/proc/{pid or 'self'}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid or os.getpid()} {start}"  # noqa: PTH115 - no file's path


def _is_dead(owner: str) -> bool:
    ours, words = _owner().split(), owner.split()
    if len(words) != 4 or words[:2] != ours[:2] or not words[2].isdigit():
        return False
    try:
        return _owner(int(words[2])) != owner
    except OSError:
        return True


@contextmanager
def _uninterrupted() -> Iterator[None]:
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
