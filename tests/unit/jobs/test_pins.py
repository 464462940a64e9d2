"""Pins in a tree, promotion and rollback, against a real storage folder."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.errors import LxcastError, PinError, StorageError, UsageError
from lxcast.jobs.pin import get_value, list_pins, set_value
from lxcast.jobs.promote import promote, rollback, write_pin
from lxcast.progress import Progress
from lxcast.settings import StorageOptions, storage_options
from tests.published import publish

PIN_FILE = "templates.auto.tfvars.json"


@pytest.fixture
def storage(tmp_path: Path) -> StorageOptions:
    """Hold debian-12 v3 and v4, and v1 of another template."""
    for name, number in (("debian-12", 3), ("debian-12", 4), ("alpine-3", 1)):
        publish(tmp_path / "nfs", name, number)
    return storage_options(f"pve-nfs={tmp_path / 'nfs'}")


@pytest.fixture
def progress() -> Progress:
    return Progress()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "address"),
    [
        ("main.tf", 'locals {\n  lxc_rootfs_version = "v3" # it\n}\n', "local.lxc_rootfs_version"),
        ("prod.tfvars", 'lxc_version = "v3"\r\n', "lxc_version"),
        ("image.pkr.hcl", 'variable "v" {\n  default = "v3"\n}', "variable.v.default"),
        ("list.tf", 'locals {\n  l = [{ n = 1 }, { version = "v3" }]\n}\n', "local.l[1].version"),
        ("nested.tf", 'terraform {\n  backend "s3" {\n    key = "v3"\n  }\n}\n', "terraform.backend.s3.key"),
    ],
)
def test_a_literal_is_set_and_read_back(name: str, text: str, address: str, tmp_path: Path) -> None:
    file = write(tmp_path / name, text)
    assert get_value(file, address).value == "v3"
    set_value(file, address, "v10")
    assert get_value(file, address).value == "v10"
    assert file.read_bytes() == text.replace("v3", "v10").encode()


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tf")
    with pytest.raises(PinError, match="not a regular file"):
        get_value(tmp_path / "x.tf", "local.v")


def test_a_dry_run_shows_the_change_without_making_it(tmp_path: Path) -> None:
    file = write(tmp_path / "x.tfvars", 'v = "v3"\n')
    moved = set_value(file, "v", "v4", write=False)
    assert (moved.old, moved.new, moved.change.changed) == ("v3", "v4", True)
    assert file.read_text() == 'v = "v3"\n'


@pytest.mark.parametrize(
    ("stands", "becomes"),
    [
        ("v3", "v4"),
        ("pve-nfs:vztmpl/debian-12-v3.tar.zst", "pve-nfs:vztmpl/debian-12-v4.tar.zst"),
        ("debian-12-v3.tar.gz", "debian-12-v4.tar.zst"),
        ("0" * 64, "a" * 64),
        ("sha256:" + "0" * 64, "sha256:" + "b" * 64),
    ],
)
def test_the_new_value_has_the_kind_of_the_old_one(
    stands: str, becomes: str, storage: StorageOptions, tmp_path: Path
) -> None:
    file = write(tmp_path / "x.tfvars", f'v = "{stands}"\n')
    promote("debian-12", "v4", f"{file}:v", storage)
    assert file.read_text() == f'v = "{becomes}"\n'
    assert not promote("debian-12", "v4", f"{file}:v", storage).change.changed


def test_a_number_gets_the_version_number_and_field_chooses_the_value(storage: StorageOptions, tmp_path: Path) -> None:
    file = write(tmp_path / "x.tfvars", 'lxc_version = 3\nsize = 0\nos = "x"\n')
    promote("debian-12", "", f"{file}:lxc_version", storage)
    promote("debian-12", "v4", f"{file}:size", storage, "size")
    promote("debian-12", "v4", f"{file}:os", storage, "ostype")
    assert file.read_text() == 'lxc_version = 4\nsize = 8\nos = "debian"\n'


@pytest.mark.parametrize(
    ("text", "version", "expected"),
    [
        ("v = 3\n", "v4", "'3' is not a version"),
        ('v = "x"\n', "v4", "'x' is not a version, volid, file name or digest"),
        ('v = "local:vztmpl/debian-12-v3.tar.zst"\n', "v4", "the pin is on the storage 'local'"),
        ('v = "v3"\n', "v9", "debian-12 has no version v9"),
        ('v = "v3"\n', "4", "invalid version '4'"),
        ('v = upper("v3")\n', "v4", "an expression"),
    ],
)
def test_a_refused_promotion_changes_nothing(
    text: str, version: str, expected: str, progress: Progress, tmp_path: Path
) -> None:
    storage = tmp_path / "mnt"
    for number in (3, 4):
        publish(storage, "debian-12", number)
    records = (storage / "template" / "cache").glob("*.json")
    for record in [*records]:
        record.write_text(record.read_text().replace('"local', '"pve-nfs'))
    file = write(tmp_path / "x.tfvars", text)
    with pytest.raises(LxcastError) as caught:
        promote("debian-12", version, f"{file}:v", storage_options(str(storage)))
    assert expected in caught.value.message
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("target", "field", "expected"),
    [("main.tf", "", "the address is missing"), (PIN_FILE, "sha256", "holds all fields")],
)
def test_an_invalid_target_is_refused(
    target: str, field: str, expected: str, storage: StorageOptions, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=expected):
        promote("debian-12", "v4", str(tmp_path / target), storage, field)


def test_a_rollback_restores_the_previous_value_and_a_second_one_takes_it_back(
    storage: StorageOptions, tmp_path: Path
) -> None:
    file = tmp_path / PIN_FILE
    write_pin("alpine-3", "", storage, file)
    write_pin("debian-12", "v3", storage, file)
    first = file.read_bytes()
    write_pin("debian-12", "", storage, file)
    promoted = file.read_bytes()
    moved = rollback("debian-12", file, storage)
    assert (moved.old, moved.new) == (
        "pve-nfs:vztmpl/debian-12-v4.tar.zst",
        "pve-nfs:vztmpl/debian-12-v3.tar.zst",
    )
    pins = json.loads(file.read_bytes())["lxc_templates"]
    assert pins["debian-12"]["version"] == "v3"
    assert pins["alpine-3"] == json.loads(first)["lxc_templates"]["alpine-3"]
    rollback("debian-12", file, storage)
    assert file.read_bytes() == promoted


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("template", "debian-12-v3.tar.zst no longer exists"),
        ("record", "has no record"),
        ("size", "has 3 bytes, its record has 8"),
        ("sha256", f"sha256: expected {'a' * 64}, got {'c' * 64}"),
        ("id", "is on the storage 'pve-nfs'"),
    ],
)
def test_a_rollback_to_a_template_that_the_storage_lacks_is_refused(
    damage: str, expected: str, storage: StorageOptions, tmp_path: Path
) -> None:
    file = tmp_path / PIN_FILE
    write_pin("debian-12", "v3", storage, file)
    write_pin("debian-12", "v4", storage, file)
    before = file.read_bytes()
    folder = tmp_path / "nfs" / "template" / "cache"
    record = folder / "debian-12-v3.json"
    if damage == "template":
        (folder / "debian-12-v3.tar.zst").unlink()
    elif damage == "record":
        record.unlink()
    elif damage == "size":
        (folder / "debian-12-v3.tar.zst").write_bytes(b"new")
    elif damage == "sha256":
        record.write_text(record.read_text().replace("a" * 64, "c" * 64))
    with pytest.raises(StorageError) as caught:
        rollback("debian-12", file, storage_options(str(tmp_path / "nfs")) if damage == "id" else storage)
    assert expected in caught.value.message
    assert file.read_bytes() == before


def test_a_pin_without_a_previous_value_cannot_be_rolled_back(storage: StorageOptions, tmp_path: Path) -> None:
    file = tmp_path / PIN_FILE
    write_pin("debian-12", "", storage, file)
    with pytest.raises(PinError, match="is at v4 and has no previous value"):
        rollback("debian-12", file, storage)


def test_a_pin_file_in_a_missing_directory_is_refused(storage: StorageOptions, tmp_path: Path) -> None:
    for write_it in (True, False):
        with pytest.raises(PinError, match="none is not a directory") as caught:
            write_pin("debian-12", "v4", storage, tmp_path / "none" / PIN_FILE, write=write_it)
        assert caught.value.hint == "create the directory first"


def test_two_writers_of_one_pin_file_lose_nothing(tmp_path: Path) -> None:
    for name in ("a1", "b1", "c1"):
        for number in range(1, 6):
            publish(tmp_path / "nfs", name, number)
    file = tmp_path / PIN_FILE
    program = (
        "import sys; from pathlib import Path; from lxcast.jobs.promote import write_pin\n"
        f"from lxcast.settings import storage_options; storage = storage_options({f'local={tmp_path}/nfs'!r})\n"
        f"for n in range(1, 6): write_pin(sys.argv[1], f'v{{n}}', storage, Path({str(file)!r}))\n"
    )
    root = Path(__file__).parents[3]
    running = [subprocess.Popen([sys.executable, "-c", program, name], cwd=root) for name in ("a1", "b1", "c1")]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    pins = json.loads(file.read_bytes())["lxc_templates"]
    moved = [(name, pin["version"], pin["previous"]["version"]) for name, pin in pins.items()]
    assert moved == [(name, "v5", "v4") for name in ("a1", "b1", "c1")]


def test_the_pins_of_a_tree_are_listed_with_their_state(
    storage: StorageOptions, progress: Progress, tmp_path: Path
) -> None:
    tree = tmp_path / "envs"
    write(tree / "main.tf", 'locals {\n  t = "pve-nfs:vztmpl/debian-12-${local.version}.tar.zst"\n}\n')
    write(tree / "versions.tf", 'locals {\n  version = "v3"\n  api = "v1"\n}\n')
    query = 'data "external" "d" {\n  program = ["lxcast-data"]\n  query = { name = "debian-12", version = "%s" }\n}\n'
    write(tree / "a" / "query.tf", query % "v9")
    write(tree / "b" / "query.tf", query % "latest")
    write(tree / "c" / "prod.tfvars", 'a = "local:vztmpl/debian-12-v3.tar.zst"\nb = "debian-12-v4.tar.zst"\n')
    write(tree / "d" / "image.pkr.hcl", 'locals {\n  t = "pve-nfs:vztmpl/alpine-3-v1.tar.zst"\n}\n')
    write(tree / "e" / "broken.tf", 'locals {\n  t = "pve-nfs:vztmpl/x\n}\n')
    write(tree / ".terraform" / "x.tf", 'locals {\n  t = "pve-nfs:vztmpl/debian-12-v3.tar.zst"\n}\n')
    write_pin("debian-12", "v4", storage, tree / PIN_FILE)
    found = {
        f"{each.file.relative_to(tree)}:{each.line} {each.address}": (each.template, each.state)
        for each in list_pins(tree, storage, progress)
    }
    assert found == {
        f"{PIN_FILE}:0 lxc_templates.debian-12": ("pve-nfs:vztmpl/debian-12-v4.tar.zst", "present"),
        "versions.tf:2 local.version": ("pve-nfs:vztmpl/debian-12-v3.tar.zst", "present"),
        "a/query.tf:3 data.external.d.query.version": ("debian-12-v9", "missing"),
        "b/query.tf:3 data.external.d.query.version": ("debian-12-latest", "newest"),
        "c/prod.tfvars:1 a": ("local:vztmpl/debian-12-v3.tar.zst", "other storage"),
        "c/prod.tfvars:2 b": ("debian-12-v4.tar.zst", "present"),
        "d/image.pkr.hcl:2 local.t": ("pve-nfs:vztmpl/alpine-3-v1.tar.zst", "present"),
    }
    os.mkfifo(tree / "pipe.tf")  # which would be waited for
    states = {each.state for each in list_pins(tree, storage_options(f"pve-nfs={tmp_path / 'none'}"), progress)}
    assert states == {"unknown", "newest"}


def test_a_pin_of_a_template_with_other_bytes_is_listed_as_such(
    storage: StorageOptions, progress: Progress, tmp_path: Path
) -> None:
    tree = tmp_path / "envs"
    tree.mkdir()
    write_pin("debian-12", "v4", storage, tree / PIN_FILE)
    record = tmp_path / "nfs" / "template" / "cache" / "debian-12-v4.json"
    record.write_text(record.read_text().replace("a" * 64, "c" * 64))
    assert [each.state for each in list_pins(tree, storage, progress)] == ["other bytes"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('t = "pve-nfs:vztmpl/alpine-3-v1.tar.zst"\n', "t"),
        ('t = "debian-12-slim-v3.tar.zst"\n', "t"),
        ('locals {\n  v = "v1"\n  t = "local:vztmpl/alpine-3-${local.v}.tar.zst"\n}\n', "local.v"),
        ('locals {\n  v = "v1"\n  t = "local:vztmpl/alpine-3-${local.v}-${var.x}.tar.zst"\n}\n', "local.v"),
        ('data "external" "d" {\n  program = ["lxcast-data"]\n  query = { name = "alpine-3", version = "v1" }\n}\n',
         "data.external.d.query.version"),
        (f't = "{"d" * 64}"\n', "t"),
    ],
)  # fmt: skip
def test_a_literal_that_names_another_template_is_overwritten_only_by_force(
    text: str, address: str, storage: StorageOptions, tmp_path: Path
) -> None:
    other = tmp_path / "nfs" / "template" / "cache" / "alpine-3-v1.json"
    other.write_text(other.read_text().replace("a" * 64, "d" * 64))
    file = write(tmp_path / "env" / ("x.tfvars" if address == "t" else "main.tf"), text)
    with pytest.raises(PinError, match="not a version of debian-12") as caught:
        promote("debian-12", "v4", f"{file}:{address}", storage)
    assert "--force-name" in caught.value.hint
    assert file.read_text() == text
    assert promote("debian-12", "v4", f"{file}:{address}", storage, force_name=True).change.changed


def test_the_kind_of_a_digest_is_that_of_the_record_that_has_it(storage: StorageOptions, tmp_path: Path) -> None:
    records = tmp_path / "nfs" / "template" / "cache"
    for number, sha256, diff_id in ((3, "1" * 64, "2" * 64), (4, "3" * 64, "4" * 64)):
        record = records / f"debian-12-v{number}.json"
        record.write_text(record.read_text().replace("a" * 64, sha256).replace("b" * 64, diff_id))
    for old, new in (
        ("sha256:" + "1" * 64, "sha256:" + "3" * 64),
        ("sha256:" + "2" * 64, "sha256:" + "4" * 64),
        ("1" * 64, "3" * 64),
        ("2" * 64, "4" * 64),
    ):
        file = write(tmp_path / "x.tfvars", f'digest = "{old}"\n')
        promote("debian-12", "v4", f"{file}:digest", storage)
        assert file.read_text() == f'digest = "{new}"\n'


def variants(tmp_path: Path) -> StorageOptions:
    """Publish three variants of one name, v1 to v3, and v4 of the first."""
    for number, variant in enumerate(("minimal", "full", "dev", "minimal"), 1):
        record = replace(publish(tmp_path / "store", "web", number), variant=variant)
        (tmp_path / "store" / "template" / "cache" / f"web-v{number}.json").write_text(record.to_json())
    return storage_options(f"local={tmp_path / 'store'}")


def test_variants_have_entries_of_their_own_and_are_never_chosen_silently(tmp_path: Path) -> None:
    storage, file = variants(tmp_path), tmp_path / PIN_FILE
    for variant in ("minimal", "full", "dev"):
        write_pin("web", "", storage, file, variant=variant)
    pins = json.loads(file.read_bytes())["lxc_templates"]
    assert {key: (pin["version"], pin["variant"]) for key, pin in pins.items()} == {
        "web/minimal": ("v4", "minimal"),
        "web/full": ("v2", "full"),
        "web/dev": ("v3", "dev"),
    }
    before = file.read_bytes()
    with pytest.raises(StorageError, match="several variants: dev, full, minimal"):
        write_pin("web", "", storage, file)
    with pytest.raises(StorageError, match="several variants"):
        promote("web", "", str(file), storage)
    with pytest.raises(PinError, match="several variants of 'web': 'dev', 'full', 'minimal'"):
        rollback("web", file, storage)
    assert file.read_bytes() == before
    write_pin("web", "v1", storage, file)
    assert rollback("web", file, storage, variant="minimal").new.endswith("web-v4.tar.zst")


def test_a_pin_of_an_older_release_without_a_variant_is_moved_as_before(
    storage: StorageOptions, tmp_path: Path
) -> None:
    file = tmp_path / PIN_FILE
    write_pin("debian-12", "v3", storage, file)
    assert "variant" not in file.read_text()
    assert write_pin("debian-12", "v4", storage, file, variant="").old.endswith("debian-12-v3.tar.zst")
    assert rollback("debian-12", file, storage).new.endswith("debian-12-v3.tar.zst")
