"""The container engine (Docker, or Podman by the same API): finding it, asking it, reading from it."""

from lxcast.engine.client import (
    Container,
    Engine,
    Image,
    connect,
)

__all__ = [
    "Container",
    "Engine",
    "Image",
    "connect",
]
