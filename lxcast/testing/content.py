"""Calls on storages and their content."""

import re
import threading
from functools import partial
from pathlib import Path
from typing import Any

from .access import Needs
from .api import Call, Context, Parameter
from .storage import CHECKSUMS, FILE_BASED, FOLDERS, Copies, Storage, destination, die, download, probe, ready, wrong
from .tasks import Task

CHECKSUM = (
    Parameter("checksum-algorithm", choices=CHECKSUMS, requires="checksum"),
    Parameter("checksum", requires="checksum-algorithm"),
)
FILE = (
    Parameter("content", required=True, choices=("iso", "vztmpl", "import")),
    Parameter("filename", required=True, max_length=255),
)
TEMPLATE = Needs("/storage/{storage}", ("Datastore.AllocateTemplate",))
ALLOCATE = Needs("/storage/{storage}", ("Datastore.Allocate",))
LOOK = Needs("/storage/{storage}", ("Datastore.Audit", "Datastore.AllocateSpace"), any=True)


def storages(context: Context) -> list[dict[str, Any]]:
    """List the configuration of the storages that the caller may see."""
    kind = context.parameters.get("type", "")
    return [storage.configuration() for storage in visible(context) if kind in ("", storage.type)]


def visible(context: Context) -> list[Storage]:
    """List the storages that the caller may see."""
    return [
        storage
        for storage in context.cluster.storages.values()
        if context.has(f"/storage/{storage.id}", "Datastore.Audit")
        or context.has(f"/storage/{storage.id}", "Datastore.AllocateSpace")
    ]


def configuration(context: Context) -> dict[str, Any]:
    """Show one storage's configuration."""
    storage = context.cluster.storages.get(context.parameters["storage"])
    if storage is None:
        raise die(f"storage '{context.parameters['storage']}' does not exist")
    return storage.configuration()


def on_node(context: Context) -> list[dict[str, Any]]:
    """List a node's storages with their sizes, filtered by content and state."""
    node, asked = context.parameters["node"], context.parameters
    wanted = {kind for kind in re.split("[,; ]", asked.get("content", "")) if kind}
    only = asked.get("storage")
    return [
        {"storage": storage.id, **used_fraction(storage.status(node))}
        for storage in visible(context)
        if storage.is_on(node)
        and (not wanted or wanted & set(storage.content))
        and (storage.enabled or asked.get("enabled", "0") != "1")
        and only in (None, storage.id)
    ]


def used_fraction(status: dict[str, Any]) -> dict[str, Any]:
    """Add the share of the storage that is used."""
    return status | ({"used_fraction": status["used"] / status["total"]} if status["total"] else {})


def status(context: Context) -> dict[str, Any]:
    """Show a storage's state on a node."""
    name, node = context.parameters["storage"], context.parameters["node"]
    storage = context.cluster.storages.get(name)
    if storage is None or not storage.is_on(node):
        raise wrong(storage="No such storage.")
    return storage.status(node)


def listing(context: Context) -> list[dict[str, Any]]:
    """List the volumes of a storage on a node."""
    name, node = context.parameters["storage"], context.parameters["node"]
    storage = ready(context.cluster.storages, name, node)
    return storage.listing(node, context.parameters.get("content", ""))


def volume_file(context: Context) -> tuple[Storage, str, Path]:
    """Find the volume that a path names, as STORAGE:vztmpl/NAME or vztmpl/NAME: its storage, id and file."""
    name, volume = context.parameters["storage"], context.parameters["volume"]
    prefix, colon, rest = volume.partition(":")
    if colon and prefix != name:
        raise wrong(storage="storage ID mismatch")
    volume = rest if colon else volume
    content, _, filename = volume.partition("/")
    storage = context.cluster.storages.get(name)
    if storage is None:
        raise die(f"storage '{name}' does not exist")
    if content not in FOLDERS or not filename or "/" in filename:
        raise die(f"unable to parse directory volume name '{volume}'")
    return storage, f"{name}:{volume}", storage.folder(context.parameters["node"], content) / filename


