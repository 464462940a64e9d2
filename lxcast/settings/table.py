"""The table of the settings."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | tuple[str, ...] | Mapping[str, str]
"""Text, a flag, a number, a list or a table. What it is follows from the setting's kind."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: its name in the file is `name`, on the command line `--na-me`, in the environment `LXCAST_NAME`."""

    name: str
    kind: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    unit: str = ""
    """What one value, or one value of the list, looks like; the choices where there are any."""
    singular: str = ""
    """What the command line calls one value of the list, where that is not its name."""

    @property
    def metavar(self) -> str:
        """The placeholder for a value."""
        return self.unit or "|".join(self.choices) or {"number": "N", "size": "SIZE"}.get(self.kind, self.name.upper())

    @property
    def env(self) -> str:
        """The environment variable."""
        return f"LXCAST_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The command line's option."""
        return f"--{(self.singular or self.name).replace('_', '-')}"


SETTINGS: tuple[Setting, ...] = (
    Setting("storage", "text", "./storage", "Where templates are kept: PATH, ID=PATH or proxmox:NODE/STORAGE."),
    Setting(
        "pattern",
        "text",
        "{name}-{version}",
        "The file's name without its ending, of {name}, {variant}, {release}, {arch}, {version}, {timestamp}, {date} "
        "and {digest}.",
    ),
    Setting("variant", "text", "", "What {variant} in the pattern stands for; empty: what the source's metadata says."),
    Setting(
        "release",
        "text",
        "",
        "What {release} in the pattern stands for; empty: what the source's metadata or else the distribution says.",
    ),
    Setting(
        "arch",
        "text",
        "",
        "The architecture that the template must have; empty: any.",
        ("amd64", "arm64", "armhf", "i386", "riscv32", "riscv64"),
        unit="ARCH",
    ),
    Setting(
        "platform",
        "text",
        "",
        "Which one of an image's platforms is read; empty: this machine's, or the only one.",
        unit="OS/ARCH[/VARIANT]",
    ),
    Setting(
        "init",
        "text",
        "",
        "What starts a container whose root filesystem has no init. auto: one is written that starts the process which "
        "the image names; app: Proxmox VE 9.1 starts the process; none: nothing, which is an error. Empty: auto for a "
        "runtime bundle, else none.",
        ("none", "auto", "app"),
    ),
    Setting(
        "format",
        "text",
        "zst",
        "The compression of the template; oci-archive: an image with one layer, which Proxmox VE takes from 9.1 on.",
        ("zst", "gz", "xz", "tar", "oci-archive"),
    ),
    Setting("small", "flag", False, "Compress harder: some 7 % smaller, for three times the processor time."),
    Setting(
        "policy",
        "text",
        "default",
        "golden: findings of the ssh, secrets and environment checks are errors; default: they are warnings.",
        ("default", "golden"),
    ),
    Setting(
        "enable", "list", (), "Rows of the cleanup and fit tables that are off by default and shall run.", unit="ROW"
    ),
    Setting("disable", "list", (), "Rows of the cleanup and fit tables that shall not run.", unit="ROW"),
    Setting(
        "remove", "list", (), "Patterns of further paths to leave out, relative to the root filesystem.", unit="GLOB"
    ),
    Setting("add", "list", (), "Further files to put in, each HOST:PATH[:MODE].", unit="HOST:PATH[:MODE]"),
    Setting(
        "allow",
        "table",
        {},
        "Checks that may fail, each with the reason; the record keeps the reason.",
        unit="CHECK=REASON",
    ),
    Setting(
        "network",
        "text",
        "none",
        "dhcp: configure eth0 by DHCP, for plain LXC and unmanaged containers; none: leave it to Proxmox.",
        ("none", "dhcp"),
    ),
    Setting(
        "release_metadata",
        "table",
        {},
        "Keys and values for /etc/lxcast-release, which is then written; `--enable release` alone writes it with name "
        "and version.",
        unit="KEY=VALUE",
    ),
    Setting("if_changed", "flag", False, "Publish nothing when the newest version has the same content."),
    Setting(
        "pin_file",
        "text",
        "",
        "A pin file, such as templates.auto.tfvars.json, whose entry for the name is set to what was built; empty: a "
        "build moves no pin.",
        unit="FILE",
    ),
    Setting(
        "reuse",
        "flag",
        True,
        "Take the storage's template that was made of the same source by the same settings, where the source has a "
        "digest.",
    ),
    Setting("max_members", "number", 5_000_000, "Refuse a source with more members than this."),
    Setting(
        "max_size", "size", 1 << 40, "Refuse a source that is larger than this when unpacked, such as 1TiB or 500M."
    ),
    Setting("threads", "number", 0, "Threads that compress; 0: one for each processor. The bytes are the same."),
    Setting(
        "profile",
        "text",
        "",
        "The cluster's table in the profile file; empty: PM_API_URL, PM_API_TOKEN_ID and PM_API_TOKEN_SECRET name it.",
    ),
    Setting(
        "api_url",
        "text",
        "",
        "The Proxmox API's address: HOST, HOST:PORT or https://HOST:PORT; empty: PM_API_URL, or the profile's.",
        unit="URL",
    ),
    Setting(
        "ca_file",
        "text",
        "",
        "The authorities that vouch for the Proxmox API's certificate; empty: the system's.",
        unit="FILE",
    ),
    Setting(
        "fingerprint",
        "text",
        "",
        "The SHA-256 fingerprint of that certificate, as Proxmox prints it; it takes the authorities' place.",
        unit="HEX",
    ),
    Setting(
        "records",
        "text",
        "",
        "Where the records of a Proxmox storage are kept; empty: a folder for each storage in the user's state folder.",
        unit="DIR",
    ),
    Setting(
        "nodes",
        "list",
        (),
        "The nodes of a Proxmox cluster whose storage is meant, in place of the one that `storage` names.",
        unit="NODE",
        singular="node",
    ),
    Setting("all_nodes", "flag", False, "Every node of the Proxmox cluster that has the storage is meant."),
    Setting(
        "put_url",
        "url",
        "",
        "Where the template is put once, by HTTP PUT, for the nodes to fetch it; such as a presigned URL. {file} in it "
        "is the template's file name.",
        unit="URL",
    ),
    Setting(
        "get_url",
        "url",
        "",
        "Where each node fetches the template, and compares its checksum; without a URL to put it the template is "
        "there already.",
        unit="URL",
    ),
)

TARGETS = ("profile", "api_url", "ca_file", "fingerprint", "records", "nodes", "all_nodes", "put_url", "get_url")
"""The settings that say, beside `storage`, which Proxmox storages are meant, and how they are reached."""

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}
