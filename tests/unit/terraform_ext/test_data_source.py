"""The data source as Terraform runs it: a process, a query on its standard input, a result on its standard output."""

import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxcast.references.entries import DEFAULT
from tests.published import pin, publish
from tests.unit.terraform_ext.asking import KEYS, refusal, result, run


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    publish(tmp_path, "debian-12", 1)
    publish(tmp_path, "debian-12", 2)
    publish(tmp_path, "debian-12", 10, b"the newest template")
    publish(tmp_path, "debian-12-web", 11)
    return tmp_path


def query(folder: Path, **changes: str) -> dict[str, str]:
    return {"name": "debian-12", "version": "v2", "storage": str(folder), **changes}


def test_a_pinned_version_answers_its_record(storage: Path) -> None:
    answer = result(query(storage))
    assert set(answer) == KEYS
    assert answer["template_id"] == "local:vztmpl/debian-12-v2.tar.zst"
    assert (answer["name"], answer["version"], answer["size"], answer["schema"]) == ("debian-12", "v2", "8", "1")
    assert (answer["node"], answer["ctime"], answer["verified"], answer["warnings"]) == ("", "1700000000", "size", "[]")
    assert answer["cleanup"] == '{"tmp":{"bytes":10,"members":2}}'
    assert json.loads(answer["checks"]) == {"no-init": "allowed: täglich <neu>"}
    assert json.loads(answer["source"]) == {"kind": "tar", "reference": "rootfs.tar", "digest": ""}


def test_one_query_always_gives_the_same_bytes_and_writes_nothing(storage: Path) -> None:
    def tree() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in storage.rglob("*"))

    before = tree()
    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(lambda _: run(query(storage)).stdout, range(10)))
    assert len(answers) == 1
    assert tree() == before


def test_latest_is_the_highest_number_and_says_that_it_is_not_pinned(storage: Path) -> None:
    answer = result(query(storage, version="latest"))
    assert answer["template_id"] == "local:vztmpl/debian-12-v10.tar.zst"
    (warning,) = json.loads(answer["warnings"])
    assert "latest" in warning
    assert 'version = "v10"' in warning


def test_latest_passes_over_a_claim_that_no_build_finished(storage: Path) -> None:
    (storage / "template/cache/debian-12-v11.json").touch()
    assert result(query(storage, version="latest"))["version"] == "v10"
    assert "was aborted" in " ".join(refusal(query(storage, version="v11")).split())


def test_the_storage_id_of_the_query_is_the_one_of_the_answer(storage: Path) -> None:
    answer = result(query(storage, storage=f"pve-nfs={storage}"))
    assert answer["template_id"] == "pve-nfs:vztmpl/debian-12-v2.tar.zst"
    assert answer["storage"] == "pve-nfs"


def test_a_relative_storage_starts_where_the_program_runs(storage: Path) -> None:
    assert result(query(storage, storage=f"./{storage.name}"), cwd=storage.parent)["version"] == "v2"


def test_a_name_is_needed_and_no_key_is_empty(storage: Path) -> None:
    assert "name is missing" in refusal({"version": "v2", "storage": str(storage)})
    for key in ("name", "version", "storage", "node", "sha256", "pin_file", "verify"):
        assert f"{key} is empty" in refusal(query(storage, **{key: ""}))


def test_without_a_version_there_must_be_a_pin(storage: Path) -> None:
    text = refusal({"name": "debian-12", "storage": str(storage)}, cwd=storage)
    assert "templates.auto.tfvars.json: No such file" in " ".join(text.split())
    assert "lxcast pin write debian-12" in text


def test_the_digest_of_the_query_must_be_the_records(storage: Path) -> None:
    assert result(query(storage, sha256="a" * 64))["sha256"] == "a" * 64
    text = refusal(query(storage, sha256="c" * 64))
    assert "a" * 64 in text
    assert "c" * 64 in text
    assert "'newer'" in refusal(query(storage, sha256="newer"))


def test_every_problem_is_told_at_once(storage: Path) -> None:
    text = refusal({"version": "newest", "node": "pve 1", "host": "pve1", "api_token": "hunter2", "storage": 7})
    for part in (
        "name is missing",
        "'newest'",
        "'pve 1', which is no node's name",
        "unknown key 'host' in the query",
        "'api_token' looks like a secret",
        "storage is a number",
    ):
        assert part in " ".join(text.split())
    assert "plain text in its state" in " ".join(text.split())
    assert "hunter2" not in text


