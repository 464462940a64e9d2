"""Readers of package databases, on the forms that real systems have."""

import io
import json
import sqlite3
import struct
import zipfile
from pathlib import Path

import pytest

from lxcast.rootfs.inventory import READERS, Inventory, Package, PackageList
from lxcast.rootfs.rows import select
from lxcast.tar.member import Member, regular


def found(*members: Member) -> PackageList:
    inventory = Inventory()
    for member in members:
        inventory.read(member)
    return inventory.result()


def packages(path: str, content: bytes, mode: int = 0o644) -> list[tuple[str, ...]]:
    result = found(regular(path.encode(), content, mode))
    assert result.unread == ()
    return [(each.kind, each.name, each.version, each.source, each.license, each.arch) for each in result.packages]


def unread(path: str, content: bytes, mode: int = 0o644) -> str:
    result = found(regular(path.encode(), content, mode))
    assert result.packages == ()
    (only,) = result.unread
    assert only.path == path.encode()
    return only.reason


STATUS = b"""Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b7
Description: shell
 Package: not-a-field

Package: libc6
Status: hold ok installed
Architecture: i386
Source: glibc (2.36-9)
Version: 1:2.36-9+b1

Package: half
Status: install reinstreq half-installed
Architecture: all
Version: 1.0

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 2.0

Package: never
Status: purge ok not-installed
"""


def test_dpkg_lists_all_packages_with_files() -> None:
    assert packages("var/lib/dpkg/status", STATUS) == [
        ("deb", "bash", "5.2.15-2+b7", "bash", "", "amd64"),
        ("deb", "half", "1.0", "half", "", "all"),
        ("deb", "libc6", "1:2.36-9+b1", "glibc (2.36-9)", "", "i386"),
    ]


def test_distroless_images_have_a_file_without_state_for_each_package() -> None:
    content = b"Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n"
    assert packages("var/lib/dpkg/status.d/tzdata", content)[0][:3] == ("deb", "tzdata", "2024a-0+deb12u1")


def test_a_database_larger_than_the_head_of_a_member_is_read_whole() -> None:
    status = b"".join(
        b"Package: p%d\nStatus: install ok installed\nVersion: %d\nDescription: %s\n\n" % (n, n, b"x" * 500)
        for n in range(2000)
    )
    assert len(packages("var/lib/dpkg/status", status)) == 2000


@pytest.mark.parametrize(
    "content",
    [
        b"\0\1\2",
        b"Version: 1\n",
        b"Package: x\nStatus: install ok installed\n",
        b"Package: x\nStatus: broken\nVersion: 1\n",
    ],
)
def test_a_damaged_dpkg_database_is_reported(content: bytes) -> None:
    assert unread("var/lib/dpkg/status", content)


def test_an_empty_dpkg_database_has_no_packages() -> None:
    assert packages("var/lib/dpkg/status", b"") == []


def test_apk_lists_name_version_origin_and_license() -> None:
    content = b"C:Q1x=\nP:musl-utils\nV:1.2.5-r0\nA:x86_64\nL:MIT AND BSD-2-Clause\no:musl\nF:usr\nR:x\n\nP:a\nV:1\n\n"
    assert packages("lib/apk/db/installed", content) == [
        ("apk", "a", "1", "a", "", ""),
        ("apk", "musl-utils", "1.2.5-r0", "musl", "MIT AND BSD-2-Clause", "x86_64"),
    ]
    assert "no version" in unread("usr/lib/apk/db/installed", b"P:a\n\n")


def test_pacman_has_a_file_for_each_package() -> None:
    desc = b"%NAME%\nbash\n\n%VERSION%\n5.2.026-2\n\n%BASE%\nbash\n\n%ARCH%\nx86_64\n\n%LICENSE%\nGPL-3.0-or-later\n\n"
    expected = ("alpm", "bash", "5.2.026-2", "bash", "GPL-3.0-or-later", "x86_64")
    assert packages("var/lib/pacman/local/bash-5.2.026-2/desc", desc) == [expected]
    assert unread("var/lib/pacman/local/x-1/desc", b"%NAME%\nx\n")


TAGS = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "license": 1014, "arch": 1022, "src": 1044}


def rpm_header(**tags: str | int) -> bytes:
    index, data = b"", b""
    for name, value in tags.items():
        if isinstance(value, int):
            data += bytes(-len(data) % 4)
            index += struct.pack(">4I", TAGS[name], 4, len(data), 1)
            data += struct.pack(">I", value)
        else:
            index += struct.pack(">4I", TAGS[name], 6, len(data), 1)
            data += value.encode() + b"\0"
    return struct.pack(">2I", len(tags), len(data)) + index + data


def rpm_database(tmp_path: Path, *headers: bytes) -> bytes:
    path = tmp_path / "rpmdb.sqlite"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("directory", ["var/lib/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm"])
def test_rpm_reads_the_sqlite_database_in_wal_mode(directory: str, tmp_path: Path) -> None:
    headers = (
        rpm_header(name="bash", version="5.1.8", release="9.el9", arch="x86_64", src="bash-5.1.8-9.el9.src.rpm"),
        rpm_header(name="shadow-utils", version="4.9", release="8.el9", epoch=2, license="BSD", arch="x86_64"),
        rpm_header(name="gpg-pubkey", version="8483c65d", release="5ccc5b19"),
    )
    assert packages(f"{directory}/rpmdb.sqlite", rpm_database(tmp_path, *headers)) == [
        ("rpm", "bash", "5.1.8-9.el9", "bash-5.1.8-9.el9.src.rpm", "", "x86_64"),
        ("rpm", "shadow-utils", "2:4.9-8.el9", "", "BSD", "x86_64"),
    ]


