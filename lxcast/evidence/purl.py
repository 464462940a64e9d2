"""Package URLs in the form that scanners match: with the distribution and the source package."""

from urllib.parse import quote

from lxcast.model import Package

_NAMESPACES = {"rhel": "redhat", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse"}
"""ID of os-release -> namespace in a package URL, if they differ."""


def package_url(package: Package, os_id: str = "", os_version: str = "") -> str:
    """Return the package URL (purl) of a package. `os_id` and `os_version` are ID and VERSION_ID of os-release.

    grype matches a package of a distribution only with the qualifiers `distro` and `upstream`.
    """
    namespace, name, version = "", package.name, package.version
    qualifiers: dict[str, str] = {}
    if package.kind in ("deb", "apk", "rpm", "alpm"):
        namespace = _NAMESPACES.get(os_id, os_id)
        source, source_version = split_source(package)
        upstream = f"{source}@{source_version}" if source_version else source
        qualifiers = {"arch": package.arch, "upstream": upstream if upstream != name else ""}
        qualifiers["distro"] = "-".join(filter(None, (os_id, os_version)))
        if package.kind == "rpm" and ":" in version:
            qualifiers["epoch"], _, version = version.partition(":")
    elif package.kind == "pypi":
        name = name.lower().replace("_", "-")
    elif package.kind == "maven":
        group, colon, artifact = name.rpartition(":")
        namespace, name = (group, artifact) if colon else ("", name)
    elif package.kind in ("npm", "golang"):
        namespace, _, name = name.rpartition("/")
    path = "/".join(_quoted(part) for part in (*filter(None, namespace.split("/")), name))
    query = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value)
    return f"pkg:{package.kind}/{path}@{_quoted(version)}" + (f"?{query}" if query else "")


def split_source(package: Package) -> tuple[str, str]:
    """Return name and version of the source package; the version is "" if it is the package's own."""
    name, space, rest = package.source.partition(" (")
    return name, rest.removesuffix(")") if space else ""


def _quoted(text: str) -> str:
    return quote(text, safe="-._~:")