@pytest.mark.parametrize("key", ["password", "PM_PASS", "token", "proxmox_api_token", "secret", "api_key", "apikey"])
def test_a_key_that_looks_like_a_secret_is_told_why(storage: Path, key: str) -> None:
    assert "looks like a secret" in " ".join(refusal(query(storage, **{key: "hunter2"})).split())


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" \n", b"{", b"null", b"[]", b'"x"', b"3", b'{"name":"a","name":"b"}', b"\xff", b"\xef\xbb\xbf{}"),
        *(b"{}{}", b"[" * 100_000, b'{"name":' * 100_000),
    ],
)
def test_what_is_no_query_is_refused(text: bytes) -> None:
    assert refusal(text)


def test_a_template_that_is_not_there_is_told_with_those_that_are(storage: Path) -> None:
    text = " ".join(refusal(query(storage, version="v3")).split())
    assert "v3" in text
    assert "v1, v2, v10" in text
    assert "debian-12-web" in " ".join(refusal(query(storage, name="debian-13")).split())
    assert "no-such" in refusal(query(storage, storage=str(storage / "no-such")))


def test_a_record_without_its_template_is_told(storage: Path) -> None:
    template = storage / "template/cache/debian-12-v2.tar.zst"
    template.write_bytes(b"half")
    text = " ".join(refusal(query(storage)).split())
    assert "4 bytes" in text
    assert "8" in text
    template.unlink()
    assert "has a record but no template" in " ".join(refusal(query(storage)).split())


def test_a_record_that_is_none_is_told(storage: Path) -> None:
    (storage / "template/cache/debian-12-v2.json").write_text('{"schema": 1}')
    assert "debian-12-v2.json" in refusal(query(storage))


def test_a_name_cannot_leave_the_folder(storage: Path) -> None:
    outside = storage / "debian-12-v1.json"
    outside.write_bytes((storage / "template/cache/debian-12-v1.json").read_bytes())
    refusal(query(storage, name="../../debian-12", version="v1"))


def test_values_and_keys_of_any_length_give_a_short_answer(storage: Path) -> None:
    text = refusal({"name": "x" * (1 << 20), "y" * 1000: "z"})
    assert len(text) < 1000
    assert "name has 1048576 characters, and may have 4095" in " ".join(text.split())
    assert f"'{'y' * 60}'... in the query" in " ".join(text.split())


@pytest.mark.parametrize("storage_name", ["a" * 300, "/" + "a" * 300, "nfs=/" + "a" * 300])
def test_a_storage_whose_name_the_system_refuses_is_an_error_without_a_traceback(
    storage: Path, storage_name: str
) -> None:
    text = refusal({"name": "debian-12", "version": "v2", "storage": storage_name})
    assert "too long" in text.lower()
    assert "Traceback" not in text


def test_many_unknown_keys_give_a_short_answer(storage: Path) -> None:
    assert len(refusal({f"key{number}": "x" for number in range(20_000)})) < 5000


def test_lines_are_as_narrow_as_terraform_shows_them(storage: Path) -> None:
    for line in refusal({"password": "x", "version": "x" * 10}).splitlines():
        assert len(line) <= 75


def test_help_has_an_example_that_works(storage: Path) -> None:
    done = run(b"", "--help")
    assert done.returncode == 0
    assert all(len(line) <= 120 for line in done.stdout.decode().splitlines())
    examples = [line.split("'")[1] for line in done.stdout.decode().splitlines() if "| lxcast-data" in line]
    pin(storage / DEFAULT, publish(storage, "debian-12", 4))
    assert len(examples) == 2
    for example in examples:
        assert result(example.replace("/mnt/pve/pve-nfs", f"local={storage}").encode(), cwd=storage)["version"] == "v4"


def test_on_a_terminal_it_shows_the_help_instead_of_waiting() -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "terraform_ext"],
            stdin=theirs,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=240,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b'data "external"' in done.stderr


def test_other_arguments_are_refused() -> None:
    assert run(b"{}", "--name", "debian-12").returncode == 1


def test_it_loads_no_library_that_is_not_pythons_own(storage: Path) -> None:
    code = (
        "import sys, runpy\n"
        "try: runpy.run_module('terraform_ext', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "ours = {'lxcast', 'terraform_ext'} | set(sys.stdlib_module_names)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - ours - set(before)), file=sys.stderr)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; before = [n.partition('.')[0] for n in sys.modules]\n" + code],
        input=json.dumps(query(storage)).encode(),
        capture_output=True,
        env=environ,
        check=True,
    )
    assert done.stderr == b"[]\n"
    assert json.loads(done.stdout)


ASKED = st.dictionaries(
    st.sampled_from(["name", "version", "storage", "token", "x"]) | st.text(max_size=8),
    st.text(max_size=20) | st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(ASKED)
def test_any_query_is_answered_or_refused_in_words(asked: dict[str, Any]) -> None:
    done = run(json.dumps(asked).encode())
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr
    assert b"Traceback" not in done.stderr
