"""Hints for containers: what they need, and what the source suggests, in Proxmox's terms where they exist."""

import re
from contextlib import suppress
from typing import Any

from lxcast.identifiers import SECRET_NAME
from lxcast.model import ImageConfig, Mount, Resources
from lxcast.rootfs.checks import Subject
from lxcast.rootfs.container import needs_nesting, root_disk
from lxcast.rootfs.distribution import detect
from lxcast.rootfs.init import has_ifupdown, is_written, numbers

_MIB = 1 << 20
_MOST_WEIGHT = 10_000
"""The highest cpuunits on cgroup v2 (pct.conf(5)). The default is 100 there and 1024 for CPU shares."""

_TOOL_DEFAULTS = {"runc", "umoci-default"}
"""Default hostnames of `runc spec` and umoci."""

# The value ends with a shell word, because a history line is a command that starts with its build arguments.
_SECRET = re.compile(rf"(?i)\b(\w*(?:{SECRET_NAME})\w*=)('[^']*'|\"[^\"]*\"|\S+)")


def container_hints(subject: Subject) -> dict[str, Any]:
    """Return the hints, without empty ones; values of secrets are replaced by ***."""
    survey, config = subject.survey, subject.process or ImageConfig()
    nesting = needs_nesting(survey)
    features = [*(["nesting=1"] if nesting else []), *(["fuse=1"] if "/dev/fuse" in config.resources.devices else [])]
    hints: dict[str, Any] = {"unprivileged": True, "disk_gb": root_disk(survey), "nesting": nesting}
    hints |= {"features": features, "hostname": _hostname(config.hostname)}
    hints |= _resources(config.resources) | {"mounts": list(map(_mount, config.mounts))}
    if subject.starts_program:
        hints |= {"init": "auto" if is_written(survey) else "app", "cmode": "console"}
        # The node configures eth0 if no program in the container reads the configuration that Proxmox writes.
        configures = is_written(survey) and (
            subject.dhcp or (has_ifupdown(survey) and detect(survey).ostype in ("debian", "devuan", "alpine"))
        )
        hints["host_managed"] = not configures
    hints |= _image_values(config)
    if hints.get("init") == "app":
        with suppress(LookupError):
            hints["uid"], hints["gid"], groups = numbers(survey, config)
            hints["groups"] = list(groups)
    return {key: value for key, value in hints.items() if value is not False and value not in ("", None, [], {})}


def _image_values(config: ImageConfig) -> dict[str, Any]:
    """Return the values of the image's configuration."""
    return {
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "env": [_hidden(each) for each in config.env],
        "user": config.user,
        "groups": list(config.groups),
        "working_dir": config.working_dir,
        "stop_signal": config.stop_signal,
        "volumes": list(config.volumes),
        "labels": {key: _hidden(f"{key}={value}").partition("=")[2] for key, value in config.labels.items()},
        "image_created": config.created,
        "image_history": [_hidden(each) for each in config.history],
    }


def _resources(given: Resources) -> dict[str, Any]:
    """Return memory and swap in MiB, processors, and limits that Proxmox supports only as raw LXC settings."""
    counts = [_count(given.cpus)] if given.cpus else []
    counts += [-int(-given.cpu_time // 1)] if given.cpu_time else []
    whole = given.cpu_time is None or given.cpu_time == int(given.cpu_time)
    shares = given.cpu_shares
    network = {True: "own", False: "host"}["network" in given.namespaces] if given.namespaces else ""
    return {
        "memory": -(-given.memory // _MIB) if given.memory else None,
        "swap": None if given.swap is None else given.swap // _MIB,
        "cores": min(filter(None, counts), default=None),
        "cpulimit": None if whole or given.cpu_time is None else round(given.cpu_time, 2),
        "cpuunits": min(max(1, shares * 100 // 1024), _MOST_WEIGHT) if shares else None,
        "cpuset": given.cpus,
        "pids": given.pids,
        "rlimits": {name: list(limits) for name, limits in given.rlimits.items()},
        "network": network,
        "namespaces": list(given.namespaces),
    }


def _count(cpus: str) -> int:
    """Return the number of processors in a list such as 0-3,7."""
    ends = [part.partition("-") for part in cpus.replace(" ", "").split(",") if part]
    return len({cpu for first, _, last in ends for cpu in range(int(first), int(last or first) + 1)})


def _hostname(text: str) -> str:
    # Proxmox requires DNS labels (PVE/JSONSchema.pm, dns-name).
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    return text if text not in _TOOL_DEFAULTS and re.fullmatch(rf"{label}(\.{label})*", text) else ""


def _mount(mount: Mount) -> dict[str, Any]:
    values = {"destination": mount.destination, "type": mount.type, "source": mount.source}
    return {key: value for key, value in values.items() if value} | {"options": list(mount.options)}


def _hidden(text: str) -> str:
    name, equals, _ = text.partition("=")
    if equals and " " not in name and _SECRET.match(f"{name}=x"):
        return f"{name}=***"
    return _SECRET.sub(r"\1***", text)
