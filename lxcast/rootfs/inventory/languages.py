"""Readers of packages that are installed next to those of the distribution: Python, Node, Go and Java."""

import io
import json
import re
import zipfile

from lxcast.model import Package
from lxcast.rootfs.inventory.package import UnreadableError

_NODE = re.compile(rb"(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json")

GO_MAGIC = b"\xff Go buildinf:"
_GO_HEADER = 32
"""Bytes before the inline strings of the build information (debug/buildinfo in Go 1.18 and later)."""
_GO_SENTINEL = 16
"""Bytes of a marker at each end of the module information (runtime/debug, modinfo.go)."""

_MANIFEST_LIMIT = 1 << 20


def parse_python(path: bytes, content: bytes) -> list[Package]:
    """Read METADATA or PKG-INFO of a distribution (core metadata, PEP 566): headers up to the first empty line."""
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not name[:1].isspace():
            fields.setdefault(name.lower(), value.strip())
    if not fields.get("name") or not fields.get("version"):
        raise UnreadableError("has no Name or no Version")
    license = fields.get("license-expression") or fields.get("license", "")
    return [Package("pypi", fields["name"], fields["version"], license="" if license == "UNKNOWN" else license)]


def parse_node(path: bytes, content: bytes) -> list[Package]:
    """Read package.json of an installed package; a package.json that is not directly in node_modules is ignored."""
    if not _NODE.fullmatch(path):
        return []
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UnreadableError("is not a JSON object")
    name, version, license = (values.get(key) for key in ("name", "version", "license"))
    if not isinstance(name, str) or not isinstance(version, str):
        return []  # a file without a name and version marks a module type only (Node.js, "type")
    if isinstance(license, dict):
        license = license.get("type")
    return [Package("npm", name, version, license=license if isinstance(license, str) else "")]


def parse_go(path: bytes, content: bytes) -> list[Package]:
    """Read the modules in the build information of a Go program; other executables have none."""
    at = content.find(GO_MAGIC)
    if at < 0:
        return []
    if not content[at + 15 : at + 16] or not content[at + 15] & 2:
        raise UnreadableError("was built by Go before 1.18, whose build information lxcast does not read")
    version, end = _go_string(content, at + _GO_HEADER)
    modules, _ = _go_string(content, end)
    packages = [Package("golang", "stdlib", version.decode("utf-8", "replace"))] if version else []
    for line in modules[_GO_SENTINEL:-_GO_SENTINEL].decode("utf-8", "replace").splitlines():
        words = line.split("\t")
        if words[0] in ("mod", "dep") and len(words) > 2:
            packages.append(Package("golang", words[1], words[2]))
        elif words[0] == "=>" and len(words) > 2 and packages:
            packages[-1] = Package("golang", words[1], words[2])  # the module was replaced
    return packages


def _go_string(content: bytes, at: int) -> tuple[bytes, int]:
    """Return a string with its length as a varint before it, and the position after it."""
    length, shift = 0, 0
    while True:
        if at >= len(content) or shift > 35:
            raise UnreadableError("its build information is damaged")
        byte = content[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    if at + length > len(content):
        raise UnreadableError("its build information is damaged")
    return content[at : at + length], at + length


def parse_java(path: bytes, content: bytes) -> list[Package]:
    """Read the Maven coordinates of a Java archive, or else the name and version in its manifest."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            poms = [name for name in archive.namelist() if re.fullmatch(r"META-INF/maven/.*/pom\.properties", name)]
            found = [_properties(_read_entry(archive, name), "=") for name in sorted(poms)]
            manifest = {}
            if "META-INF/MANIFEST.MF" in archive.namelist():
                manifest = _properties(_read_entry(archive, "META-INF/MANIFEST.MF"), ":")
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise UnreadableError(f"is not a valid Java archive: {error}") from error
    packages = [
        Package("maven", f"{values['groupId']}:{values['artifactId']}", values["version"])
        for values in found
        if all(values.get(key) for key in ("groupId", "artifactId", "version"))
    ]
    name = manifest.get("Bundle-SymbolicName", "").partition(";")[0] or manifest.get("Implementation-Title", "")
    version = manifest.get("Bundle-Version") or manifest.get("Implementation-Version", "")
    return packages or ([Package("maven", name, version)] if name and version else [])


def _read_entry(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        return file.read(_MANIFEST_LIMIT).decode("utf-8", "replace")


def _properties(text: str, separator: str) -> dict[str, str]:
    """Parse NAME=VALUE or NAME: VALUE lines; a line that starts with a space continues the one before."""
    pairs = (line.partition(separator) for line in re.sub(r"\r?\n ", "", text).splitlines() if line[:1] != "#")
    return {name.strip(): value.strip() for name, found, value in pairs if found}
