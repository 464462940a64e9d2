"""A cluster of Proxmox VE nodes on loopback: the object that a test starts."""

import secrets
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .access import EVERYTHING, Acl, Token
from .certificate import make_certificate
from .faults import Faults
from .pveproxy import Listener
from .state import State
from .storage import FILE_BASED, FOLDERS, Storage

LOOPBACK = "127.0.0.1"


class Cluster(State):
    """Proxmox VE on loopback, for tests: `with Cluster() as server:`, then `server.url`, `server.ca`, `server.token`.

    nodes: their names; each has a port of its own and answers for all. storages: `local` of each node where none are
    given. tokens and acl: one token of "tester@pve" with every privilege if none are given. state: the directory that
    holds everything, a temporary one that goes with the server where none is given. names: the host names and
    addresses of the certificate. host and port: where the first node listens; the others take free ports. release: of
    Proxmox VE, such as "9.0.11"; what it says changes, and whether it takes a plain .tar.

    Storages, tokens, the list, the release and the faults may be changed while it runs. Raises OSError where a port is
    taken or there is no openssl program, subprocess.CalledProcessError where that fails.
    """

    def __init__(
        self,
        nodes: Sequence[str] = ("pve",),
        storages: Iterable[Storage] | None = None,
        tokens: Iterable[Token] | None = None,
        acl: Iterable[Acl] | None = None,
        faults: Faults | None = None,
        state: Path | None = None,
        names: Sequence[str] = (LOOPBACK, "localhost"),
        host: str = LOOPBACK,
        port: int = 0,
        release: str = "9.2.11",
    ) -> None:
        self.given_state = state
        self.names = names
        if tokens is None:
            tokens = [Token("tester@pve!lxcast", secrets.token_hex(16), privsep=False)]
        if acl is None:
            acl = [Acl("/", "tester@pve", EVERYTHING)]
        super().__init__(nodes, storages or [Storage("local")], tokens, acl, faults or Faults(), release)
        self.listeners = {
            node: Listener(self, node, host, port if number == 0 else 0) for number, node in enumerate(self.nodes)
        }

    def __enter__(self) -> Self:
        """Create the directories and the certificate, and listen."""
        self.directory = self.given_state or Path(tempfile.mkdtemp(prefix="lxcast-testing-"))
        for storage in self.storages.values():
            self.add_storage(storage)
        self.certificate = make_certificate(self.directory / "certificate", self.names)
        for node in self.nodes:
            self.start(node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every port; a temporary state directory is removed."""
        for node in self.nodes:
            self.stop(node)
        if self.given_state is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def add_storage(self, storage: Storage) -> None:
        """Add a storage, also while the server runs; its directories are created."""
        if storage.path is None:
            storage.path = self.directory / "storages" / storage.id
        for node in self.nodes if storage.type in FILE_BASED else ():
            for content in FOLDERS:
                storage.folder(node, content).mkdir(parents=True, exist_ok=True)
        self.storages[storage.id] = storage

    def start(self, node: str) -> None:
        """Let a node listen (again), on the port that it had."""
        self.listeners[node].open(self.certificate.context())
        self.listening.add(node)

    def stop(self, node: str) -> None:
        """Let a node go down: its port is closed and its connections break."""
        self.listening.discard(node)
        self.listeners[node].close()

    def url_of(self, node: str) -> str:
        """Give the address of a node: https://HOST:PORT."""
        listener = self.listeners[node]
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        return f"https://{host}:{listener.port}"

    @property
    def url(self) -> str:
        """The address of the first node."""
        return self.url_of(self.nodes[0])

    @property
    def ca(self) -> Path:
        """The file of the authority that signed the certificate."""
        return self.certificate.ca

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256, as Proxmox prints it."""
        return self.certificate.fingerprint

    @property
    def token(self) -> Token:
        """The first token."""
        return next(iter(self.access.tokens.values()))

    @property
    def authorization(self) -> str:
        """The Authorization header of the first token."""
        return f"PVEAPIToken={self.token.id}={self.token.secret}"