def volume(context: Context) -> dict[str, Any]:
    """Show a volume; its size is that of whole blocks of 512 bytes."""
    storage, volid, file = volume_file(context)
    if not context.has(f"/storage/{storage.id}", "Datastore.Allocate"):
        context.require(f"/storage/{storage.id}", "Datastore.AllocateSpace", "Datastore.Audit", any=True)
    if not file.is_file():
        raise die(f"volume_size_info on '{volid}' failed - no format")
    stat = file.stat()
    return {"path": str(file), "size": -(-stat.st_size // 512) * 512, "used": stat.st_blocks * 512, "format": "raw"}


def remove(context: Context) -> str | None:
    """Remove a volume; null where that is done within `delay` seconds, else the task's UPID."""
    storage, volid, file = volume_file(context)
    context.require(f"/storage/{storage.id}", "Datastore.Allocate")
    node = context.parameters["node"]

    def work(task: Task) -> None:
        file.unlink(missing_ok=True)
        task.log.append(f"Removed volume '{volid}'")

    task = context.cluster.tasks.start(node, "imgdel", storage.id, context.token.id, work)
    if task.done.wait(float(context.parameters.get("delay", 0))) and task.exitstatus != "OK":
        raise die(task.exitstatus)
    return None if task.done.is_set() and "delay" in context.parameters else task.upid


def upload(context: Context) -> str:
    """Take an uploaded file; `uploads` calls of it are made at once, and one of their UPIDs is told."""
    name, node, given = context.parameters["storage"], context.parameters["node"], context.parameters
    storage = ready(context.cluster.storages, name, node)
    if storage.type not in FILE_BASED:
        raise die(f"can't upload to storage type '{storage.type}'")
    if context.temporary is None:
        raise die("missing temporary file name")
    target = destination(storage, node, given["content"], given["filename"], context.cluster.release)
    if given["content"] not in storage.content:
        raise die(f"storage '{name}' does not support '{given['content']}' content")
    turns = [threading.Event() for _ in range(context.uploads)]
    checksum = (given.get("checksum-algorithm", ""), given.get("checksum", ""))
    copies = Copies(context.temporary, target, storage, node, *checksum, threading.Barrier(context.uploads), turns)
    # The task runs where the upload was sent to; it copies to the other node itself.
    tasks = [
        context.cluster.tasks.start(context.node, "imgcopy", "", context.token.id, partial(copies.work, number))
        for number in range(context.uploads)
    ]
    return tasks[0].upid


def download_url(context: Context) -> str:
    """Let the node fetch a file."""
    name, node, given = context.parameters["storage"], context.parameters["node"], context.parameters
    storage = ready(context.cluster.storages, name, node)
    content = given["content"]
    if storage.type not in FILE_BASED:
        raise die(f"can't upload to storage type '{storage.type}', not a file based storage!")
    if content not in storage.content:
        raise die(f"storage '{name}' is not configured for content-type '{content}'")
    target = destination(storage, node, content, given["filename"], context.cluster.release)
    checksum = (given.get("checksum-algorithm", ""), given.get("checksum", ""))
    verify = given.get("verify-certificates", "1") != "0"

    def work(task: Task) -> None:
        if "compression" in given and content != "iso":
            raise OSError(f"decompression not supported for {content}")
        download(task, given["url"], target, checksum, verify, storage.available(node))

    # A task's id holds no slash or colon; a normalised name has neither.
    return context.cluster.tasks.start(node, "download", target.name, context.token.id, work).upid


def url_metadata(context: Context) -> dict[str, Any]:
    """Show what a URL has, as the node sees it."""
    return probe(context.parameters["url"], context.parameters.get("verify-certificates", "1") != "0")


STORAGE = "/nodes/{node}/storage/{storage}"
NETWORK = (Needs("/", ("Sys.Audit", "Sys.Modify")), Needs("/nodes/{node}", ("Sys.AccessNetwork",)))
URL = (
    Parameter("url", required=True, pattern="https?://.*"),
    Parameter("verify-certificates", choices=("0", "1")),
)
CALLS = (
    Call("GET", "/storage", "Configured storages", storages, parameters=(Parameter("type"),)),
    Call("GET", "/storage/{storage}", "One storage's configuration", configuration, needs=((ALLOCATE,),)),
    Call(
        "GET",
        "/nodes/{node}/storage",
        "A node's storages and their sizes",
        on_node,
        parameters=tuple(map(Parameter, ("storage", "content", "enabled", "target", "format"))),
    ),
    Call("GET", f"{STORAGE}/status", "A storage's state", status, needs=((LOOK,),)),
    Call(
        "GET",
        f"{STORAGE}/content",
        "The volumes of a storage",
        listing,
        needs=((LOOK,),),
        parameters=(Parameter("content"), Parameter("vmid")),
    ),
    Call("GET", f"{STORAGE}/content/{{volume*}}", "One volume", volume),
    Call(
        "DELETE",
        f"{STORAGE}/content/{{volume*}}",
        "Remove a volume (task imgdel)",
        remove,
        parameters=(Parameter("delay", pattern=r"[1-9]|[12]\d|30"),),
    ),
    Call(
        "POST",
        f"{STORAGE}/upload",
        "Upload a file (task imgcopy)",
        upload,
        needs=((TEMPLATE,),),
        parameters=(*FILE, *CHECKSUM),
        proxied=False,
    ),
    Call(
        "POST",
        f"{STORAGE}/download-url",
        "Let the node fetch a file (task download)",
        download_url,
        needs=tuple((TEMPLATE, each) for each in NETWORK),
        parameters=(*FILE, *CHECKSUM, *URL, Parameter("compression", choices=("gz", "lzo", "zst", "bz2"))),
    ),
    Call(
        "GET",
        "/nodes/{node}/query-url-metadata",
        "What a URL has, as the node sees it",
        url_metadata,
        needs=tuple((each,) for each in NETWORK),
        parameters=URL,
    ),
)
