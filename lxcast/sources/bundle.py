"""An OCI runtime bundle: the root filesystem that its config.json names, and the process that it describes.

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
from lxcast.sources.source import Source

_MAX_CONFIG = 8 * 1024 * 1024

_Rule = tuple[str, str, Callable[[Any], bool]]


def _text(value: Any) -> bool:
    """Whether it is a text that a program can be given: JSON can write NULs and halves of surrogate pairs, too."""
    return isinstance(value, str) and "\0" not in value and value.encode("utf-8", "replace").decode() == value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64


def _natural(value: Any) -> bool:
    return _number(value) and value >= 0


def _id(value: Any) -> bool:
    return _natural(value) and value < 2**32 - 1  # the kernel's (uid_t) -1 is none


def _absolute(value: Any) -> bool:
    return _text(value) and value.startswith("/")


def _mounts(value: Any) -> bool:
    return isinstance(value, list) and all(
        _mapping(each)
        and _absolute(each.get("destination"))
        and all(_text(each.get(key) or "") for key in ("type", "source"))
        and _texts(each.get("options") or [])
        for each in value
    )


def _rlimits(value: Any) -> bool:
    return isinstance(value, list) and all(
        _mapping(each)
        and re.fullmatch("RLIMIT_[A-Z]+", str(each.get("type")))
        and _natural(each.get("soft"))
        and _natural(each.get("hard"))
        and each["soft"] <= each["hard"]
        for each in value
    )


def _kinds(value: Any) -> bool:
    return isinstance(value, list) and all(_mapping(each) and each.get("type") in _NAMESPACES for each in value)


def _devices(value: Any) -> bool:
    return isinstance(value, list) and all(
        _mapping(each) and _absolute(each.get("path")) and each.get("type") in ("c", "b", "u", "p") for each in value
    )


def _permissions(value: Any) -> bool:
    return isinstance(value, list) and all(_mapping(each) and isinstance(each.get("allow"), bool) for each in value)


def _capabilities(value: Any) -> bool:
    return _mapping(value) and all(
        each is None or (_texts(each) and all(name.startswith("CAP_") for name in each)) for each in value.values()
    )


def _id_maps(value: Any) -> bool:
    return isinstance(value, list) and all(
        _mapping(each) and all(_natural(each.get(key)) for key in ("containerID", "hostID", "size")) for each in value
    )


def _variables(value: Any) -> bool:
    return _texts(value) and all(each.partition("=")[0] and "=" in each for each in value)


def _processors(value: Any) -> bool:
    return _text(value) and re.fullmatch(r"(\d{1,5}(-\d{1,5})?(, *\d{1,5}(-\d{1,5})?)*)?\n?", value) is not None


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _mapping_of_texts(value: Any) -> bool:
    return _mapping(value) and all(map(_text, value.values()))


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")

_KERNELS = frozenset(
    (
        *("binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl"),
        *("hugetlbfs", "mqueue", "proc", "pstore", "securityfs", "sysfs", "tracefs"),
    )
)
"""Filesystems that the kernel makes up: a container has its own of them."""

_ITS_OWN = re.compile(r"/dev(/.*)?|/proc(/.*)?|/sys(/.*)?|/etc/(hosts|hostname|resolv\.conf|mtab)|/run/\.containerenv")
"""Where LXC and Proxmox put what is theirs, and engines what is theirs."""

_REQUIRED = ("ociVersion", "root", "root.path")
_REQUIRED_OF_A_PROCESS = ("process.cwd", "process.args")

# Parents first: what lies below something malformed is not looked at.
_RULES: tuple[_Rule, ...] = (
    ("ociVersion", "a version 1.x", lambda value: _text(value) and re.match(r"1\.\d+\.\d+", value) is not None),
    ("hostname", "a text", _text),
    ("domainname", "a text", _text),
    ("annotations", "an object of texts", _mapping_of_texts),
    ("root", "an object", _mapping),
    ("root.path", "a path", lambda value: _text(value) and value != ""),
    ("root.readonly", "true or false", _flag),
    ("process", "an object", _mapping),
    ("process.cwd", "an absolute path", _absolute),
    ("process.args", "a list of texts, not empty", lambda value: _texts(value) and value != []),
    ("process.env", "a list of NAME=VALUE", _variables),
    ("process.terminal", "true or false", _flag),
    ("process.user", "an object", _mapping),
    ("process.user.uid", "a number from 0 on", _id),
    ("process.user.gid", "a number from 0 on", _id),
    (
        "process.user.additionalGids",
        "a list of numbers",
        lambda value: isinstance(value, list) and all(map(_id, value)),
    ),
    ("process.capabilities", "an object of lists of CAP_*", _capabilities),
    ("process.noNewPrivileges", "true or false", _flag),
    ("process.oomScoreAdj", "a number", _number),
    ("process.rlimits", "a list of objects with type RLIMIT_*, soft and hard, soft below hard", _rlimits),
    ("mounts", "a list of objects, each with an absolute destination, and type, source and options as texts", _mounts),
    ("linux", "an object", _mapping),
    ("linux.namespaces", "a list of objects, each with a type that Linux has", _kinds),
    ("linux.uidMappings", "a list of objects, each with containerID, hostID and size", _id_maps),
    ("linux.gidMappings", "a list of objects, each with containerID, hostID and size", _id_maps),
    ("linux.devices", "a list of objects, each with an absolute path and a type", _devices),
    ("linux.sysctl", "an object of texts", _mapping_of_texts),
    ("linux.cgroupsPath", "a text", _text),
    ("linux.maskedPaths", "a list of texts", _texts),
    ("linux.readonlyPaths", "a list of texts", _texts),
    ("linux.resources", "an object", _mapping),
    ("linux.resources.devices", "a list of objects, each with allow", _permissions),
    ("linux.resources.memory", "an object", _mapping),
    ("linux.resources.memory.limit", "a number of bytes, or -1", lambda value: _number(value) and value >= -1),
    ("linux.resources.memory.swap", "a number of bytes, or -1", lambda value: _number(value) and value >= -1),
    ("linux.resources.cpu", "an object", _mapping),
    ("linux.resources.cpu.shares", "a number from 0 on", _natural),
    ("linux.resources.cpu.quota", "a number of microseconds, or -1", lambda value: _number(value) and value >= -1),
    ("linux.resources.cpu.period", "a number of microseconds above 0", lambda value: _natural(value) and value > 0),
    (
        "linux.resources.cpu.cpus",
        "a list such as 0-3,7",
        _processors,
    ),
    ("linux.resources.pids", "an object", _mapping),
    ("linux.resources.pids.limit", "a number, or -1", lambda value: _number(value) and value >= -1),
)


def open_bundle(text: str) -> Source:
    """Return the root filesystem of the bundle in a folder, be it a folder or an archive.

    Raises SourceError that names everything that is wrong with its config.json.
    """
    bundle = Path(text).expanduser()
    data = _read(bundle)
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{bundle}/config.json is no JSON: {error}", hint=_HINT) from error
    problems = [*_problems(config)] if isinstance(config, dict) else ["it holds no object"]
    if problems:
        raise SourceError(f"{bundle}/config.json: {'; '.join(problems)}", hint=_HINT)
    path = bundle / config["root"]["path"]
    origin = Origin("bundle", text, _digest(bundle, data))
    said = _said(config)
    try:
        state = path.stat()
    except OSError as error:
        what = "where nothing is" if isinstance(error, FileNotFoundError) else error.strerror
        told = one_line(f"{path!s:.300}")
        raise SourceError(f"{bundle}/config.json: root.path is {told}, {what}", hint=_WHOLE) from error
    if S_ISDIR(state.st_mode):
        with suppress(OSError):  # the reading tells what cannot be read
            if not any(path.iterdir()):
                raise SourceError(f"{bundle}: its root filesystem {path} is empty", hint=_WHOLE)
        return DirectorySource(path, origin, said)
    archive = open_file(path)
    archive.origin, archive.config = origin, said
    return archive


def _said(config: Mapping[str, Any]) -> ImageConfig:
    """Return what a valid config says of the process and its container."""
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
            mount for mount in mounts if mount.type not in _KERNELS and not _ITS_OWN.fullmatch(mount.destination)
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
        swap=max(0, swap - limit) if swap is not None and limit is not None else None,  # said with the memory in it
        cpus=(cpu.get("cpus") or "").strip(),
        cpu_time=quota / (cpu.get("period") or _PERIOD) if quota else None,
        cpu_shares=cpu.get("shares") or None,
        pids=_limit((given.get("pids") or {}).get("limit")) or None,
        rlimits={each["type"]: (each["soft"], each["hard"]) for each in rlimits},
        namespaces=tuple(each["type"] for each in linux.get("namespaces") or ()),
        devices=tuple(each["path"] for each in linux.get("devices") or ()),
    )


def _limit(value: int | None) -> int | None:
    """Return a limit in which -1 stands for none."""
    return None if value is None or value < 0 else value


_PERIOD = 100_000
"""Microseconds, where a quota has no period (the kernel's cgroup documentation)."""

_WHOLE = "copy the bundle with its root filesystem, or let `umoci unpack` make it anew"
_HINT = "`runc spec` or `umoci unpack` writes one that is right"


def _read(bundle: Path) -> bytes:
    try:
        data = _content(bundle / "config.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "has no config.json" if bundle.is_dir() else "is no folder" if bundle.exists() else "no such folder"
        raise SourceError(f"{bundle}: {what}", hint="a runtime bundle is a folder with config.json in it") from error
    except OSError as error:
        raise SourceError(f"{bundle}/config.json cannot be read: {error.strerror}", hint="see `ls -l` of it") from error
    if len(data) > _MAX_CONFIG:
        raise SourceError(f"{bundle}/config.json is larger than {_MAX_CONFIG} bytes", hint=_HINT)
    return data


def _content(path: Path) -> bytes:
    """Return the start of a file, more than a config may have; of a pipe that nobody writes to, nothing."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read(_MAX_CONFIG + 1)


def _digest(bundle: Path, config: bytes) -> str:
    """Return the digest of config.json; where umoci unpacked an image there, that of it and the manifest's digest.

    umoci.json names the descriptors that led to the manifest (umoci, layer.go, Meta).
    """
    digest = hashlib.sha256(config)
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        walk = json.loads(_content(bundle / "umoci.json"))["from_descriptor_path"]["descriptor_walk"]
        digest.update(str(walk[-1]["digest"]).encode())
    return f"sha256:{digest.hexdigest()}"


def _problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a config."""
    required = (*_REQUIRED, *(_REQUIRED_OF_A_PROCESS if _mapping(config.get("process")) else ()))
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
            yield f"{key} is {json.dumps(value)[:80]}, not {kind}"
