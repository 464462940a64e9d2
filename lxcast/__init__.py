"""lxcast: a Docker-built root filesystem becomes a Proxmox VE container template."""

__version__ = "0.1.0"
