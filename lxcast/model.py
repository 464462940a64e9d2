"""The words of the field as values: parsed where they come in, printed where they go out."""

import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxcast.errors import UsageError
from lxcast.identifiers import NODE, STORAGE_ID, VERSION, split_volid, volid_problems

_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/'\"<>]*@)?([^\s/?#'\"<>]*)[^\s'\"<>]*", re.IGNORECASE)
_QUERY = re.compile(r"\?[\w.~%-]+=[^\s'\"<>]*")


def conceal(text: str) -> str:
    """Hide of the URLs in a text everything but scheme and host, and of a path alone its query.

    A presigned URL is a password for what it names; object stores sign in the query, some in the path.
    """
    return _QUERY.sub("?***", _URL.sub(r"\1\2/***", text))


@dataclass(frozen=True, slots=True)
class Format:
    """How a template is written; `compression` is the name by which content of that kind is recognised.

    An image has a layer, which is compressed as the format `layer` says; else that is "".
    """

    name: str
    suffix: str
    compression: str
    layer: str = ""


IMAGE = "oci-archive"

FORMATS = {
    row.name: row
    for row in (
        Format("zst", ".tar.zst", "zstd"),
        Format("gz", ".tar.gz", "gzip"),
        Format("xz", ".tar.xz", "xz"),
        Format("tar", ".tar", "tar"),
        Format(IMAGE, ".tar", "tar", layer="zst"),
    )
}


_ARCHITECTURES = {
    "amd64": ("x86_64", "x86-64"),
    "arm64": ("aarch64", "arm64/v8", "armv8l"),
    "armhf": ("arm", "arm/v6", "arm/v7", "armv6l", "armv7l"),
    "i386": ("386", "i486", "i586", "i686", "x86"),
    "riscv32": (),
    "riscv64": (),
}
_ARCHITECTURE = {name: ours for ours, names in _ARCHITECTURES.items() for name in (ours, *names)}


def parse_architecture(text: str) -> str:
    """Return Proxmox's name of an architecture that Docker, Debian or uname(1) named."""
    found = _ARCHITECTURE.get(text.removeprefix("linux/"))
    if found is None:
        raise UsageError(f"unknown architecture {text!r}", hint=f"one of: {', '.join(_ARCHITECTURES)}")
    return found


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A template's version: v1, v2, ..."""

    number: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read "v4"."""
        if not re.fullmatch(VERSION, text):
            raise UsageError(f"invalid version {text!r}", hint="write v1, v2, ... (v and a number from 1 on)")
        return cls(int(text[1:]))

    @property
    def next(self) -> "Version":
        """The version after this one."""
        return Version(self.number + 1)

    def __str__(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True, slots=True)
class Volid:
    """A template's name in Proxmox: "STORAGE:vztmpl/FILE"."""

    storage: str
    file: str

    @classmethod
    def parse(cls, text: str) -> "Volid":
        """Read a volid; UsageError names everything that is wrong with it."""
        storage, file = split_volid(text)
        if not file:
            raise UsageError(
                f"{text!r} is not a volid of a template", hint="it looks like local:vztmpl/debian-12-v4.tar.zst"
            )
        return cls.make(storage, file)

    @classmethod
    def make(cls, storage: str, file: str) -> "Volid":
        """Join an id and a file name that Proxmox would take as they are, else raise UsageError."""
        if problems := volid_problems(storage, file):
            raise UsageError("; ".join(problems))
        return cls(storage, file)

    def __str__(self) -> str:
        return f"{self.storage}:vztmpl/{self.file}"


@dataclass(frozen=True, slots=True)
class DirectoryRef:
    """A directory with the layout of a Proxmox storage of type `dir`, and the id that its volids carry."""

    id: str
    path: Path

    def __str__(self) -> str:
        return f"{self.id}={self.path}"


@dataclass(frozen=True, slots=True)
class ProxmoxRef:
    """A storage of a node that the Proxmox API reaches."""

    node: str
    storage: str

    def __str__(self) -> str:
        return f"proxmox:{self.node}/{self.storage}"


StorageRef = DirectoryRef | ProxmoxRef


def parse_storage(text: str, node: str = "", storage: str = "") -> StorageRef:
    """Read PATH, ID=PATH, proxmox:NODE/STORAGE, or proxmox: alone.

    Then `node` and `storage` name it, else PM_NODE and PM_STORAGE, else TF_VAR_pm_node and TF_VAR_pm_storage.

    Only a bare word is looked up on this machine: it must be an existing directory, so that a storage id in place of a
    path never creates a directory of that name. Raises UsageError.
    """
    if text.startswith("proxmox:"):
        return _parse_proxmox(text, node, storage)
    left, equals, right = text.partition("=")
    if equals and "/" not in left:
        if not re.fullmatch(STORAGE_ID, left) or not right:
            raise UsageError(f"invalid storage {text!r}", hint="use PATH, ID=PATH or proxmox:NODE/STORAGE")
        return DirectoryRef(left, _absolute(right))
    if not text:
        raise UsageError("the storage's name is empty", hint="use PATH, ID=PATH or proxmox:NODE/STORAGE")
    if "/" not in text and text not in (".", "..") and not _is_directory(text):
        raise UsageError(
            f"the storage {text!r} is not an existing directory",
            hint=f"for a directory use ./{text}, for a directory that Proxmox knows by that id {text}=PATH, "
            f"for a storage of a Proxmox node proxmox:NODE/{text}",
        )
    path = _absolute(text)
    # Proxmox mounts network storages at /mnt/pve/ID, and `local` is always /var/lib/vz (PVE/Storage/Plugin.pm).
    is_mount = path.parent == Path("/mnt/pve") and re.fullmatch(STORAGE_ID, path.name)
    return DirectoryRef(path.name if is_mount else "local", path)


