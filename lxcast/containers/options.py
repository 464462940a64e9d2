"""The options of a container: one table, from which a spec is made by defaults, hints, profile and command line."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lxcast.containers.spec import BRIDGE, DISK_STORAGE, ContainerSpec, MountPoint, Network
from lxcast.errors import UsageError
from lxcast.identifiers import quote_command
from lxcast.settings import Setting, Value, convert_all, did_you_mean
from lxcast.settings import convert as convert_value


def _row(name: str, kind: str, default: Value, description: str, unit: str = "", singular: str = "") -> Setting:
    return Setting(name, kind, default, "container", False, description, unit=unit, singular=singular)


OPTIONS: tuple[Setting, ...] = (
    _row("vmid", "number", 0, "Id of the container. Default: the next free one.", "ID"),
    _row("hostname", "string", "", "Host name. Default: the container's name.", "NAME"),
    _row(
        "rootfs",
        "string",
        DISK_STORAGE,
        "Root disk. Default size: the unpacked template and room to work.",
        "STORAGE[:GB]",
    ),
    _row("memory", "number", 512, "Memory in MiB.", "MIB"),
    _row("swap", "number", 512, "Swap in MiB.", "MIB"),
    _row("cores", "number", 0, "Processor cores. Default: all of the node.", "N"),
    _row("cpulimit", "string", "", "Limit of CPU time in cores, such as 1.5.", "CORES"),
    _row("cpuunits", "number", 0, "CPU weight against other containers.", "N"),
    _row(
        "nets",
        "list",
        (),
        f"Network interface, such as bridge={BRIDGE},ip=192.0.2.5/24,gw=192.0.2.1, or none. Default: one by DHCP.",
        "KEY=VALUE,...",
        "net",
    ),
    _row("nameserver", "string", "", "DNS servers. Default: the node's.", "ADDRESSES"),
    _row("searchdomain", "string", "", "DNS search domain. Default: the node's.", "DOMAIN"),
    _row("timezone", "string", "", "Time zone, or host for the node's.", "ZONE"),
    _row(
        "mounts",
        "list",
        (),
        "Volume or directory of the node, such as local-lvm:8,mp=/data or /srv/data,mp=/data,ro=1.",
        "VOLUME,mp=PATH",
        "mount",
    ),
    _row("features", "list", (), "Feature, such as nesting=1.", "KEY=VALUE", "feature"),
    _row("unprivileged", "flag", True, "Map the container's root to an unprivileged user."),
    _row(
        "env",
        "list",
        (),
        "Environment variable; NAME alone takes the value from lxcast's own environment.",
        "NAME[=VALUE]",
    ),
    _row(
        "entrypoint", "string", "", "Command that is started in place of an init (Proxmox VE 9.1 or newer).", "COMMAND"
    ),
    _row("tags", "list", (), "Tag.", "TAG", "tag"),
    _row("pool", "string", "", "Pool that the container belongs to.", "POOL"),
    _row("notes", "string", "", "Text for the container's notes.", "TEXT"),
    _row("onboot", "flag", False, "Start the container with the node."),
    _row("startup", "string", "", "Start order, such as order=2,up=30.", "ORDER"),
    _row("protection", "flag", False, "Let Proxmox refuse to destroy the container."),
    _row("ssh_keys", "list", (), "File with public keys for root.", "FILE", "ssh-key"),
)
BY_NAME: Mapping[str, Setting] = {row.name: row for row in OPTIONS}

_FROM_HINTS = {
    **dict.fromkeys(("memory", "swap", "cores", "cpulimit", "cpuunits", "hostname", "mounts", "features"), ""),
    "rootfs": "disk_gb",
    "nets": "host_managed",
    "unprivileged": "unprivileged",
    "entrypoint": "init",
}
"""Option -> the hint that gives its default, "" for one of the same name."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Where the value of an option came from."""

    option: str
    value: str
    origin: str


def convert_profile(name: str, given: Mapping[str, Any], where: str) -> dict[str, Value]:
    """Return the values of a profile of the settings file. Raises UsageError with everything that is wrong."""
    values = {key.replace("-", "_"): value for key, value in given.items()}
    problems = [
        f"{where}: containers.{name}.{key}: unknown option{did_you_mean(key, BY_NAME)}"
        for key in values
        if key not in BY_NAME
    ]
    known = {key: value for key, value in values.items() if key in BY_NAME}
    converted = convert_all(
        known, convert_value, lambda row: f"{where}: containers.{name}.{row.name} =", problems, BY_NAME
    )
    if problems:
        raise UsageError("\n".join(problems), hint="`lxcast create --help` lists the options")
    return converted


def make_spec(
    suggested: ContainerSpec,
    hints: Mapping[str, Any],
    name: str,
    profile: Mapping[str, Value],
    given: Mapping[str, Value],
    profile_name: str = "",
) -> tuple[ContainerSpec, list[Explained]]:
    """Return the spec of a container, and where each of its values came from.

    `suggested` was made from the record's `hints`. Options override the profile, which overrides hints. Lists are not
    joined: the nearer one replaces the other. Raises UsageError with all problems.
    """
    values = {**profile, **given}
    problems: list[str] = []
    spec = replace(suggested, hostname=name if "hostname" not in values else str(values["hostname"]))
    for option, value in values.items():
        try:
            spec = _set(spec, option, value)
        except (ValueError, OSError) as error:
            problems.append(f"{BY_NAME[option].option} {value}: {error}")
    problems += _problems(spec)
    if problems:
        raise UsageError("\n".join(problems))
    explained = []
    for row in OPTIONS:
        hint = _FROM_HINTS.get(row.name)
        origin = "default"
        if row.name in given:
            origin = f"option {row.option}"
        elif row.name in profile:
            origin = f"profile {profile_name}"
        elif hint is not None and (hint or row.name) in hints and row.name != "hostname":
            origin = "record's hints"
        explained.append(Explained(row.name, _shown(spec, row), origin))
    return spec, explained


