"""What builders of system containers (distrobuilder, Incus, LXD, LXC) say about a root filesystem, beside it."""
