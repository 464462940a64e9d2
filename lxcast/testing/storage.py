"""Storages with real directories: names, listings, free space, and the tasks that put and remove files."""

import hashlib
import os
import re
import shutil
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any

from .answer import RefusedError, as_json
from .tasks import Task, TaskError

CHECKSUMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
FILE_BASED = ("dir", "nfs", "cifs", "cephfs", "btrfs")
FOLDERS = {"vztmpl": "template/cache", "iso": "template/iso", "import": "import"}
# Storage.pm VZTMPL_EXT_RE_1 and ISO_EXT_RE_0; matched to the end of the name.
ENDINGS = {
    "vztmpl": re.compile(r"[^/]+\.(?:(tar)|tar\.(gz|xz|zst|bz2))", re.IGNORECASE),
    "iso": re.compile(r"[^/]+\.(?:(iso)|(img))", re.IGNORECASE),
    "import": re.compile(r"[a-zA-Z0-9_.-]+\.(?:(ova)|(qcow2|raw|vmdk))", re.IGNORECASE),
}
CHUNK = 1 << 20


@dataclass
class Storage:
    """A storage of the cluster; every field may be changed while the server runs.

    path: its directory; unless it is shared, each node has a directory of its name below that. Default: below the
    server's state directory. nodes: those that have it, all when empty. total: its size in bytes; what the
    files leave is free.
    """

    id: str
    type: str = "dir"
    content: tuple[str, ...] = ("vztmpl", "iso", "rootdir", "images")
    path: Path | None = None
    enabled: bool = True
    shared: bool = False
    nodes: tuple[str, ...] = ()
    total: int = 100 * 2**30

    def folder(self, node: str, content: str = "vztmpl") -> Path:
        """Where a node keeps the files of a kind of content."""
        if self.path is None:
            raise ValueError(f"storage {self.id} has no directory yet: the server creates it when it starts")
        return (self.path if self.shared else self.path / node) / FOLDERS[content]

    def used(self, node: str) -> int:
        """Count the bytes that its files take."""
        if self.type not in FILE_BASED:
            return 0
        return sum(stat.st_size for content in FOLDERS for _, stat in standing(self.folder(node, content), "*"))

    def available(self, node: str) -> int:
        """Count the bytes that are free."""
        return max(self.total - self.used(node), 0)

    def is_on(self, node: str) -> bool:
        """Whether that node has it."""
        return not self.nodes or node in self.nodes

    def configuration(self) -> dict[str, Any]:
        """Give its entry of storage.cfg, as GET /storage shows it; absent keys are absent there, too."""
        told: dict[str, Any] = {"storage": self.id, "type": self.type, "content": ",".join(self.content)}
        told |= {"digest": hashlib.sha256(self.id.encode()).hexdigest()[:40]}
        if self.type in FILE_BASED:
            told["path"] = self.mounted
        if not self.enabled:
            told["disable"] = 1
        if self.shared:
            told["shared"] = 1
        if self.nodes:
            told["nodes"] = ",".join(self.nodes)
        return told

    @property
    def mounted(self) -> str:
        """The path on the nodes that clients see."""
        return "/var/lib/vz" if self.id == "local" else f"/mnt/pve/{self.id}"

    def status(self, node: str) -> dict[str, Any]:
        """Give the node's view: sizes in bytes, flags as 0 and 1."""
        on = int(self.enabled)
        told: dict[str, Any] = {"type": self.type, "content": ",".join(self.content), "enabled": on, "active": on}
        told |= {"shared": int(self.shared)}
        if not on:
            return told | {"total": 0, "used": 0, "avail": 0}
        return told | {"total": self.total, "used": self.used(node), "avail": self.available(node)}

    def listing(self, node: str, wanted: str = "") -> list[dict[str, Any]]:
        """List the volumes, of one kind of content or of all; names that begin with a dot never show."""
        found = []
        for content in FOLDERS:
            if content not in self.content or wanted not in ("", content):
                continue
            for file, stat in standing(self.folder(node, content), "[!.]*"):
                if ending := ENDINGS[content].fullmatch(file.name):
                    volid = f"{self.id}:{content}/{file.name}"
                    told = {"volid": volid, "content": content, "format": file_format(content, ending)}
                    found.append(told | {"size": stat.st_size, "ctime": int(stat.st_ctime)})
        return found


