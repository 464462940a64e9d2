"""Addresses of the container engine, found as the docker command finds them.

DOCKER_HOST, else the context in DOCKER_CONTEXT or config.json (docker/cli, cli/command/cli.go resolveContextName;
cli/context/store for the files). By default the docker command has one socket; the usual sockets of rootless Docker,
Docker Desktop and Podman are tried after it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lxcast.errors import EngineError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address as the docker command writes it (unix://, tcp://, ssh://), and where it is configured."""

    host: str
    named_by: str
    tls: bool = False
    verify: bool = True
    certificates: Path | None = None
    """The directory of ca.pem, cert.pem and key.pem, each of which may be missing."""


def endpoints(environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Return the addresses to try in order; only one if the user configured it. Raises EngineError."""
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    host = environ.get("DOCKER_HOST", "")
    if host:
        certificates = Path(environ.get("DOCKER_CERT_PATH") or config)
        verify = bool(environ.get("DOCKER_TLS_VERIFY"))
        return [Endpoint(host, "DOCKER_HOST", verify or bool(environ.get("DOCKER_TLS")), verify, certificates)]
    context, named_by = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not context:
        context, named_by = _current_context(config / "config.json"), str(config / "config.json")
    if context not in ("", "default"):
        return [_context(context, named_by, config / "contexts")]
    found = [Path("/var/run/docker.sock")]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime:
        found.append(Path(runtime) / "docker.sock")
    found.append(home / ".docker" / "run" / "docker.sock")
    if runtime:
        found.append(Path(runtime) / "podman" / "podman.sock")
    found.append(Path("/run/podman/podman.sock"))
    return [Endpoint(f"unix://{path}", "") for path in found]


def _current_context(config: Path) -> str:
    data = _read(config, missing={})
    context = data.get("currentContext", "")
    if not isinstance(context, str):
        raise EngineError(f"{config}: invalid currentContext: expected a string, got {context!r}")
    return context


def _context(name: str, named_by: str, contexts: Path) -> Endpoint:
    directory = hashlib.sha256(name.encode()).hexdigest()
    meta = contexts / "meta" / directory / "meta.json"
    data = _read(meta)
    if data is None:
        raise EngineError(
            f"docker context {name!r}, set in {named_by}, not found: {meta} is missing",
            hint="list the contexts: docker context ls; use the default one: docker context use default",
        )
    try:
        endpoint = data["Endpoints"]["docker"]
        host, skip = endpoint["Host"], bool(endpoint.get("SkipTLSVerify"))
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{meta}: the context {name!r} has no docker endpoint") from error
    certificates = contexts / "tls" / directory / "docker"
    has_tls = certificates.is_dir() or skip
    return Endpoint(str(host), f"the docker context {name!r}", has_tls, not skip, certificates)


def _read(path: Path, missing: dict[str, object] | None = None):  # type: ignore[no-untyped-def]  # JSON of others: any shape
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return missing
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{path} cannot be read: {error}", hint="repair the file; the docker command reads it, too"
        ) from error
    if not isinstance(data, dict):
        raise EngineError(f"{path}: expected a JSON object", hint="repair the file; the docker command reads it, too")
    return data
