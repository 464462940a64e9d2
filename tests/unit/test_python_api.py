"""The public Python API: its names, and one template from a source to a pin without a command."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import lxcast
from lxcast import api
from lxcast.rootfs.checks import CHECKS

NAMES = {
    *("build", "check", "diff", "publish", "list", "promote", "open_source", "Record", "Progress"),
    *("Built", "CheckReport", "Difference", "Listing", "Move", "Publication", "Source"),
    *("LxcastError", "UsageError", "SourceError", "ArchiveError", "EngineError", "CheckError", "StorageError"),
    *("ConflictError", "ApiError", "UnprovenError", "PinError"),
}


def test_the_exported_names_are_these_and_each_can_be_imported() -> None:
    assert set(lxcast.__all__) == set(api.__all__) == NAMES
    assert all(getattr(lxcast, name) is getattr(api, name) for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lxcast.nothing  # type: ignore[attr-defined] # noqa: B018


def test_the_types_name_every_exported_name() -> None:
    package = Path(lxcast.__file__).parent
    assert (package / "py.typed").is_file()
    stub = (package / "__init__.pyi").read_text()
    assert {line.split()[3] for line in stub.splitlines() if line.startswith("from lxcast.api import")} == NAMES


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import lxcast; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'lxcast'}"


def archive(path: Path, content: bytes) -> str:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("etc/motd")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return str(path)


def test_a_template_is_built_checked_listed_compared_and_pinned(tmp_path: Path) -> None:
    storage = f"pve-nfs={tmp_path / 'nfs'}"
    allow = {check.id: "a test" for check in CHECKS}
    built = [
        lxcast.build(archive(tmp_path / "x.tar", text), "web", storage=storage, allow=allow) for text in (b"1", b"22")
    ]
    first, second = (each.record for each in built)
    assert [first.version, second.template_id] == ["v1", "pve-nfs:vztmpl/web-v2.tar.zst"]
    listing = lxcast.list(storage)
    assert [each.record for each in listing.templates] == [first, second]
    assert built[1].path
    report = lxcast.check(built[1].path, policy="golden")
    assert report.findings
    differences = lxcast.diff(str(built[0].path), str(built[1].path))
    assert [(each.path, each.what) for each in differences] == [(b"etc/motd", "size"), (b"etc/motd", "content")]
    move = lxcast.promote("web", str(tmp_path / "templates.auto.tfvars.json"), storage)
    assert move.new == second.template_id
    assert lxcast.open_source(f"rootfs:{tmp_path}").origin.kind == "rootfs"


def test_every_wrong_setting_is_reported_at_once() -> None:
    with pytest.raises(lxcast.UsageError) as caught:
        lxcast.build("x.tar", "web", polcy="golden", threads="two")
    assert caught.value.message.splitlines() == [
        "unknown setting polcy; did you mean policy?",
        '--threads "two": expected a whole number from 0, got a string',
    ]


def test_publish_needs_a_storage_that_it_can_open(tmp_path: Path) -> None:
    with pytest.raises(lxcast.UsageError, match="PM_API_TOKEN"):
        lxcast.publish(tmp_path / "web-v1.tar.zst", "proxmox:pve1/local")
