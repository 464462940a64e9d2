"""Readers of the databases of package managers: dpkg, opkg, apk and pacman."""

import re
from collections.abc import Iterator

from lxcast.model import Package
from lxcast.rootfs.inventory.package import UnreadableError

_NOT_INSTALLED = frozenset({"not-installed", "config-files"})
"""States in dpkg(1) of packages without files: never installed, or removed with the configuration left."""


def _paragraphs(content: bytes) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph (deb822(5)); continuation lines are ignored."""
    for paragraph in content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
        fields = {}
        for line in paragraph.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name and not name[0].isspace():
                fields[name.lower()] = value.strip()
        if fields:
            yield fields


def parse_dpkg(path: bytes, content: bytes) -> list[Package]:
    """Read var/lib/dpkg/status or a file of status.d, which distroless images have and which lacks the state."""
    packages = []
    for fields in _paragraphs(content):
        if "package" not in fields:
            raise UnreadableError("a paragraph has no Package field")
        state = fields.get("status", "install ok installed").split()
        if len(state) != 3:
            raise UnreadableError(f"{fields['package']} has an invalid Status {fields['status']!r:.80}")
        if state[2] in _NOT_INSTALLED:
            continue
        if "version" not in fields:
            raise UnreadableError(f"{fields['package']} has no Version")
        source = fields.get("source", "")
        packages.append(
            Package(
                "deb",
                fields["package"],
                fields["version"],
                source or fields["package"],
                fields.get("license", ""),
                fields.get("architecture", ""),
            )
        )
    if not packages and content.strip() and b"Package:" not in content:
        raise UnreadableError("is not a dpkg status file")
    return packages


def parse_apk(path: bytes, content: bytes) -> list[Package]:
    """Read lib/apk/db/installed (apk-tools, database.c): one-letter fields, an empty line after each package."""
    packages = []
    for block in content.decode("utf-8", "replace").split("\n\n"):
        fields = {line[0]: line[2:] for line in reversed(block.split("\n")) if line[1:2] == ":"}
        if not block.strip():
            continue
        if "P" not in fields or "V" not in fields:
            raise UnreadableError("a package has no name or no version")
        packages.append(
            Package(
                "apk",
                fields["P"],
                fields["V"],
                fields.get("o", "") or fields["P"],
                fields.get("L", ""),
                fields.get("A", ""),
            )
        )
    return packages


def parse_pacman(path: bytes, content: bytes) -> list[Package]:
    """Read var/lib/pacman/local/*/desc: %NAME% and its values on the following lines."""
    fields = {
        match[1]: match[2].strip().split("\n")
        for match in re.finditer(r"%([A-Z]+)%\n(.*?)(?:\n\n|\Z)", content.decode("utf-8", "replace"), re.DOTALL)
    }
    if "NAME" not in fields or "VERSION" not in fields:
        raise UnreadableError("has no %NAME% or no %VERSION%")
    return [
        Package(
            "alpm",
            fields["NAME"][0],
            fields["VERSION"][0],
            fields.get("BASE", fields["NAME"])[0],
            " AND ".join(fields.get("LICENSE", [])).strip(),
            fields.get("ARCH", [""])[0],
        )
    ]