def _set(spec: ContainerSpec, option: str, value: Any) -> ContainerSpec:
    """Return the spec with one option set. Raises ValueError, and OSError for a file."""
    if option == "rootfs":
        storage, colon, size = value.partition(":")
        if not storage or (colon and not re.fullmatch(r"[1-9]\d{0,6}", size, re.ASCII)):
            raise ValueError("expected STORAGE or STORAGE:GB")
        return replace(spec, disk_storage=storage, disk_gb=int(size) if colon else spec.disk_gb)
    if option == "nets":
        if value == ("none",):
            return replace(spec, networks=())
        managed = any(each.host_managed for each in spec.networks)
        nets = [parse_network(each, number, host_managed=managed) for number, each in enumerate(value)]
        return replace(spec, networks=tuple(nets))
    if option == "mounts":
        return replace(spec, mounts=tuple(map(parse_mount, value)))
    if option == "env":
        return replace(spec, env=tuple(map(_variable, value)))
    if option == "ssh_keys":
        return replace(spec, ssh_keys="".join(Path(each).expanduser().read_text().strip() + "\n" for each in value))
    if option == "cpulimit":
        if not re.fullmatch(r"\d{1,4}(\.\d{1,4})?", value, re.ASCII):
            raise ValueError("expected a number of cores, such as 1.5")
        return replace(spec, cpulimit=float(value))
    if option == "entrypoint":
        return replace(spec, command=value)
    if option in ("vmid", "cores", "cpuunits"):
        value = value or None
    values: dict[str, Any] = {option: value}
    return replace(spec, **values)


def parse_network(text: str, number: int, *, host_managed: bool = False) -> Network:
    """Parse a netN property of Proxmox. Raises ValueError."""
    values: dict[str, Any] = {"name": f"eth{number}", "host_managed": host_managed}
    known = {each.name.replace("_", "-"): each.type for each in fields(Network)}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise ValueError(f"unknown key {key!r}; expected {', '.join(known)}")
        name = key.replace("-", "_")
        if known[key] is bool:
            values[name] = value in ("1", "true", "yes", "on")
        elif name in ("tag", "mtu"):
            if not value.isascii() or not value.isdigit():
                raise ValueError(f"{key}: expected a number")
            values[name] = int(value)
        else:
            values[name] = value
    return Network(**values)


def parse_mount(text: str) -> MountPoint:
    """Parse an mpN property of Proxmox. Raises ValueError."""
    volume, *options = text.split(",")
    values = dict(each.partition("=")[::2] for each in options)
    unknown = values.keys() - {"mp", "ro", "backup"}
    if unknown or not values.get("mp", "").startswith("/") or not volume:
        raise ValueError("expected VOLUME,mp=/PATH[,ro=1][,backup=1]")
    return MountPoint(
        volume=volume.removeprefix("volume="),
        path=values["mp"],
        read_only=values.get("ro") == "1",
        backup=values.get("backup") == "1",
    )


def _variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name or not text.isprintable():
        raise ValueError("expected NAME=VALUE without control characters")
    if equals:
        return text
    if name not in os.environ:
        raise ValueError(f"{name} is not set in the environment")
    return f"{name}={os.environ[name]}"


def _problems(spec: ContainerSpec) -> list[str]:
    # PVE/JSONSchema.pm, dns-name: labels of letters, digits and hyphens.
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    problems = []
    if not re.fullmatch(rf"{label}(\.{label})*", spec.hostname):
        problems.append(f"invalid host name {spec.hostname!r}: expected letters, digits and hyphens")
    if spec.vmid is not None and not 100 <= spec.vmid <= 999_999_999:
        problems.append(f"--vmid {spec.vmid}: expected 100 to 999999999")
    if wrong := [each for each in spec.tags if not re.fullmatch(r"[a-z0-9_][a-z0-9_.+-]*", each)]:
        problems.append(f"invalid tags {', '.join(wrong)}: expected lower case letters, digits and _ . + -")
    hidden = [each.partition("=")[0] for each in spec.process.env if each.endswith("=***")] if spec.process else []
    given = {each.partition("=")[0] for each in spec.env}
    if missing := [each for each in hidden if each not in given]:
        problems.append(f"the record hides the values of {', '.join(missing)}: pass --env NAME for each")
    if spec.process and not spec.process.command and not spec.command:
        problems.append("the image's command line cannot be written for Proxmox: pass --entrypoint")
    return problems


def _shown(spec: ContainerSpec, row: Setting) -> str:
    if row.name == "rootfs":
        return f"{spec.disk_storage}:{spec.disk_gb}"
    if row.name == "nets":
        return " ".join(each.to_property() for each in spec.networks)
    if row.name == "mounts":
        return " ".join(each.to_property() for each in spec.mounts)
    if row.name == "env":
        return " ".join(f"{each.partition('=')[0]}=***" for each in spec.env)
    if row.name == "ssh_keys":
        return f"{len(spec.ssh_keys.splitlines())} keys" if spec.ssh_keys else ""
    if row.name == "entrypoint":
        return spec.entrypoint
    value = getattr(spec, row.name)
    if value is None:
        return str(row.default or "")
    if isinstance(value, tuple):
        return quote_command(value) or " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
