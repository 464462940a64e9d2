"""The nodes of a cluster and their states."""

from lxcast.proxmox.client import Client

OFFLINE = "offline"
"""The state of a node that is down: a request to it takes seconds to fail."""

UNKNOWN = "unknown"
"""The state of a node whose pvestatd does not report (pve-manager, PVE/API2Tools.pm): the node itself may well work."""


def node_states(client: Client) -> dict[str, str]:
    """Return the names of the nodes, each with its state: "online", OFFLINE, UNKNOWN or "". Raises ApiError."""
    return {each["node"].node(): each["status"].text("") for each in client.get("/nodes").list()}