def standing(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Return a directory's files by name; a file that another task renames or removes meanwhile is skipped."""
    for file in sorted(folder.glob(pattern)):
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        if S_ISREG(stat.st_mode):
            yield file, stat


def size_of(file: Path) -> int:
    """Give its bytes, 0 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def file_format(content: str, ending: re.Match[str]) -> str:
    """Name a volume's format: tgz, txz, tzst, tbz2 or tar for a template."""
    if content != "vztmpl":
        return (ending[1] or ending[2]).lower()
    return ending[1] or f"t{ending[2]}"


def normalise(filename: str) -> str:
    """Make the name that a file gets: cut up to the last slash or backslash, and each unknown byte an underscore."""
    data = filename.encode("utf-8", "surrogateescape").removesuffix(b"\n")
    data = re.sub(rb"^.*[/\\]", b"", data)
    return re.sub(rb"[^a-zA-Z0-9_.-]", b"_", data).decode("ascii")


def die(message: str) -> RefusedError:
    """Refuse a call as Perl's die does: status 500, the text and a line end."""
    return RefusedError(as_json(500, None, message + "\n"))


def wrong(**errors: str) -> RefusedError:
    """Refuse a call for its parameters."""
    named = {name.replace("_", "-"): text for name, text in errors.items()}
    return RefusedError(as_json(400, None, "Parameter verification failed.\n", named))


def ready(storages: dict[str, Storage], name: str, node: str) -> Storage:
    """Return a storage that exists, is enabled and is available on the node; raises RefusedError."""
    storage = storages.get(name)
    if storage is None:
        raise die(f"storage '{name}' does not exist")
    if not storage.enabled:
        raise die(f"storage '{name}' is disabled")
    if not storage.is_on(node):
        raise die(f"storage '{name}' is not available on node '{node}'")
    return storage


def destination(storage: Storage, node: str, content: str, filename: str, release: str) -> Path:
    """Give the file that a name becomes; raises RefusedError for an extension that this release does not take."""
    name = normalise(filename)
    match = ENDINGS[content].fullmatch(name)
    # pve-storage 9.0.15, of Proxmox VE 9.1, is the first that takes a plain .tar.
    plain = content == "vztmpl" and match is not None and match[1] is not None
    if match is None or (plain and tuple(map(int, release.split(".")[:2])) < (9, 1)):
        raise wrong(filename="wrong file extension")
    return storage.folder(node, content) / name


def digest(algorithm: str, file: Path) -> str:
    """Compute a file's checksum in hexadecimal; raises TaskError where the file is gone."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise TaskError(f"unable to open '{file}': {error.strerror}") from error


@dataclass
class Copies:
    """The imgcopy tasks of one temporary file: more than one where a late record made the call again.

    The real race is open. Here the first always wins, and every other copies after it: that is the outcome in which
    the task that the client waits for says OK and the file is gone.
    """

    temporary: Path
    target: Path
    storage: Storage
    node: str
    algorithm: str
    checksum: str
    verified: threading.Barrier
    turns: list[threading.Event] = field(default_factory=list)

    def work(self, number: int, task: Task) -> None:
        """Do the work of the number-th task."""
        task.log.append(f"starting file import from: {self.temporary}")
        try:
            try:
                self.verify(task)
            finally:
                self.verified.wait()
                if number:
                    self.turns[number - 1].wait()
            self.copy(task)
        finally:
            self.turns[number].set()

    def verify(self, task: Task) -> None:
        """Compare the checksum, where one was sent."""
        if not self.algorithm:
            return
        got = digest(self.algorithm, self.temporary)
        if got != self.checksum.lower():
            task.log.append("calculating checksum...")
            self.temporary.unlink(missing_ok=True)
            raise TaskError(f"checksum mismatch: got '{got}' != expect '{self.checksum}'")
        task.log.append("calculating checksum...OK, checksum verified")

    def copy(self, task: Task) -> None:
        """Copy over the target, byte by byte; a failure removes the target, even if another task wrote it."""
        size = size_of(self.temporary)
        command = f"cp -- {self.temporary} {self.target}"
        task.log += [f"target node: {self.node}", f"target file: {self.target}"]
        task.log += [f"file size is: {size}", f"command: {command}"]
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            old = size_of(self.target)
            room = self.storage.available(self.node) + old
            with self.temporary.open("rb") as source, self.target.open("wb") as out:
                left = min(size - task.fault.missing, room)
                while left > 0 and (chunk := source.read(min(CHUNK, left))):
                    left -= out.write(chunk)
            if size > room:
                raise OSError(f"cp: error writing '{self.target}': No space left on device")
        except OSError as error:
            task.log.append(str(error))
            self.target.unlink(missing_ok=True)
            raise TaskError(f"import failed: {error}") from error
        finally:
            self.temporary.unlink(missing_ok=True)
        task.log.append("finished file import successfully")


def download(task: Task, url: str, target: Path, checksum: tuple[str, str], verify: bool, room: int) -> None:
    """Fetch a file over HTTP(S) to a temporary name next to the target, compare, rename; an existing file stays.

    `checksum` is algorithm and value, both "" for none.
    """
    algorithm, expected = checksum
    task.log.append(f"downloading {url} to {target}")
    if target.is_file():
        if not algorithm:
            raise TaskError(f"refusing to override existing file '{target}'")
        got = digest(algorithm, target)
        if got == expected.lower():
            task.log.append("calculating checksum of existing file...OK, got correct file already, no need to download")
            return
        raise TaskError(f"checksum mismatch: got '{got}' != expect '{expected}', aborting")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.tmp_dwnl.{task.pid}")
    # wget's own first line.
    task.log.append(f"--{time.strftime('%Y-%m-%d %H:%M:%S')}--  {url}")
    try:
        fetch(url, part, verify)
        if algorithm:
            got = digest(algorithm, part)
            if got != expected.lower():
                raise TaskError(f"checksum mismatch: got '{got}' != expect '{expected}'")
            task.log.append("calculating checksum...OK, checksum verified")
        if part.stat().st_size > room:
            raise TaskError("download failed: wget: cannot write: No space left on device")
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    task.log.append(f"download of '{url}' to '{target}' finished")


def trust(url: str, verify: bool) -> ssl.SSLContext | None:
    """Make the TLS settings of an outgoing request; plain HTTP needs none, and reading all authorities takes long."""
    if not url.startswith("https:"):
        return None
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def fetch(url: str, part: Path, verify: bool) -> None:
    """Get a URL into a file; raises TaskError as a failed wget does."""
    try:
        # The call's pattern lets only http and https through.
        with urllib.request.urlopen(url, context=trust(url, verify), timeout=30) as source, part.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(source, out, CHUNK)
    except OSError as error:
        raise TaskError(f"download failed: {error}") from error


def probe(url: str, verify: bool) -> dict[str, Any]:
    """Ask a web server for name, size in bytes and type of what it has; raises RefusedError."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the call's pattern: only http and https
    try:
        with urllib.request.urlopen(request, context=trust(url, verify), timeout=30) as answer:  # noqa: S310
            headers = answer.headers
    except OSError as error:
        raise die(f"invalid server response: '{error}'") from error
    named = re.search('filename="?([^";]*)', headers.get("Content-Disposition", ""))
    name = named[1] if named else url.partition("?")[0].rpartition("/")[2]
    told: dict[str, Any] = {"filename": name, "mimetype": headers.get("Content-Type", "").partition(";")[0]}
    length = headers.get("Content-Length", "")
    return {key: value for key, value in told.items() if value} | ({"size": int(length)} if length else {})
