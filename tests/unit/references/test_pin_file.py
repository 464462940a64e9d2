import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import PinError, UsageError
from lxcast.references.entries import PinEntry
from lxcast.references.pin_file import Pin, parse_pins, with_pin

FILE = Path("templates.auto.tfvars.json")
FILES = [FILE, Path("templates.auto.pkrvars.json"), Path("templates.tf.json")]


def find_pin(data: bytes, path: Path, name: str) -> Pin:
    return Pin.of_entry(PinEntry(path, name).find(data))


def pin(number: int, name: str = "debian-12", storage: str = "pve-nfs") -> Pin:
    return Pin(
        template_id=f"{storage}:vztmpl/{name}-v{number}.tar.zst",
        version=f"v{number}",
        sha256=f"{number:064x}",
        diff_id=f"sha256:{number + 1:064x}",
        size=number * 1000,
        ostype="debian",
        arch="amd64",
    )


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,9}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
FOREIGN = st.dictionaries(st.text().filter(lambda key: key not in ("lxc_templates", "locals")), VALUES, max_size=4)
WRITES = st.lists(st.tuples(NAMES, st.integers(1, 5)), min_size=1, max_size=8)


@given(FOREIGN, WRITES, st.sampled_from(FILES))
def test_pins_are_written_one_at_a_time_and_all_else_stays(
    foreign: dict[str, Any], writes: list[tuple[str, int]], file: Path
) -> None:
    data = json.dumps(foreign).encode()
    expected: dict[str, Pin] = {}
    for name, number in writes:
        new = pin(number, name)
        before = data
        data = with_pin(data, file, name, new)
        if name in expected and expected[name].same(new):
            assert data == before
        expected[name] = new
        assert find_pin(data, file, name).same(new)
        assert with_pin(data, file, name, new) == data
    assert parse_pins(data, file).keys() == expected.keys()
    assert all(parse_pins(data, file)[name].same(each) for name, each in expected.items())
    content = json.loads(data)
    (content["locals"] if file.name.endswith(".tf.json") else content).pop("lxc_templates")
    assert content == foreign | ({"locals": {}} if file.name.endswith(".tf.json") else {})


@given(st.lists(st.tuples(NAMES, st.integers(1, 9)), unique_by=lambda each: each[0], max_size=5), st.randoms())
def test_the_bytes_do_not_depend_on_the_order_of_the_writes(pins: list[tuple[str, int]], dice: Any) -> None:
    shuffled = [*pins]
    dice.shuffle(shuffled)
    files = [b"", b""]
    for at, order in enumerate((pins, shuffled)):
        for name, number in order:
            files[at] = with_pin(files[at], FILE, name, pin(number, name))
    assert files[0] == files[1]


def test_the_file_is_what_terraform_loads() -> None:
    assert json.loads(with_pin(with_pin(b"", FILE, "debian-12", pin(3)), FILE, "debian-12", pin(4))) == {
        "lxc_templates": {
            "debian-12": {
                "template_id": "pve-nfs:vztmpl/debian-12-v4.tar.zst",
                "version": "v4",
                "sha256": f"{4:064x}",
                "diff_id": f"sha256:{5:064x}",
                "size": 4000,
                "ostype": "debian",
                "arch": "amd64",
                "hints": {},
                "previous": {
                    "template_id": "pve-nfs:vztmpl/debian-12-v3.tar.zst",
                    "version": "v3",
                    "sha256": f"{3:064x}",
                    "diff_id": f"sha256:{4:064x}",
                    "size": 3000,
                    "ostype": "debian",
                    "arch": "amd64",
                    "hints": {},
                },
            }
        }
    }


def test_of_a_records_hints_a_pin_keeps_those_that_make_a_container() -> None:
    hints: dict[str, Any] = {"disk_gb": 2, "nesting": True, "unprivileged": True, "memory": 96, "cpulimit": 2.5}
    hints |= {"features": ["fuse=1"], "mounts": [{"destination": "/data", "options": []}], "init": "auto"}
    known = {**asdict(pin(3)), "hints": {**hints, "nodes": ["pve"], "cmd": ["sh"], "env": ["A=b"], "uid": 5}}
    assert Pin.of(known).hints == hints
    plain = json.loads(with_pin(with_pin(b"", FILE, "debian-12", pin(2)), FILE, "debian-12", pin(3)))
    del plain["lxc_templates"]["debian-12"]["hints"]  # as written by hand
    data = with_pin(json.dumps(plain).encode(), FILE, "debian-12", Pin.of(known))
    assert json.loads(data)["lxc_templates"]["debian-12"]["hints"] == hints
    assert find_pin(data, FILE, "debian-12").previous == pin(2), "the same template, told in more detail"


