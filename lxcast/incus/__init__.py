"""What builders of system containers (distrobuilder, Incus, LXD, LXC) write about a root filesystem, next to it."""
