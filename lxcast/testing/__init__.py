"""A stand-in Proxmox VE server for tests: real TLS on loopback, real directories, and the strictness of the real one.

    from lxcast.testing import Cluster

    with Cluster() as server:
        publish(server.url, server.ca, server.token.id, server.token.secret)
        server.tasks.wait()
        assert server.storages["local"].listing("pve") == [...]

`python -m lxcast.testing` runs it for programs in any language. It needs the standard library and the `openssl`
program. It shares no code with the client of this package, so that a mistake of the one is not the other's as well.
What it demands, and who says so, is the table STRICTNESS. It is for tests: its tokens are kept in the clear, it runs
no container, and it does not look into templates.
"""

from .access import EVERYTHING, ROLES, Acl, Token
from .answer import Answer
from .cluster import Cluster
from .faults import Faults, Injected, TaskFault
from .storage import Storage
from .strictness import STRICTNESS, Strictness
from .tasks import Task

__all__ = [
    "EVERYTHING",
    "ROLES",
    "STRICTNESS",
    "Acl",
    "Answer",
    "Cluster",
    "Faults",
    "Injected",
    "Storage",
    "Strictness",
    "Task",
    "TaskFault",
    "Token",
]
