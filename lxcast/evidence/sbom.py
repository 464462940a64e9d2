"""Software bills of materials: CycloneDX 1.6 and SPDX 2.3. The same input gives the same bytes.

The documents are dictionaries: the libraries for both formats take a second to import.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lxcast import __version__
from lxcast.evidence.purl import package_url, split_source
from lxcast.model import Package, rfc3339

FORMATS = ("cyclonedx", "spdx")

_NAMESPACE = "https://spdx.org/spdxdocs/"


@dataclass(frozen=True, slots=True)
class Subject:
    """The template or source that an SBOM describes."""

    name: str
    sha256: str = ""
    """SHA-256 of the file; "" for a source that is not a file."""
    os_id: str = ""
    """ID of os-release."""
    os_version: str = ""
    """VERSION_ID of os-release."""


def make_sbom(
    format: str, subject: Subject, packages: Sequence[Package], unread: Iterable[str] = (), created: int = 0
) -> str:
    """Return an SBOM in one of FORMATS. `unread` lists what could not be read, with the reason.

    `created` is the time in an SPDX document, in seconds since 1970; CycloneDX does not need one.
    """
    make = {"cyclonedx": _cyclonedx, "spdx": _spdx}[format]
    return json.dumps(make(subject, packages, list(unread), created), indent=2) + "\n"


def _identifier(subject: Subject, packages: Sequence[Package]) -> str:
    """Return a UUID that depends only on the content."""
    values = [
        subject.name,
        subject.sha256,
        *(package_url(each, subject.os_id, subject.os_version) for each in packages),
    ]
    return str(uuid5(NAMESPACE_URL, "\n".join(values)))


def _cyclonedx(subject: Subject, packages: Sequence[Package], unread: list[str], _: int) -> dict[str, Any]:
    root: dict[str, Any] = {"type": "container", "bom-ref": "template", "name": subject.name}
    if subject.sha256:
        root["hashes"] = [{"alg": "SHA-256", "content": subject.sha256}]
    components = [_component(each, package_url(each, subject.os_id, subject.os_version)) for each in packages]
    # Two packages can have one URL only if they differ in nothing that a scanner uses.
    components = list({each["bom-ref"]: each for each in components}.values())
    if subject.os_id:
        # trivy and grype need exactly one; without it they ignore the packages of the distribution.
        system = {"type": "operating-system", "bom-ref": "operating-system", "name": subject.os_id}
        components.insert(0, system | ({"version": subject.os_version} if subject.os_version else {}))
    metadata: dict[str, Any] = {
        "tools": {"components": [{"type": "application", "name": "lxcast", "version": __version__}]},
        "component": root,
    }
    if unread:
        metadata["properties"] = [{"name": "lxcast:unread", "value": each} for each in unread]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_identifier(subject, packages)}",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": [{"ref": "template", "dependsOn": sorted(each["bom-ref"] for each in components)}],
    }


def _component(package: Package, purl: str) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "library", "bom-ref": purl}
    component |= {"name": package.name, "version": package.version, "purl": purl}
    if package.license:
        component["licenses"] = [{"license": {"name": package.license}}]
    source, version = split_source(package)
    if source:
        properties = {"SrcName": source, "SrcVersion": version or package.version}
        component["properties"] = [
            {"name": f"aquasecurity:trivy:{name}", "value": value} for name, value in properties.items()
        ]
    return component


def _spdx(subject: Subject, packages: Sequence[Package], unread: list[str], created: int) -> dict[str, Any]:
    root: dict[str, Any] = _spdx_package("SPDXRef-template", subject.name, "")
    if subject.sha256:
        root["checksums"] = [{"algorithm": "SHA256", "checksumValue": subject.sha256}]
    if unread:
        root["comment"] = "not read: " + "; ".join(unread)
    entries = [root]
    relationships = [_relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-template")]
    if subject.os_id:
        entries.append(_spdx_package("SPDXRef-operating-system", subject.os_id, subject.os_version))
        entries[-1]["primaryPackagePurpose"] = "OPERATING-SYSTEM"
        relationships.append(_relationship("SPDXRef-template", "CONTAINS", "SPDXRef-operating-system"))
    for number, package in enumerate(packages, 1):
        entry = _spdx_package(f"SPDXRef-{package.kind}-{number}", package.name, package.version)
        if package.license:
            entry["licenseComments"] = package.license
        source, version = split_source(package)
        if source:
            entry["sourceInfo"] = f"built from the source package {source} {version}".rstrip()
        entry["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package_url(package, subject.os_id, subject.os_version),
            }
        ]
        entries.append(entry)
        relationships.append(_relationship("SPDXRef-template", "CONTAINS", entry["SPDXID"]))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": f"{_NAMESPACE}lxcast-{_identifier(subject, packages)}",
        "creationInfo": {"created": rfc3339(created), "creators": [f"Tool: lxcast-{__version__}"]},
        "packages": entries,
        "relationships": relationships,
    }


def _spdx_package(id: str, name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": id,
        "name": name,
        **({"versionInfo": version} if version else {}),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "supplier": "NOASSERTION",
    }


def _relationship(element: str, type: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": type, "relatedSpdxElement": related}
