"""Package URLs and bills of materials, rule by rule as scanners read them."""

import json

import pytest

from lxcast.evidence.purl import package_url
from lxcast.evidence.sbom import FORMATS, Subject, make_sbom
from lxcast.model import Package

URLS = [
    (Package("deb", "apt", "2.6.1", "apt", arch="amd64"), "pkg:deb/debian/apt@2.6.1?arch=amd64&distro=debian-12"),
    (
        Package("deb", "libc6", "1:2.36-9+b1", "glibc (2.36-9)", arch="amd64"),
        "pkg:deb/debian/libc6@1:2.36-9%2Bb1?arch=amd64&distro=debian-12&upstream=glibc%402.36-9",
    ),
    (
        Package("apk", "libcrypto3", "3.3.2-r0", "openssl", arch="x86_64"),
        "pkg:apk/debian/libcrypto3@3.3.2-r0?arch=x86_64&distro=debian-12&upstream=openssl",
    ),
    (
        Package("rpm", "shadow-utils", "2:4.9-8.el9", "shadow-utils.src.rpm", arch="x86_64"),
        "pkg:rpm/debian/shadow-utils@4.9-8.el9?arch=x86_64&distro=debian-12&epoch=2&upstream=shadow-utils.src.rpm",
    ),
    (Package("pypi", "Typing_Extensions", "4.9"), "pkg:pypi/typing-extensions@4.9"),
    (Package("npm", "@scope/tool", "1.0.0"), "pkg:npm/%40scope/tool@1.0.0"),
    (Package("golang", "example.com/a/b", "v1.2.3+x"), "pkg:golang/example.com/a/b@v1.2.3%2Bx"),
    (Package("golang", "stdlib", "go1.22"), "pkg:golang/stdlib@go1.22"),
    (Package("maven", "org.example:lib", "1.2"), "pkg:maven/org.example/lib@1.2"),
]
PACKAGES = [package for package, _ in URLS]
SUBJECT = Subject("web-v1.tar.zst", "a" * 64, "debian", "12")


@pytest.mark.parametrize(("package", "url"), URLS)
def test_package_urls_have_distribution_and_source_package(package: Package, url: str) -> None:
    assert package_url(package, "debian", "12") == url


def test_the_namespace_of_red_hat_and_suse_is_theirs() -> None:
    package = Package("rpm", "x", "1-1")
    assert package_url(package, "rhel", "9.4") == "pkg:rpm/redhat/x@1-1?distro=rhel-9.4"
    assert package_url(package, "opensuse-leap", "15.6") == "pkg:rpm/opensuse/x@1-1?distro=opensuse-leap-15.6"
    assert package_url(package) == "pkg:rpm/x@1-1"


def test_cyclonedx_has_one_operating_system_and_the_sha256_of_the_template() -> None:
    document = json.loads(make_sbom("cyclonedx", SUBJECT, PACKAGES, ["/var/lib/rpm/Packages: is not read"]))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    systems = [each for each in document["components"] if each["type"] == "operating-system"]
    assert [(each["name"], each["version"]) for each in systems] == [("debian", "12")]
    root = document["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert document["metadata"]["properties"] == [
        {"name": "lxcast:unread", "value": "/var/lib/rpm/Packages: is not read"}
    ]
    libc = next(each for each in document["components"] if each["name"] == "libc6")
    assert libc["properties"] == [
        {"name": "aquasecurity:trivy:SrcName", "value": "glibc"},
        {"name": "aquasecurity:trivy:SrcVersion", "value": "2.36-9"},
    ]
    references = [each["bom-ref"] for each in document["components"]]
    assert len(set(references)) == len(references)
    assert document["dependencies"] == [{"ref": "template", "dependsOn": sorted(references)}]


def test_spdx_describes_the_template_and_contains_every_package() -> None:
    document = json.loads(make_sbom("spdx", SUBJECT, PACKAGES))
    assert (document["spdxVersion"], document["dataLicense"]) == ("SPDX-2.3", "CC0-1.0")
    assert document["packages"][0]["checksums"] == [{"algorithm": "SHA256", "checksumValue": "a" * 64}]
    urls = [each["externalRefs"][0]["referenceLocator"] for each in document["packages"] if "externalRefs" in each]
    assert urls == [url for _, url in URLS]
    described = {each["relatedSpdxElement"] for each in document["relationships"]}
    assert described == {each["SPDXID"] for each in document["packages"]}


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_input_gives_the_same_bytes(format: str) -> None:
    first = make_sbom(format, SUBJECT, PACKAGES)
    assert first == make_sbom(format, SUBJECT, PACKAGES)
    assert first != make_sbom(format, SUBJECT, PACKAGES[1:])
