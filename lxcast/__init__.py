"""lxcast turns a Docker image or container into a Proxmox VE (LXC) container template.

The names of `__all__` are the Python API; each is imported from `lxcast.api` when it is first used, since the command
line and the Terraform data source start without it.
"""

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "ArchiveError",
    "Built",
    "CheckError",
    "CheckReport",
    "ConflictError",
    "Difference",
    "EngineError",
    "Listing",
    "LxcastError",
    "Move",
    "PinError",
    "Progress",
    "Publication",
    "Record",
    "Source",
    "SourceError",
    "StorageError",
    "UnprovenError",
    "UsageError",
    "build",
    "check",
    "diff",
    "list",
    "open_source",
    "promote",
    "publish",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # start-up time

    return getattr(import_module(f"{__name__}.api"), name)
