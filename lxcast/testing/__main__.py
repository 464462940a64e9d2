"""Runs the stand-in server until it is ended; prints one line of JSON that says how to reach it."""

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .access import EVERYTHING, Acl, Token
from .cluster import LOOPBACK, Cluster
from .faults import Faults, TaskFault
from .storage import Storage


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    made = argparse.ArgumentParser(prog="python -m lxcast.testing", description=__doc__)
    made.add_argument(
        "--listen", metavar="HOST:PORT", default=f"{LOOPBACK}:0", help="port 0 takes a free one (%(default)s)"
    )
    made.add_argument(
        "--state", metavar="DIR", type=Path, help="keep files and certificate here; else they go at the end"
    )
    made.add_argument("--node", metavar="NAME", action="append", default=[], help="a node; again for more (pve)")
    made.add_argument(
        "--storage",
        metavar="ID[,FIELD=VALUE]...",
        action="append",
        default=[],
        type=storage,
        help="again for more (local): type=, content=vztmpl+iso, path=DIR, shared, disabled, nodes=a+b, total=BYTES",
    )
    made.add_argument("--token", metavar="ID", default="tester@pve!lxcast", help="the token's id (%(default)s)")
    made.add_argument(
        "--grant",
        metavar="PATH=PRIVILEGE+...",
        action="append",
        default=[],
        type=grant,
        help="what the token has on a path, as privileges or role names; again for more (everything on /)",
    )
    made.add_argument("--refusal-delay", metavar="SECONDS", type=float, default=0.0, help="Proxmox: 3 (%(default)s)")
    made.add_argument("--idle", metavar="SECONDS", type=float, default=5.0, help="(%(default)s)")
    made.add_argument("--delay", metavar="SECONDS", type=float, default=0.0, help="before each answer (%(default)s)")
    made.add_argument("--read-rate", metavar="BYTES", type=float, help="bytes per second that the server takes")
    made.add_argument("--cut-upload", metavar="SHARE", type=float, help="break an upload at 0.0 to 1.0 of its body")
    made.add_argument(
        "--task",
        metavar="TYPE:FIELD=VALUE[,...]",
        action="append",
        default=[],
        type=task,
        help="how tasks of a type go: seconds=, error=TEXT, warnings=, killed, missing=BYTES; again for more",
    )
    return made


def fields(text: str) -> dict[str, str]:
    """Split "a=1,b" into {"a": "1", "b": ""}."""
    return dict(each.partition("=")[::2] for each in text.split(",") if each)


def storage(text: str) -> Storage:
    """Read a storage of the command line."""
    name, _, rest = text.partition(",")
    made = Storage(name)
    for key, value in fields(rest).items():
        if key in ("shared", "disabled"):
            made.shared, made.enabled = made.shared or key == "shared", made.enabled and key != "disabled"
        elif key == "path":
            made.path = Path(value)
        elif key == "total":
            made.total = int(value)
        elif key == "type":
            made.type = value
        elif key in ("content", "nodes"):
            setattr(made, key, tuple(value.split("+")))
        else:
            raise argparse.ArgumentTypeError(f"a storage has no {key!r}: {text}")
    return made


def grant(text: str) -> tuple[str, tuple[str, ...]]:
    """Read PATH=PRIVILEGE+PRIVILEGE."""
    path, equals, privileges = text.partition("=")
    if not path.startswith("/") or not equals:
        raise argparse.ArgumentTypeError(f"not PATH=PRIVILEGE+...: {text}")
    return path, tuple(privileges.split("+"))


def task(text: str) -> tuple[str, TaskFault]:
    """Read TYPE:FIELD=VALUE,..."""
    kind, _, rest = text.partition(":")
    converters: dict[str, Any] = {"seconds": float, "error": str, "warnings": int, "killed": bool, "missing": int}
    given = fields(rest)
    if unknown := given.keys() - converters:
        raise argparse.ArgumentTypeError(f"a task fault has no {', '.join(sorted(unknown))}: {text}")
    return kind, TaskFault(**{name: converters[name](value or "1") for name, value in given.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    given = parser().parse_args(arguments)
    host, _, port = given.listen.rpartition(":")
    token = Token(given.token, secrets.token_hex(16), privsep=False)
    grants = given.grant or [("/", EVERYTHING)]
    faults = Faults(
        given.delay, given.refusal_delay, given.idle, given.read_rate, given.cut_upload, tasks=dict(given.task)
    )
    cluster = Cluster(
        given.node or ("pve",),
        given.storage or None,
        [token],
        [Acl(path, token.user, privileges) for path, privileges in grants],
        faults,
        given.state,
        names=tuple(dict.fromkeys((LOOPBACK, "localhost", host.strip("[]")))),
        host=host.strip("[]"),
        port=int(port),
    )
    # Blocked before the threads start, so that the signal waits for sigwait().
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with cluster as server:
        told = {"url": server.url, "ca": str(server.ca), "fingerprint": server.fingerprint}
        told |= {"token_id": token.id, "token_secret": token.secret}
        nodes = {node: server.url_of(node) for node in server.nodes}
        sys.stdout.write(json.dumps({**told, "nodes": nodes, "storages": [*server.storages]}) + "\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
