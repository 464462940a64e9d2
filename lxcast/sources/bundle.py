"""An OCI runtime bundle: the root filesystem and the process that its config.json describes.

The keys are the OCI runtime specification's (config.md, config-linux.md, 1.0 to 1.2).
"""

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from lxcast.errors import SourceError
from lxcast.identifiers import one_line
from lxcast.model import ImageConfig, Mount, Resources
from lxcast.record import Origin
from lxcast.sources.archive import open_file
from lxcast.sources.directory import DirectorySource
from lxcast.sources.paths import exists, expand, is_directory, missing_file
from lxcast.sources.source import Source

_MAX_CONFIG = 8 * 1024 * 1024

_Rule = tuple[str, str, Callable[[Any], bool]]


def _is_string(value: Any) -> bool:
    """Return whether a value can be passed to a program: JSON may contain NULs and halves of surrogate pairs."""
    return isinstance(value, str) and "\0" not in value and value.encode("utf-8", "replace").decode() == value


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_string, value))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64


def _is_natural(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_id(value: Any) -> bool:
    return _is_natural(value) and value < 2**32 - 1  # the kernel's (uid_t) -1 means no user


def _is_absolute(value: Any) -> bool:
    return _is_string(value) and value.startswith("/")


def _are_mounts(value: Any) -> bool:
    return isinstance(value, list) and all(
        _is_mapping(each)
        and _is_absolute(each.get("destination"))
        and all(_is_string(each.get(key) or "") for key in ("type", "source"))
        and _is_strings(each.get("options") or [])
        for each in value
    )


def _are_rlimits(value: Any) -> bool:
    return isinstance(value, list) and all(
        _is_mapping(each)
        and re.fullmatch("RLIMIT_[A-Z]+", str(each.get("type")))
        and _is_natural(each.get("soft"))
        and _is_natural(each.get("hard"))
        and each["soft"] <= each["hard"]
        for each in value
    )


def _are_namespaces(value: Any) -> bool:
    return isinstance(value, list) and all(_is_mapping(each) and each.get("type") in _NAMESPACES for each in value)


def _are_devices(value: Any) -> bool:
    return isinstance(value, list) and all(
        _is_mapping(each) and _is_absolute(each.get("path")) and each.get("type") in ("c", "b", "u", "p")
        for each in value
    )


def _are_permissions(value: Any) -> bool:
    return isinstance(value, list) and all(_is_mapping(each) and isinstance(each.get("allow"), bool) for each in value)


def _are_capabilities(value: Any) -> bool:
    return _is_mapping(value) and all(
        each is None or (_is_strings(each) and all(name.startswith("CAP_") for name in each)) for each in value.values()
    )


def _are_id_maps(value: Any) -> bool:
    return isinstance(value, list) and all(
        _is_mapping(each) and all(_is_natural(each.get(key)) for key in ("containerID", "hostID", "size"))
        for each in value
    )


def _are_variables(value: Any) -> bool:
    return _is_strings(value) and all(each.partition("=")[0] and "=" in each for each in value)


def _are_processors(value: Any) -> bool:
    return _is_string(value) and re.fullmatch(r"(\d{1,5}(-\d{1,5})?(, *\d{1,5}(-\d{1,5})?)*)?\n?", value) is not None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_string_mapping(value: Any) -> bool:
    return _is_mapping(value) and all(map(_is_string, value.values()))


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


_NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")

_KERNEL_FILESYSTEMS = frozenset(
    (
        *("binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl"),
        *("hugetlbfs", "mqueue", "proc", "pstore", "securityfs", "sysfs", "tracefs"),
    )
)
"""Filesystems of the kernel: a container has its own."""

_MANAGED = re.compile(r"/dev(/.*)?|/proc(/.*)?|/sys(/.*)?|/etc/(hosts|hostname|resolv\.conf|mtab)|/run/\.containerenv")
"""Paths that LXC, Proxmox and container engines manage."""

_REQUIRED = ("ociVersion", "root", "root.path")
_REQUIRED_IN_PROCESS = ("process.cwd", "process.args")

# Parents first: keys below an invalid one are not checked.
_RULES: tuple[_Rule, ...] = (
    ("ociVersion", "a version 1.x", lambda value: _is_string(value) and re.match(r"1\.\d+\.\d+", value) is not None),
    ("hostname", "a string", _is_string),
    ("domainname", "a string", _is_string),
    ("annotations", "an object of strings", _is_string_mapping),
    ("root", "an object", _is_mapping),
    ("root.path", "a path", lambda value: _is_string(value) and value != ""),
    ("root.readonly", "true or false", _is_boolean),
    ("process", "an object", _is_mapping),
    ("process.cwd", "an absolute path", _is_absolute),
    ("process.args", "a list of strings that is not empty", lambda value: _is_strings(value) and value != []),
    ("process.env", "a list of NAME=VALUE", _are_variables),
    ("process.terminal", "true or false", _is_boolean),
    ("process.user", "an object", _is_mapping),
    ("process.user.uid", "a number of at least 0", _is_id),
    ("process.user.gid", "a number of at least 0", _is_id),
    (
        "process.user.additionalGids",
        "a list of numbers",
        lambda value: isinstance(value, list) and all(map(_is_id, value)),
    ),
    ("process.capabilities", "an object of lists of CAP_*", _are_capabilities),
    ("process.noNewPrivileges", "true or false", _is_boolean),
    ("process.oomScoreAdj", "a number", _is_integer),
    ("process.rlimits", "a list of objects with type RLIMIT_*, soft and hard, soft not above hard", _are_rlimits),
    (
        "mounts",
        "a list of objects, each with an absolute destination, and strings as type, source and options",
        _are_mounts,
    ),
    ("linux", "an object", _is_mapping),
    ("linux.namespaces", "a list of objects, each with a namespace type of Linux", _are_namespaces),
    ("linux.uidMappings", "a list of objects, each with containerID, hostID and size", _are_id_maps),
    ("linux.gidMappings", "a list of objects, each with containerID, hostID and size", _are_id_maps),
    ("linux.devices", "a list of objects, each with an absolute path and a type", _are_devices),
    ("linux.sysctl", "an object of strings", _is_string_mapping),
    ("linux.cgroupsPath", "a string", _is_string),
    ("linux.maskedPaths", "a list of strings", _is_strings),
    ("linux.readonlyPaths", "a list of strings", _is_strings),
    ("linux.resources", "an object", _is_mapping),
    ("linux.resources.devices", "a list of objects, each with allow", _are_permissions),
    ("linux.resources.memory", "an object", _is_mapping),
    ("linux.resources.memory.limit", "a number of bytes, or -1", lambda value: _is_integer(value) and value >= -1),
    ("linux.resources.memory.swap", "a number of bytes, or -1", lambda value: _is_integer(value) and value >= -1),
    ("linux.resources.cpu", "an object", _is_mapping),
    ("linux.resources.cpu.shares", "a number of at least 0", _is_natural),
    ("linux.resources.cpu.quota", "a number of microseconds, or -1", lambda value: _is_integer(value) and value >= -1),
    ("linux.resources.cpu.period", "a number of microseconds above 0", lambda value: _is_natural(value) and value > 0),
    (
        "linux.resources.cpu.cpus",
        "a list such as 0-3,7",
        _are_processors,
    ),
    ("linux.resources.pids", "an object", _is_mapping),
    ("linux.resources.pids.limit", "a number, or -1", lambda value: _is_integer(value) and value >= -1),
)


def open_bundle(text: str) -> Source:
    """Return the root filesystem of a bundle, which may be a directory or an archive.

    Raises SourceError with all problems of its config.json.
    """
    bundle = expand(text)
    data = _read(bundle)
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{bundle}/config.json: invalid JSON: {error}", hint=_HINT) from error
    problems = [*_problems(config)] if isinstance(config, dict) else ["expected an object"]
    if problems:
        raise SourceError(f"{bundle}/config.json: {'; '.join(problems)}", hint=_HINT)
    path = bundle / config["root"]["path"]
    origin = Origin("bundle", text, _digest(bundle, data))
    image = _image_config(config)
    try:
        state = path.stat()
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise SourceError(
            f"{bundle}/config.json: root.path: {one_line(f'{path!s:.300}')}: {what}", hint=_WHOLE
        ) from error
    if S_ISDIR(state.st_mode):
        with suppress(OSError):  # reported when it is read
            if not any(path.iterdir()):
                raise SourceError(f"{bundle}: its root filesystem {path} is empty", hint=_WHOLE)
        return DirectorySource(path, origin, image)
    archive = open_file(path)
    archive.origin, archive.config = origin, image
    return archive


def _image_config(config: Mapping[str, Any]) -> ImageConfig:
    """Return the process and the container that a valid config describes."""
    process = config.get("process") or {}
    user = process.get("user") or {}
    mounts = [
        Mount(each["destination"], each.get("type") or "", each.get("source") or "", tuple(each.get("options") or ()))
        for each in config.get("mounts") or ()
    ]
    return ImageConfig(
        cmd=tuple(process.get("args") or ()),
        env=tuple(process.get("env") or ()),
        user=f"{user.get('uid', 0)}:{user.get('gid', 0)}" if process else "",
        groups=tuple(user.get("additionalGids") or ()),
        working_dir=posixpath.normpath(process["cwd"]) if process else "",
        labels=dict(config.get("annotations") or {}),
        hostname=config.get("hostname") or "",
        mounts=tuple(
            mount
            for mount in mounts
            if mount.type not in _KERNEL_FILESYSTEMS and not _MANAGED.fullmatch(mount.destination)
        ),
        resources=_resources(config.get("linux") or {}, process.get("rlimits") or ()),
    )


def _resources(linux: Mapping[str, Any], rlimits: Iterable[Mapping[str, Any]]) -> Resources:
    given = linux.get("resources") or {}
    memory, cpu = given.get("memory") or {}, given.get("cpu") or {}
    limit, swap = _limit(memory.get("limit")), _limit(memory.get("swap"))
    quota = _limit(cpu.get("quota"))
    return Resources(
        memory=limit,
        swap=max(0, swap - limit) if swap is not None and limit is not None else None,  # specified as the sum of both
        cpus=(cpu.get("cpus") or "").strip(),
        cpu_time=quota / (cpu.get("period") or _PERIOD) if quota else None,
        cpu_shares=cpu.get("shares") or None,
        pids=_limit((given.get("pids") or {}).get("limit")) or None,
        rlimits={each["type"]: (each["soft"], each["hard"]) for each in rlimits},
        namespaces=tuple(each["type"] for each in linux.get("namespaces") or ()),
        devices=tuple(each["path"] for each in linux.get("devices") or ()),
    )


def _limit(value: int | None) -> int | None:
    """Return a limit; None for -1, which means no limit."""
    return None if value is None or value < 0 else value


_PERIOD = 100_000
"""Microseconds: the default period of a quota (the kernel's cgroup documentation)."""

_WHOLE = "copy the bundle with its root filesystem, or create it again: umoci unpack"
_HINT = "`runc spec` and `umoci unpack` write a valid config.json"


def _read(bundle: Path) -> bytes:
    try:
        data = _content(bundle / "config.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        if not exists(bundle):
            raise missing_file(bundle) from error
        what = "config.json is missing" if is_directory(bundle) else "not a directory"
        raise SourceError(f"{bundle}: {what}", hint="a runtime bundle is a directory with a config.json") from error
    except OSError as error:
        raise SourceError(
            f"{bundle}/config.json: cannot be read: {error.strerror}",
            hint=f"check the permissions: namei -l {bundle}/config.json",
        ) from error
    if len(data) > _MAX_CONFIG:
        raise SourceError(f"{bundle}/config.json: has more than {_MAX_CONFIG} bytes, the limit", hint=_HINT)
    return data


def _content(path: Path) -> bytes:
    """Return the first bytes of a file, one more than the limit; none of a pipe without a writer."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read(_MAX_CONFIG + 1)


def _digest(bundle: Path, config: bytes) -> str:
    """Return the digest of config.json and, if umoci unpacked the bundle, of the image's manifest digest.

    umoci.json lists the descriptors that led to the manifest (umoci, layer.go, Meta).
    """
    digest = hashlib.sha256(config)
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        walk = json.loads(_content(bundle / "umoci.json"))["from_descriptor_path"]["descriptor_walk"]
        digest.update(str(walk[-1]["digest"]).encode())
    return f"sha256:{digest.hexdigest()}"


def _problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield the problems of a config."""
    required = (*_REQUIRED, *(_REQUIRED_IN_PROCESS if _is_mapping(config.get("process")) else ()))
    malformed: list[str] = []
    for key, kind, holds in _RULES:
        if any(key.startswith(f"{each}.") for each in malformed):
            continue
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            if key in required:
                malformed.append(key)
                yield f"{key} is missing"
        elif not holds(value):
            malformed.append(key)
            yield f"{key}: expected {kind}, got {json.dumps(value)[:80]}"
