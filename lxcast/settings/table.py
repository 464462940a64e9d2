"""The table of the settings: the only place that names a setting, its default and its meaning."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | tuple[str, ...] | Mapping[str, str]
"""A string, a flag, a number, a list or a table, depending on the kind of the setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: `some_name` in the file, `--some-name` on the command line, `LXCAST_SOME_NAME` in the environment."""

    name: str
    kind: str
    """string, url, flag, number, size, list or table: `lxcast.settings.values` converts each."""
    default: Value
    group: str
    """What the setting belongs to: commands take whole groups, and the help shows a panel for each."""
    affects_content: bool
    """Whether a template made with another value is another template, so that a build may not reuse the first."""
    description: str
    choices: tuple[str, ...] = ()
    unit: str = ""
    """Placeholder for a value, or for one value of a list. Default: the choices, or a word for the kind."""
    singular: str = ""
    """The option's name, if it sets one value of a list and is not called like the list."""

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
        """The option on the command line."""
        return f"--{(self.singular or self.name).replace('_', '-')}"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "storage",
        "string",
        "./storage",
        "storage",
        False,
        "Storage of the templates: PATH, ID=PATH or proxmox:NODE/STORAGE.",
    ),
    Setting(
        "pattern",
        "string",
        "{name}-{version}",
        "naming",
        False,
        "File name without its suffix. Fields: {name}, {variant}, {release}, {arch}, {version}, {timestamp}, {date}, "
        "{digest}.",
    ),
    Setting(
        "variant",
        "string",
        "",
        "naming",
        False,
        "Value of {variant} in the pattern (default: the variant in the metadata of the source).",
    ),
    Setting(
        "release",
        "string",
        "",
        "naming",
        True,
        "Value of {release} in the pattern (default: the release in the metadata of the source, else that of the "
        "distribution).",
    ),
    Setting(
        "arch",
        "string",
        "",
        "checks",
        True,
        "Architecture that the template must have (default: any).",
        ("amd64", "arm64", "armhf", "i386", "riscv32", "riscv64"),
        unit="ARCH",
    ),
    Setting(
        "platform",
        "string",
        "",
        "source",
        False,
        "Platform to read from a multi-platform image (default: the platform of this machine, or the only one).",
        unit="OS/ARCH[/VARIANT]",
    ),
    Setting(
        "init",
        "string",
        "",
        "content",
        True,
        "How a container starts if its root filesystem has no init. auto: write an init that runs the image's command; "
        "app: Proxmox VE 9.1 or newer runs the command itself; none: report an error (default: auto for a runtime "
        "bundle, else none).",
        ("none", "auto", "app"),
    ),
    Setting(
        "format",
        "string",
        "zst",
        "output",
        True,
        "Compression of the template. oci-archive: an OCI image with one layer, for Proxmox VE 9.1 or newer.",
        ("zst", "gz", "xz", "tar", "oci-archive"),
    ),
    Setting(
        "small",
        "flag",
        False,
        "output",
        True,
        "Compress harder: about 7 % smaller, for three times the CPU time.",
    ),
    Setting(
        "policy",
        "string",
        "default",
        "checks",
        True,
        "golden: findings of the ssh, secrets and environment checks are errors; default: they are warnings.",
        ("default", "golden"),
    ),
    Setting(
        "enable",
        "list",
        (),
        "content",
        True,
        "Cleanup or fit row to run that is off by default.",
        unit="ROW",
    ),
    Setting(
        "disable",
        "list",
        (),
        "content",
        True,
        "Cleanup or fit row not to run.",
        unit="ROW",
    ),
    Setting(
        "remove",
        "list",
        (),
        "content",
        True,
        "Pattern of further paths to leave out, relative to the root filesystem.",
        unit="GLOB",
    ),
    Setting(
        "add",
        "list",
        (),
        "content",
        True,
        "File or directory to add: HOST:PATH[:MODE].",
        unit="HOST:PATH[:MODE]",
    ),
    Setting(
        "allow",
        "table",
        {},
        "checks",
        True,
        "Check that may fail, with the reason, which the record keeps.",
        unit="CHECK=REASON",
    ),
    Setting(
        "network",
        "string",
        "none",
        "content",
        True,
        "dhcp: configure eth0 by DHCP, for plain LXC and unmanaged containers; none: leave the network to Proxmox.",
        ("none", "dhcp"),
    ),
    Setting(
        "release_metadata",
        "table",
        {},
        "content",
        True,
        "Key and value to write to /etc/lxcast-release. `--enable release` alone writes name and version.",
        unit="KEY=VALUE",
    ),
    Setting(
        "if_changed",
        "flag",
        False,
        "result",
        False,
        "Publish nothing if the newest version has the same content.",
    ),
    Setting(
        "pin_file",
        "string",
        "",
        "result",
        False,
        "Pin file, such as templates.auto.tfvars.json, whose entry for the name is set to the built template (default: "
        "no pin is set).",
        unit="FILE",
    ),
    Setting(
        "provenance",
        "flag",
        False,
        "evidence",
        False,
        "Add a statement of how the template was made, NAME-vN.intoto.json. --sign implies it.",
    ),
    Setting(
        "sign",
        "list",
        (),
        "evidence",
        False,
        "Sign the template: ssh:KEY or gpg:KEYID its checksum, cosign:KEY or key:PEM its statement.",
        unit="KIND:KEY",
    ),
    Setting(
        "reuse",
        "flag",
        True,
        "result",
        False,
        "Return the existing template if the storage has one made from the same source with the same settings; the "
        "source must have a digest.",
    ),
    Setting(
        "max_members",
        "number",
        5_000_000,
        "limits",
        False,
        "Refuse a source with more members than this.",
    ),
    Setting(
        "max_size",
        "size",
        1 << 40,
        "limits",
        False,
        "Refuse a source whose unpacked size is larger than this, such as 1TiB or 500M.",
    ),
    Setting(
        "threads",
        "number",
        0,
        "output",
        False,
        "Number of compression threads; 0: one for each processor. The template does not depend on it.",
    ),
    Setting(
        "profile",
        "string",
        "",
        "access",
        False,
        "Table of the profile file that describes the cluster (default: PM_API_URL, PM_API_TOKEN_ID and "
        "PM_API_TOKEN_SECRET describe it).",
    ),
    Setting(
        "api_url",
        "string",
        "",
        "access",
        False,
        "Address of the Proxmox API: HOST, HOST:PORT or https://HOST:PORT (default: PM_API_URL, or that of the "
        "profile).",
        unit="URL",
    ),
    Setting(
        "ca_file",
        "string",
        "",
        "access",
        False,
        "CA bundle used to verify the Proxmox API (default: the system's).",
        unit="FILE",
    ),
    Setting(
        "fingerprint",
        "string",
        "",
        "access",
        False,
        "SHA-256 fingerprint of the API's certificate, as Proxmox prints it; used in place of a CA.",
        unit="HEX",
    ),
    Setting(
        "records",
        "string",
        "",
        "access",
        False,
        "Directory for the records of a Proxmox storage (default: a directory for each storage below the user's state "
        "directory).",
        unit="DIR",
    ),
    Setting(
        "nodes",
        "list",
        (),
        "nodes",
        False,
        "Node of the Proxmox cluster to use instead of the node in `storage`.",
        unit="NODE",
        singular="node",
    ),
    Setting(
        "all_nodes",
        "flag",
        False,
        "nodes",
        False,
        "Use every node of the Proxmox cluster that has the storage.",
    ),
    Setting(
        "put_url",
        "url",
        "",
        "delivery",
        False,
        "URL, such as a presigned one, to which the template is uploaded once by HTTP PUT, for the nodes to download. "
        "{file} is replaced by the file name of the template.",
        unit="URL",
    ),
    Setting(
        "get_url",
        "url",
        "",
        "delivery",
        False,
        "URL from which each node downloads the template and verifies its checksum. Without a URL for the upload, the "
        "template must already be there.",
        unit="URL",
    ),
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def in_groups(*groups: str) -> tuple[str, ...]:
    """Return the names of the settings in these groups, in the order of the table."""
    return tuple(row.name for row in SETTINGS if row.group in groups)
