"""The state of the stand-in cluster, which all of its calls share."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .access import Access, Acl, Token
from .certificate import Certificate
from .faults import Faults
from .storage import Storage
from .tasks import Tasks

NUMBERS = ("memory", "swap", "cores", "unprivileged", "onboot", "protection", "tty", "console", "template", "cpuunits")


@dataclass
class Container:
    """A container: its node, whether it runs, and its configuration as strings."""

    vmid: int
    node: str
    configuration: dict[str, str] = field(default_factory=dict)
    running: bool = False
    template: str = ""
    pool: str = ""

    def summary(self) -> dict[str, Any]:
        """Give the fields that every list has."""
        told: dict[str, Any] = {
            "vmid": self.vmid,
            "node": self.node,
            "status": "running" if self.running else "stopped",
        }
        told |= {"name": self.configuration.get("hostname", f"CT{self.vmid}")}
        return told | ({"tags": self.configuration["tags"]} if "tags" in self.configuration else {})

    def show(self) -> dict[str, Any]:
        """Give the configuration as GET config does."""
        text = json.dumps(self.configuration, sort_keys=True)
        shown: dict[str, Any] = {
            name: int(value) if name in NUMBERS else value for name, value in self.configuration.items()
        }
        if "description" in shown:
            # It is kept as comment lines, each with its end (PVE/LXC/Config.pm, parse_pct_config).
            shown["description"] = f"{shown['description'].rstrip()}\n"
        return shown | {"digest": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}


class State:
    """Nodes, storages, tokens, tasks and containers of a cluster. All of it may be changed while the server runs."""

    directory: Path
    """The directory of all data; set when the server starts, as is the certificate."""
    certificate: Certificate

    def __init__(
        self,
        nodes: Sequence[str],
        storages: Iterable[Storage],
        tokens: Iterable[Token],
        acl: Iterable[Acl],
        faults: Faults,
        release: str,
    ) -> None:
        self.release = release
        self.nodes = tuple(nodes)
        self.storages = {storage.id: storage for storage in storages}
        self.access = Access(tokens, acl)
        self.faults = faults
        self.tasks = Tasks(faults)
        self.containers: dict[int, Container] = {}
        self.bridges: tuple[str, ...] = ("vmbr0",)
        self.listening: set[str] = set()

    def is_up(self, node: str) -> bool:
        """Whether a node listens."""
        return node in self.listening

    def temporary(self, node: str) -> Path:
        """Give the directory that stands for a node's /var/tmp."""
        return self.directory / "var-tmp" / node
