"""What the data source answers from a pin file, alone and beside a storage's record."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest

from lxcast.record import Record
from lxcast.references.entries import DEFAULT
from tests.published import pin, publish
from tests.unit.terraform_ext.asking import KEYS, refusal, result, run

NAMED = {"name": "debian-12"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where Terraform runs: a pin file, and the storage that it was written from."""
    for number in (3, 4, 5):
        publish(tmp_path / "storage", "debian-12", number)
    pin(tmp_path / DEFAULT, publish(tmp_path / "storage", "debian-12", 4))
    return tmp_path


def edited(folder: Path, **changes: object) -> None:
    """Change keys of the pin, as an edit by hand or a bad merge does."""
    content = json.loads((folder / DEFAULT).read_text())
    content["lxc_templates"]["debian-12"] |= changes
    (folder / DEFAULT).write_text(json.dumps(content))


def test_the_pin_alone_answers_with_all_keys(folder: Path) -> None:
    shutil.rmtree(folder / "storage")
    answer = result(NAMED, cwd=folder)
    assert set(answer) == KEYS == {*(each.name for each in fields(Record)), "node", "ctime", "verified", "warnings"}
    assert answer["template_id"] == "local:vztmpl/debian-12-v4.tar.zst"
    assert (answer["file"], answer["storage"], answer["format"]) == ("debian-12-v4.tar.zst", "local", "zst")
    assert (answer["version"], answer["size"], answer["ostype"], answer["arch"]) == ("v4", "8", "debian", "amd64")
    assert (answer["sha256"], answer["diff_id"]) == ("a" * 64, "sha256:" + "b" * 64)
    assert (answer["verified"], answer["warnings"], answer["ctime"], answer["created"]) == ("pin", "[]", "", "")


def test_objects_of_a_record_are_objects_in_the_answer_of_a_pin(folder: Path) -> None:
    recorded, pinned = result({**NAMED, "storage": "./storage"}, cwd=folder), result(NAMED, cwd=folder)
    objects = {key for key, value in recorded.items() if value.startswith(("{", "["))}
    assert {"source", "hints", "warnings"} <= objects
    assert all(type(json.loads(pinned[key])) is type(json.loads(recorded[key])) for key in objects)
    assert json.loads(pinned["source"]).keys() == json.loads(recorded["source"]).keys()


def test_the_hints_of_the_record_come_with_the_pin(folder: Path) -> None:
    assert result(NAMED, cwd=folder)["hints"] == "{}"
    edited(folder, hints={"unprivileged": True, "disk_gb": 2})
    assert result(NAMED, cwd=folder)["hints"] == '{"disk_gb":2,"unprivileged":true}'
    assert result({**NAMED, "storage": "./storage", "verify": "storage"}, cwd=folder)["version"] == "v4"


def test_the_format_is_the_pins_own(folder: Path) -> None:
    image = {"template_id": "local:vztmpl/debian-12-v4.tar", "format": "oci-archive"}
    edited(folder, **image)
    assert result(NAMED, cwd=folder)["format"] == "oci-archive"
    text = (folder / DEFAULT).read_text()
    for file, told in (("debian-12-v4.tar", ""), ("debian-12-v4.tar.gz", "gz")):  # of a .tar only the pin can tell
        (folder / DEFAULT).write_text(text.replace('"format": "oci-archive", ', "").replace("debian-12-v4.tar", file))
        assert "oci" not in (folder / DEFAULT).read_text()
        assert result(NAMED, cwd=folder)["format"] == told


def test_a_pin_with_another_format_than_the_record_is_reported(folder: Path) -> None:
    edited(folder, format="gz")
    assert "format is gz in" in refusal({**NAMED, "storage": "./storage"}, cwd=folder)


def test_a_pin_file_is_named_by_the_query(folder: Path) -> None:
    (folder / "env").mkdir()
    (folder / DEFAULT).rename(folder / "env" / "web.tf.json")
    assert "or name another pin file" in " ".join(refusal(NAMED, cwd=folder).split())
    assert "no pin for 'debian-12'" in refusal({**NAMED, "pin_file": "env/web.tf.json"}, cwd=folder)
    (folder / "env" / "web.tf.json").rename(folder / "env" / "web.auto.pkrvars.json")
    assert result({**NAMED, "pin_file": "env/web.auto.pkrvars.json"}, cwd=folder)["version"] == "v4"
    assert "invalid name of a pin file" in refusal({**NAMED, "pin_file": "env/web.json"}, cwd=folder)


def test_version_and_digest_of_the_query_must_be_the_pins(folder: Path) -> None:
    assert result({**NAMED, "version": "v4", "sha256": "a" * 64}, cwd=folder)["version"] == "v4"
    text = " ".join(refusal({**NAMED, "version": "v5"}, cwd=folder).split())
    assert "version is v5 in the query, v4 in" in text
    text = refusal({**NAMED, "sha256": "c" * 64}, cwd=folder)
    assert "a" * 64 in text
    assert "c" * 64 in text


def test_latest_cannot_be_answered_from_a_pin(folder: Path) -> None:
    assert "only a directory has" in " ".join(refusal({**NAMED, "version": "latest"}, cwd=folder).split())
    storage = {**NAMED, "version": "latest", "storage": "./storage"}
    assert "only a directory has" in " ".join(refusal({**storage, "verify": "pin"}, cwd=folder).split())
    assert "pin_file names one" in " ".join(refusal({**storage, "pin_file": DEFAULT}, cwd=folder).split())
    assert result(storage, cwd=folder)["version"] == "v5"


def test_the_pin_chooses_the_record_of_a_storage(folder: Path) -> None:
    answer = result({**NAMED, "storage": "./storage", "verify": "storage"}, cwd=folder)
    assert (answer["version"], answer["verified"], answer["members"]) == ("v4", "size", "12")


