"""What can be made to go wrong, apart from what the client itself does wrong."""

import re
from dataclasses import dataclass, field

from .answer import Answer


@dataclass
class TaskFault:
    """How a kind of task goes: it takes longer, fails, warns, dies without a last line, or copies too little.

    seconds: it runs at least so long. error: it ends in TASK ERROR with this text, and has done nothing. warnings:
    it succeeds with so many of them. killed: it ends without a last line ("unexpected status"). missing: an imgcopy
    leaves out so many bytes at the end of the file and says nothing.
    """

    seconds: float = 0.0
    error: str = ""
    warnings: int = 0
    killed: bool = False
    missing: int = 0


@dataclass
class Injected:
    """An answer in place of the server's own, as a reverse proxy or an overloaded node gives: the next `times` times.

    method and path are patterns over the whole of each ("POST", "/api2/json/nodes/pve/.*").
    """

    answer: Answer
    path: str = ".*"
    method: str = ".*"
    times: int = 1


@dataclass
class Faults:
    """Everything that a test can set, before the server starts or while it runs.

    delay: seconds before each answer. refusal_delay: seconds before a 401 or 403 of the token (Proxmox: 3).
    idle: seconds without a byte until a connection is dropped (Proxmox: 5). read_rate: bytes per second that the
    server takes. cut_upload: the share of an upload's body (0.0 to 1.0) after which the connection breaks; 1.0 is
    after the file was taken, when only the answer is lost. temporary_space: bytes free in the node's /var/tmp, on its
    root file system. unreported: nodes whose state is "unknown" because pvestatd does not report. dhcp: whether a
    DHCP server gives addresses to containers. exits: a container that is started stops at once. quorate: whether
    the cluster has a quorum. tasks: by kind of task (imgcopy, download, imgdel, vzcreate ...). answers: see Injected.
    late_wait: seconds that an upload which is complete waits for bytes that its Content-Length still promises.
    damage_upload: the first byte of each uploaded file changes on its way.
    """

    delay: float = 0.0
    refusal_delay: float = 0.0
    idle: float = 5.0
    read_rate: float | None = None
    cut_upload: float | None = None
    temporary_space: int | None = None
    unreported: tuple[str, ...] = ()
    dhcp: bool = True
    exits: bool = False
    quorate: bool = True
    tasks: dict[str, TaskFault] = field(default_factory=dict)
    answers: list[Injected] = field(default_factory=list)
    late_wait: float = 1.0
    damage_upload: bool = False

    def injected(self, method: str, path: str) -> Answer | None:
        """Give the answer that was injected for this request, and count it."""
        for each in self.answers:
            if each.times > 0 and re.fullmatch(each.method, method) and re.fullmatch(each.path, path):
                each.times -= 1
                return each.answer
        return None
