import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import StorageError
from lxcast.record import Origin, Record, parse_record

KEYS = (
    *("schema", "name", "version", "file", "template_id", "storage", "size", "unpacked_size", "members", "sha256"),
    *("diff_id", "format", "compressor", "ostype", "release", "arch", "created", "lxcast", "source"),
    *("rules", "cleanup", "fit", "checks", "hints", "metadata"),
)

RECORD = Record(
    name="debian-12",
    version="v4",
    file="debian-12-v4.tar.zst",
    template_id="local:vztmpl/debian-12-v4.tar.zst",
    storage="local",
    size=5,
    unpacked_size=10,
    members=3,
    sha256="ab" * 32,
    diff_id="sha256:" + "cd" * 32,
    format="zst",
    compressor="zstd 1.5.7 level 3",
    created="2026-11-21T10:33:00Z",
    lxcast="0.1.0",
    source=Origin("docker-container", "web", ""),
    cleanup={"logs": {"members": 2, "bytes": 7}},
)


def test_a_record_from_before_a_key_is_read() -> None:
    old = json.loads(RECORD.to_json())
    del old["metadata"]
    assert parse_record(json.dumps(old), "x.json") == RECORD


def test_a_record_with_a_variant_holds_it_behind_the_version() -> None:
    keys = [*KEYS]
    keys.insert(keys.index("version") + 1, "variant")
    record = replace(RECORD, variant="minimal")
    assert list(json.loads(record.to_json())) == keys
    assert parse_record(record.to_json(), "x.json") == record


def test_the_keys_are_those_that_were_promised_in_their_order() -> None:
    assert tuple(json.loads(RECORD.to_json())) == KEYS
    assert RECORD.to_json().endswith("}\n")


@given(
    st.text(min_size=1),
    st.integers(0, 2**60),
    st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists)),
)
def test_a_record_reads_back_as_it_was(reference: str, size: int, hints: dict[str, object]) -> None:
    record = replace(RECORD, source=Origin("tar", reference), size=size, hints=hints)
    text = record.to_json()
    assert parse_record(text, "x.json") == record
    assert parse_record(text, "x.json").to_json() == text
    assert text.isascii()


def test_a_key_of_a_later_version_is_ignored() -> None:
    data = json.loads(RECORD.to_json()) | {"signature": "x"}
    assert parse_record(json.dumps(data), "x.json") == RECORD


def test_every_problem_is_said_with_the_file_and_the_key() -> None:
    data = json.loads(RECORD.to_json())
    del data["members"]
    data |= {
        "size": -1,
        "sha256": "AB",
        "file": "../x",
        "name": "",
        "version": "4",
        "cleanup": [],
        "source": {"kind": 1},
    }
    with pytest.raises(StorageError) as caught:
        parse_record(json.dumps(data), "/srv/x.json")
    for said in ("/srv/x.json", "members is missing", "size is -1", 'sha256 is "AB"', 'file is "../x"', 'name is ""'):
        assert said in caught.value.message
    for said in ('version is "4"', "cleanup is []", "source.kind is 1", "source.reference is null"):
        assert said in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\xff", '{"schema": true}', "[" * 100_000, '{"name": NaN}'])
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(StorageError, match=r"x\.json is not a valid record"):
        parse_record(text.encode("latin-1"), "x.json")


def test_a_newer_schema_asks_for_a_newer_lxcast() -> None:
    data = json.loads(RECORD.to_json()) | {"schema": 2}
    with pytest.raises(StorageError, match="schema 2") as caught:
        parse_record(json.dumps(data), "x.json")
    assert "update lxcast" in caught.value.hint
