"""`lxcast packages` and `lxcast diff --packages`, as a user runs them."""

import hashlib
import json
from pathlib import Path

from lxcast.tar.member import Member, regular
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian, replaced

LINES = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n\n"


def source(path: Path, versions: dict[str, str], *more: Member) -> Path:
    status = "".join(LINES.format(name, version) for name, version in versions.items())
    database = regular(b"var/lib/dpkg/status", status.encode())
    path.write_bytes(archive(replaced(minimal_debian(), database, *more)))
    return path


def test_packages_are_listed_from_archives_and_templates_alike(tmp_path: Path) -> None:
    tar = source(tmp_path / "a.tar", {"bash": "5.2-1", "zlib1g": "1:1.3"})
    built = lxcast("build", tar, "--name", "a", "--output", tmp_path / "out")
    assert built.returncode == 0, built.stderr
    lists = [json.loads(lxcast("packages", each, "--json").stdout) for each in (tar, built.stdout.strip())]
    assert lists[0]["packages"] == lists[1]["packages"]
    assert lists[0]["packages"][0] == {
        "name": "bash", "version": "5.2-1", "source": "bash", "license": "", "kind": "deb", "arch": "amd64",
    }  # fmt: skip
    text = lxcast("packages", tar).stdout.splitlines()
    assert text[0].split() == ["KIND", "NAME", "VERSION", "SOURCE", "LICENSE"]
    assert text[2].split() == ["deb", "zlib1g", "1:1.3", "zlib1g"]


def test_a_database_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    tar = source(tmp_path / "a.tar", {}, regular(b"var/lib/rpm/Packages", b"\0" * 99))
    done = lxcast("packages", tar)
    assert done.returncode == 0
    assert "/var/lib/rpm/Packages was not read: is an rpm database in Berkeley DB" in done.stderr
    document = json.loads(lxcast("packages", tar, "--json").stdout)
    assert [each["path"] for each in document["unread"]] == ["/var/lib/rpm/Packages"]


def test_a_reader_can_be_disabled_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    tar = source(tmp_path / "a.tar", {"bash": "1"})
    assert lxcast("packages", tar, "--disable", "dpkg-packages").stdout == ""
    wrong = lxcast("packages", tar, "--disable", "dpkg-package")
    assert wrong.returncode == 2
    assert "did you mean dpkg-packages" in wrong.stderr


def test_diff_lists_packages_that_were_added_removed_upgraded_and_downgraded(tmp_path: Path) -> None:
    old = source(tmp_path / "old.tar", {"same": "1", "gone": "1", "up": "1.9-1", "down": "2:1.0"})
    new = source(tmp_path / "new.tar", {"same": "1", "new": "1", "up": "1.10-1", "down": "2.0"})
    done = lxcast("diff", old, new, "--packages")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "v deb down 2:1.0 -> 2.0",
        "- deb gone 1",
        "+ deb new 1",
        "^ deb up 1.9-1 -> 1.10-1",
    ]
    changes = json.loads(lxcast("diff", old, new, "--packages", "--json").stdout)["differences"]
    assert changes[3] == {"kind": "deb", "name": "up", "change": "upgraded", "a": "1.9-1", "b": "1.10-1"}
    same = lxcast("diff", old, old, "--packages")
    assert (same.returncode, same.stdout) == (0, "")


def test_an_sbom_names_the_sha256_of_the_very_file_and_is_deterministic(tmp_path: Path) -> None:
    tar = source(tmp_path / "a.tar", {"bash": "5.2-1"}, regular(b"var/lib/rpm/Packages", b"\0" * 99))
    digest = hashlib.sha256(tar.read_bytes()).hexdigest()
    cyclonedx, again = (lxcast("packages", tar, "--sbom", "cyclonedx").stdout for _ in range(2))
    assert cyclonedx == again
    document = json.loads(cyclonedx)
    assert document["metadata"]["component"]["hashes"][0]["content"] == digest
    assert [each["name"] for each in document["components"]] == ["debian", "bash"]
    assert "/var/lib/rpm/Packages: is an rpm database" in document["metadata"]["properties"][0]["value"]
    spdx = json.loads(lxcast("packages", tar, "--sbom", "spdx", environ={"SOURCE_DATE_EPOCH": "86400"}).stdout)
    assert spdx["creationInfo"]["created"] == "1970-01-02T00:00:00Z"
    assert lxcast("packages", tar, "--sbom", "swid").returncode == 2


def test_a_template_of_the_storage_is_found_by_its_name(tmp_path: Path) -> None:
    storage = ("--storage", tmp_path / "storage")
    for version in ("5.1-1", "5.2-1"):
        tar = source(tmp_path / "a.tar", {"bash": version})
        built = lxcast("build", tar, "--name", "web", *storage)
        assert built.returncode == 0, built.stderr
    names = {"web:v1": "5.1-1", "web": "5.2-1", built.stdout.strip(): "5.2-1"}
    for name, version in names.items():
        document = json.loads(lxcast("packages", name, "--json", *storage).stdout)
        assert document["packages"][0]["version"] == version
    assert lxcast("packages", "web:v9", *storage).returncode != 0