def test_a_template_that_the_storage_lost_is_reported_unless_only_the_pin_is_read(folder: Path) -> None:
    asked = {**NAMED, "storage": "./storage"}
    (folder / "storage/template/cache/debian-12-v4.tar.zst").write_bytes(b"half")
    assert "4 bytes" in " ".join(refusal(asked, cwd=folder).split())
    shutil.rmtree(folder / "storage")
    assert "no such storage directory" in " ".join(refusal(asked, cwd=folder).split())
    assert result({**asked, "verify": "pin"}, cwd=folder)["verified"] == "pin"


def test_differences_between_pin_and_record_are_reported_with_both_values(folder: Path) -> None:
    edited(folder, sha256="c" * 64, size=9)
    text = " ".join(refusal({**NAMED, "storage": "./storage"}, cwd=folder).split())
    for part in ("sha256 is", "a" * 64, "c" * 64, "size is 9", "8 in the template's record"):
        assert part in text


def test_a_directory_with_another_id_in_the_pin_has_a_hint(folder: Path) -> None:
    edited(folder, template_id="pve-nfs:vztmpl/debian-12-v4.tar.zst")
    text = refusal({**NAMED, "storage": "./storage"}, cwd=folder)
    assert "if Proxmox knows the directory as pve-nfs: storage" in " ".join(text.split())
    answer = result({**NAMED, "storage": "pve-nfs=storage"}, cwd=folder)
    assert answer["template_id"] == "pve-nfs:vztmpl/debian-12-v4.tar.zst"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sha256": "newer"}, "expected 64 hexadecimal digits"),
        ({"template_id": "debian-12"}, "expected a template's volid"),
        ({"size": "8"}, "expected a whole number"),
    ],
)
def test_an_invalid_pin_is_reported(folder: Path, changes: dict[str, object], expected: str) -> None:
    edited(folder, **changes)
    assert expected in " ".join(refusal(NAMED, cwd=folder).split())


def test_problems_of_other_pins_do_not_matter(folder: Path) -> None:
    content = json.loads((folder / DEFAULT).read_text())
    content["lxc_templates"]["web"] = {"template_id": 3}
    (folder / DEFAULT).write_text(json.dumps(content))
    assert result(NAMED, cwd=folder)["version"] == "v4"


def test_a_storage_is_needed_to_verify_by_one(folder: Path) -> None:
    assert "storage is missing" in " ".join(refusal({**NAMED, "verify": "storage"}, cwd=folder).split())
    assert "'both'" in refusal({**NAMED, "verify": "both"}, cwd=folder)


def test_thirty_at_once_give_the_same_bytes(folder: Path) -> None:
    with ThreadPoolExecutor(30) as pool:
        answers = set(pool.map(lambda _: run(NAMED, cwd=folder).stdout, range(30)))
    assert len(answers) == 1
    assert json.loads(answers.pop())["version"] == "v4"


def test_a_pin_is_answered_without_loading_libraries_or_storages(folder: Path) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import runpy\n"
        "try: runpy.run_module('terraform_ext', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted(set(sys.modules) - before), file=sys.stderr)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(NAMED),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environ,
        check=True,
    )
    assert json.loads(done.stdout)["version"] == "v4"
    loaded = json.loads(done.stderr.replace("'", '"'))
    ours = {"lxcast", "terraform_ext"}
    assert [name for name in loaded if name.partition(".")[0] not in ours | set(sys.stdlib_module_names)] == []
    assert "lxcast.references.entries" in loaded
    # hashlib, ssl and hcl2's grammar are what makes a start slow; the others together double the time to this answer.
    slow = {"lxcast.storages", "hashlib", "ssl", "hcl2", "subprocess"}
    assert not (slow | {"dataclasses", "inspect", "pathlib", "argparse", "typing", "textwrap"}) & set(loaded)


def test_a_variant_is_asked_for_by_name_and_never_chosen_silently(folder: Path) -> None:
    content = json.loads((folder / DEFAULT).read_text())
    entry = content["lxc_templates"].pop("debian-12")
    content["lxc_templates"] = {
        "debian-12/minimal": entry | {"variant": "minimal"},
        "debian-12/full": entry | {"variant": "full", "template_id": "local:vztmpl/debian-12-full-v4.tar.zst"},
    }
    (folder / DEFAULT).write_text(json.dumps(content))
    text = " ".join(refusal(NAMED, cwd=folder).split())
    assert "several variants of 'debian-12': 'full', 'minimal'" in text
    answer = result({**NAMED, "variant": "full"}, cwd=folder)
    assert (answer["variant"], answer["file"]) == ("full", "debian-12-full-v4.tar.zst")
    assert "no pin for the variant ''" in " ".join(refusal({**NAMED, "variant": ""}, cwd=folder).split())
    del content["lxc_templates"]["debian-12/full"]
    (folder / DEFAULT).write_text(json.dumps(content))
    assert result(NAMED, cwd=folder)["variant"] == "minimal", "the only one"


def test_a_pin_file_that_is_a_pipe_or_huge_is_refused_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe.auto.tfvars.json")
    assert "not a regular file" in refusal({**NAMED, "pin_file": "pipe.auto.tfvars.json"}, cwd=folder)
    (folder / "huge.auto.tfvars.json").write_text('{"x": "' + "x" * 5_000_000 + '"}')
    assert "expected at most" in " ".join(refusal({**NAMED, "pin_file": "huge.auto.tfvars.json"}, cwd=folder).split())


def test_any_number_of_unknown_keys_is_a_short_message(folder: Path) -> None:
    text = refusal({**NAMED, **{f"key{number}": "x" for number in range(50_000)}}, cwd=folder)
    assert "and 49980 more" in text
    assert len(text) < 5_000
