"""The nodes of a cluster, as it knows them itself."""

from lxcast.proxmox.client import Client

OFFLINE = "offline"
"""The state of a node that is down: to ask one takes seconds."""


def node_states(client: Client) -> dict[str, str]:
    """Return the names of the nodes, each with its state: "online", OFFLINE, "unknown" or "". Raises ApiError."""
    return {each["node"].node(): each["status"].text("") for each in client.get("/nodes").list()}