def _is_directory(text: str) -> bool:
    try:
        return stat.S_ISDIR(Path(text).stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(
            f"the storage {text:.60}: {error.strerror}", hint="use PATH, ID=PATH or proxmox:NODE/STORAGE"
        ) from error


def _absolute(text: str) -> Path:
    # pathlib raises for "~" of an unknown user. Lexically, so that links stay as written.
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111


def _parse_proxmox(text: str, default_node: str, default_storage: str) -> ProxmoxRef:
    rest = text.removeprefix("proxmox:")
    if rest:
        node, slash, storage = rest.partition("/")
        if not slash or not re.fullmatch(NODE, node) or not re.fullmatch(STORAGE_ID, storage):
            raise UsageError(f"{text!r} is not a storage of a node", hint="write proxmox:NODE/STORAGE")
        return ProxmoxRef(node, storage)
    environ = os.environ
    node = default_node or environ.get("PM_NODE") or environ.get("TF_VAR_pm_node") or ""
    storage = default_storage or environ.get("PM_STORAGE") or environ.get("TF_VAR_pm_storage") or ""
    problems = []
    if not re.fullmatch(NODE, node):
        problems.append(f"PM_NODE is {node!r}, no node's name" if node else "PM_NODE is not set")
    if not re.fullmatch(STORAGE_ID, storage):
        problems.append(f"PM_STORAGE is {storage!r}, no storage's id" if storage else "PM_STORAGE is not set")
    if problems:
        raise UsageError(f"'proxmox:' alone: {', '.join(problems)}", hint="set both, or write proxmox:NODE/STORAGE")
    return ProxmoxRef(node, storage)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a runtime bundle, as mount(8) names its parts."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a runtime bundle gives its process; None and empty where it sets no limit."""

    memory: int | None = None
    """Bytes."""
    swap: int | None = None
    """Bytes, without the memory."""
    cpus: str = ""
    """Processors, such as "0-3,7"."""
    cpu_time: float | None = None
    """Processors' worth of time: quota by period."""
    cpu_shares: int | None = None
    """The weight against others, 1024 being usual."""
    pids: int | None = None
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """RLIMIT_NAME -> soft and hard limit."""
    namespaces: tuple[str, ...] = ()
    """The kinds of namespaces that are made for it."""
    devices: tuple[str, ...] = ()
    """Paths of devices that are made for it."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about running it; of a container, what it was created with."""

    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = ""
    """As Docker names it: "amd64", "arm64", "arm/v7"."""
    created: str = ""
    """RFC 3339, as the builder wrote it."""
    history: tuple[str, ...] = ()
    """The command that made each layer, where the builder kept it."""
    groups: tuple[int, ...] = ()
    """Further groups of the user, by number."""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    """Mounts other than kernel filesystems."""
    resources: Resources = field(default_factory=Resources)

    @property
    def process(self) -> tuple[str, ...]:
        """The program that is run, and its arguments; empty where none is named."""
        return (*self.entrypoint, *self.cmd)

    @classmethod
    def parse(
        cls, data: Mapping[str, Any], architecture: str = "", created: str = "", history: tuple[str, ...] = ()
    ) -> "ImageConfig":
        """Read the `config` object that Docker's API and an OCI image have alike; ValueError names what is malformed.

        The keys are the OCI image specification's (config.md).
        """
        return cls(
            cmd=_texts(data, "Cmd"),
            entrypoint=_texts(data, "Entrypoint"),
            env=_texts(data, "Env"),
            user=_text(data, "User"),
            working_dir=_text(data, "WorkingDir"),
            stop_signal=_text(data, "StopSignal"),
            volumes=tuple(sorted(_mapping(data, "Volumes"))),
            labels=_mapping(data, "Labels", str),
            architecture=architecture,
            created=created,
            history=history,
        )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r:.80}, not a text")
    return value


def _mapping(data: Mapping[str, Any], key: str, kind: type = object) -> dict[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(each, kind) for each in value.values()):
        raise ValueError(f"{key} is {value!r:.80}, not an object{' of texts' if kind is str else ''}")
    return value


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{key} is {value!r:.80}, not a list of texts")
    return tuple(value)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """An installed package. `kind` is its type in a package URL: deb, apk, rpm, alpm, pypi, npm, golang, maven."""

    kind: str
    name: str
    version: str
    source: str = ""
    """The source package, with its version as "NAME (VERSION)" if that differs; "" if unknown."""
    license: str = ""
    arch: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the package as in --json."""
        keys = ("name", "version", "source", "license", "kind", "arch")
        return {key: getattr(self, key) for key in keys}


def moment() -> int:
    """Return SOURCE_DATE_EPOCH, or the time now, in seconds since 1970."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return int(time.time())
    # 253402300799 is the end of the year 9999, the last that RFC 3339 can write.
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or int(text) > 253402300799:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}", hint="set it to whole seconds since 1970, or unset it")
    return int(text)


def rfc3339(seconds: int) -> str:
    """Print a moment as RFC 3339 in UTC: "2026-11-21T10:33:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