def test_rpm_databases_that_cannot_be_read_are_reported_and_not_an_empty_list(tmp_path: Path) -> None:
    for name in ("Packages", "Packages.db"):
        assert "Berkeley DB or ndb" in unread(f"var/lib/rpm/{name}", b"\0" * 64)
    assert "not an SQLite database" in unread("var/lib/rpm/rpmdb.sqlite", b"text")
    database = rpm_database(tmp_path, rpm_header(name="x", version="1", release="1"))
    assert "cannot be read" in unread("var/lib/rpm/rpmdb.sqlite", database[:2000])
    for damaged in (b"", b"\xff" * 40, rpm_header(name="x")):
        assert "damaged" in unread("var/lib/rpm/rpmdb.sqlite", rpm_database(tmp_path, damaged))
    assert "not yet in rpmdb.sqlite" in unread("var/lib/rpm/rpmdb.sqlite-wal", b"x")
    assert packages("var/lib/rpm/rpmdb.sqlite-wal", b"") == []


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/python3/dist-packages/requests-2.31.0.dist-info/METADATA",
        "opt/venv/lib/python3.11/site-packages/requests.egg-info/PKG-INFO",
        "usr/lib/python3/dist-packages/requests-2.31.0.egg-info",
    ],
)
def test_python_distributions_are_found_anywhere(path: str) -> None:
    content = b"Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\nLicense: Apache 2.0\n\nName: from the text\n"
    assert packages(path, content) == [("pypi", "requests", "2.31.0", "", "Apache 2.0", "")]


def test_node_packages_are_those_directly_in_node_modules() -> None:
    content = json.dumps({"name": "@scope/tool", "version": "1.2.3", "license": {"type": "MIT"}}).encode()
    assert packages("opt/app/node_modules/@scope/tool/package.json", content) == [
        ("npm", "@scope/tool", "1.2.3", "", "MIT", "")
    ]
    assert packages("opt/app/node_modules/tool/test/package.json", content) == []
    assert packages("opt/app/package.json", content) == []
    assert packages("usr/lib/node_modules/x/package.json", b'{"type": "module"}') == []
    assert "not valid JSON" in unread("usr/lib/node_modules/x/package.json", b"{")


def go_string(value: bytes) -> bytes:
    length, out = len(value), b""
    while length >= 0x80:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return out + bytes([length]) + value


def go_program(modules: str, at: int = 600_000) -> bytes:
    info = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16) + go_string(b"go1.22.1")
    return b"\x7fELF" + bytes(at - 4) + info + go_string(b"s" * 16 + modules.encode() + b"e" * 16) + bytes(9)


MODULES = (
    "path\tex.com/cmd\nmod\tex.com/cmd\tv1.0.0\th1:x\ndep\tex.com/a\tv0.1.0\th1:y\n"
    "dep\tex.com/b\tv2.0.0\n=>\tex.com/c\tv3.0.0\n"
)


@pytest.mark.parametrize("at", [600_000, 1 << 20, (1 << 20) - 7])
def test_go_programs_contain_their_modules(at: int) -> None:
    names = [(each[0], each[1], each[2]) for each in packages("usr/bin/tool", go_program(MODULES, at), 0o755)]
    assert names == [
        ("golang", "ex.com/a", "v0.1.0"),
        ("golang", "ex.com/c", "v3.0.0"),
        ("golang", "ex.com/cmd", "v1.0.0"),
        ("golang", "stdlib", "go1.22.1"),
    ]
    assert packages("usr/bin/tool", go_program(MODULES, at)) == [], "only executables are searched"


def test_other_programs_have_no_modules_and_damaged_information_is_reported() -> None:
    assert packages("usr/bin/tool", b"\x7fELF" + bytes(1 << 20), 0o755) == []
    assert "damaged" in unread("usr/bin/tool", go_program(MODULES)[:600_060], 0o755)


def jar(files: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return file.getvalue()


def test_java_archives_have_maven_coordinates_or_a_manifest() -> None:
    pom = "#comment\nversion=1.2\ngroupId=org.example\nartifactId=lib\n"
    manifest = "Manifest-Version: 1.0\r\nBundle-SymbolicName: org.exam\r\n ple.lib;x=y\r\nBundle-Version: 1.2.0\r\n"
    both = {"META-INF/maven/org.example/lib/pom.properties": pom, "META-INF/MANIFEST.MF": manifest}
    assert packages("opt/app/lib.jar", jar(both)) == [("maven", "org.example:lib", "1.2", "", "", "")]
    alone = jar({"META-INF/MANIFEST.MF": manifest})
    assert packages("opt/app/x.war", alone)[0][:3] == ("maven", "org.example.lib", "1.2.0")
    assert packages("opt/app/empty.jar", jar({"a": "x"})) == []
    assert "not a valid Java archive" in unread("opt/app/broken.jar", b"PK\3\4")


def test_each_reader_can_be_switched_off() -> None:
    members = [regular(b"var/lib/dpkg/status", STATUS), regular(b"lib/apk/db/installed", b"P:a\nV:1\n\n")]
    (readers,) = select(READERS, disable=["dpkg-packages"])
    inventory = Inventory(readers)
    for member in members:
        inventory.read(member)
    assert inventory.result().packages == (Package("apk", "a", "1", "a"),)
    assert inventory.result().counts() == {"apk": 1}


def test_the_list_is_sorted_and_each_package_occurs_once() -> None:
    files = [regular(b"var/lib/dpkg/status.d/%c" % name, b"Package: %c\nVersion: 1\n" % name) for name in b"ba"]
    assert [each.name for each in found(*files, *files).packages] == ["a", "b"]
