"""The Proxmox VE API: client, profile, tasks, and checks before an upload."""
