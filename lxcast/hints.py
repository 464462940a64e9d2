"""The hints of a record that describe a container: the one list of their names.

A pin holds the same hints, the HCL module lxc-container declares them, and `lxcast.containers` turns them into the
parameters of Proxmox's API, options of `pct` and attributes of the provider bpg/proxmox.

The Terraform data source imports this on every plan: plain data, no imports.
"""

HINTS: dict[str, tuple[tuple[type, ...], str, str]] = {
    "unprivileged": ((bool,), "unprivileged", "unprivileged"),
    "nesting": ((bool,), "", "features.nesting"),
    "host_managed": ((bool,), "", "network_interface.host_managed"),
    "disk_gb": ((int,), "", "disk.size"),
    "cores": ((int,), "cores", "cpu.cores"),
    "cpulimit": ((int, float), "cpulimit", "cpu.limit"),
    "cpuunits": ((int,), "cpuunits", "cpu.units"),
    "memory": ((int,), "memory", "memory.dedicated"),
    "swap": ((int,), "swap", "memory.swap"),
    "cmode": ((str,), "cmode", "console.type"),
    "hostname": ((str,), "hostname", "initialization.hostname"),
    "features": ((list,), "features", "features"),
    "mounts": ((list,), "", "mount_point"),
    "init": ((str,), "", ""),
    "entrypoint": ((list,), "entrypoint", "initialization.entrypoint"),
    "cmd": ((list,), "", ""),
    "env": ((list,), "env", "environment_variables"),
    "uid": ((int,), "", ""),
    "gid": ((int,), "", ""),
}
"""Hint -> its JSON types, the parameter of POST /nodes/NODE/lxc of the same meaning ("": a part of another one, or
none), and the attribute of proxmox_virtual_environment_container."""

PROCESS = ("entrypoint", "cmd", "env", "uid", "gid")
"""Hints that matter only if Proxmox starts the program itself (init is app)."""