def test_a_pin_keeps_the_program_that_proxmox_is_to_start() -> None:
    hints = {"init": "app", "entrypoint": ["/bin/app"], "cmd": ["x"], "env": ["A=b"], "uid": 5, "gid": 6}
    assert Pin.of({**asdict(pin(3)), "hints": {**hints, "volumes": ["/data"]}}).hints == hints


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ([], "hints: expected an object, got []"),
        ({"nesting": 1}, "hints: invalid nesting 1"),
        ({"memory": True}, "hints: invalid memory true"),
        ({"cpulimit": "2"}, 'hints: invalid cpulimit "2"'),
        ({"features": [1]}, "hints: invalid features [1]"),
        ({"mounts": ["/srv"]}, 'hints: invalid mounts ["/srv"]'),
    ],
)
def test_hints_of_a_wrong_type_are_reported(hints: object, expected: str) -> None:
    content = json.loads(with_pin(b"", FILE, "debian-12", pin(3)))
    content["lxc_templates"]["debian-12"]["hints"] = hints
    with pytest.raises(PinError, match=re.escape(f"{FILE}: debian-12: {expected}")):
        find_pin(json.dumps(content).encode(), FILE, "debian-12")


def test_the_format_comes_and_goes_with_its_template() -> None:
    image, plain = replace(pin(4), format="oci-archive"), pin(3)
    data = with_pin(with_pin(b"", FILE, "debian-12", plain), FILE, "debian-12", image)
    entry = json.loads(data)["lxc_templates"]["debian-12"]
    assert entry["format"] == "oci-archive"
    assert "format" not in entry["previous"], "it was written without"
    back = with_pin(data, FILE, "debian-12", plain)
    assert "format" not in json.loads(back)["lxc_templates"]["debian-12"]
    assert find_pin(back, FILE, "debian-12").previous == image


@pytest.mark.parametrize("format", ["", 1, None, "a b"])
def test_an_invalid_format_is_reported(format: object) -> None:
    content = json.loads(with_pin(b"", FILE, "debian-12", pin(3)))
    content["lxc_templates"]["debian-12"]["format"] = format
    with pytest.raises(PinError, match=f"debian-12: format: expected a.*, got {json.dumps(format)}"):
        find_pin(json.dumps(content).encode(), FILE, "debian-12")


def test_keys_and_the_final_newline_are_in_a_fixed_form() -> None:
    data = with_pin('{"z": 1, "ä": {"b": 1, "a": 2}}'.encode(), FILE, "debian-12", pin(3)).decode()
    assert data.startswith('{\n  "lxc_templates": {\n    "debian-12": {\n      "arch": "amd64",\n      "diff_id"')
    assert data.endswith('  "z": 1,\n  "ä": {\n    "a": 2,\n    "b": 1\n  }\n}\n')


def test_a_note_that_someone_added_to_an_entry_stays() -> None:
    content = json.loads(with_pin(b"", FILE, "debian-12", pin(3)))
    content["lxc_templates"]["debian-12"]["reason"] = "CVE"
    written = json.loads(with_pin(json.dumps(content).encode(), FILE, "debian-12", pin(4)))
    assert written["lxc_templates"]["debian-12"]["reason"] == "CVE"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", "invalid JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\xff"}', "invalid JSON"),
        (b'{"a": 1.00000000000000000001}', "would be rounded"),
        (b'{"a": 1e999}', "would be rounded"),
        (b'{"a": NaN}', "without a loss"),
        (b'{"a": "\\ud800"}', "without a loss"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"lxc_templates": []}', "lxc_templates is not an object"),
        (b'{"lxc_templates": {"debian-12": {}}}', "template_id is missing"),
        (b'{"lxc_templates": {"debian-12": "v3"}}', "debian-12 is not an object"),
    ],
)
def test_a_file_that_would_lose_data_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(PinError, match=expected) as caught:
        with_pin(data, FILE, "debian-12", pin(3))
    assert caught.value.message.startswith(str(FILE))
    assert caught.value.hint


def test_all_problems_of_the_pins_are_reported_at_once() -> None:
    content = json.loads(with_pin(with_pin(b"", FILE, "a", pin(1)), FILE, "b", pin(2)))
    content["lxc_templates"]["a"] |= {"size": "big", "sha256": "A" * 64, "template_id": "v3"}
    content["lxc_templates"]["b"] |= {"version": "3", "previous": {"arch": 1}}
    with pytest.raises(PinError) as caught:
        parse_pins(json.dumps(content).encode(), FILE)
    lines = caught.value.message.splitlines()
    assert len([line for line in lines if line.startswith(f"{FILE}: a: ")]) == 3
    assert any(line.startswith(f"{FILE}: b: version") for line in lines)
    assert any(line.startswith(f"{FILE}: b: previous: arch: expected a string, got 1") for line in lines)
    assert find_pin(with_pin(b"", FILE, "a", pin(1)), FILE, "a") == pin(1)


def test_one_id_with_other_bytes_is_refused() -> None:
    data = with_pin(b"", FILE, "debian-12", pin(3))
    other = replace(pin(3), sha256="f" * 64)
    with pytest.raises(PinError, match=f"pinned with sha256 {3:064x}, the storage has {'f' * 64}"):
        with_pin(data, FILE, "debian-12", other)


def test_a_missing_name_lists_the_existing_ones() -> None:
    with pytest.raises(PinError, match="has no pin for 'x'") as caught:
        find_pin(with_pin(b"", FILE, "debian-12", pin(3)), FILE, "x")
    assert caught.value.hint == "it has: debian-12"


@pytest.mark.parametrize("name", ["main.tf", "templates.json", "templates.tfvars"])
def test_a_file_name_that_no_tool_loads_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="invalid name of a pin file"):
        with_pin(b"", Path(name), "debian-12", pin(3))
