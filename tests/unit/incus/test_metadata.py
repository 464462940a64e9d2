"""Metadata that builders write is read; what a hostile one would cost is bounded."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import ArchiveError
from lxcast.incus.metadata import Metadata, read_metadata

DISTROBUILDER = b"""\
architecture: x86_64
creation_date: 1700000000
expiry_date: 1702592000
properties:
  architecture: amd64
  description: Debian bookworm amd64 (20231114_22:13)
  os: debian
  release: bookworm
  variant: default
  serial: "20231114_22:13"
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
"""


def read(text: bytes) -> Metadata:
    return read_metadata({"metadata.yaml": text}, "x.tar")


def test_what_distrobuilder_writes_for_incus() -> None:
    found = read(DISTROBUILDER)
    assert found.values["creation_date"] == 1700000000
    assert (found.said("os"), found.said("release"), found.said("variant")) == ("debian", "bookworm", "default")
    assert found.said("architecture") == "amd64"
    assert found.said("cloud") == ""
    assert found.values["templates"]["/etc/hostname"]["when"] == ["create", "copy"]


def test_what_distrobuilder_writes_for_lxc() -> None:
    files = {
        "templates": b"/etc/hostname\n/etc/hosts\n\n",
        "create-message": b"You made one.\n",
        "expiry": b"17\n",
    }
    found = read_metadata({**files, "config": b"lxc.include = x\n"}, "meta.tar.xz")
    assert found.placeholders == {b"etc/hostname", b"etc/hosts"}
    assert found.values == {"create-message": "You made one.", "expiry": "17"}


def test_dates_and_odd_keys_become_what_json_can_hold() -> None:
    assert read(b"7: 2024-02-03\ntrue: {null: .5}\n").values == {"7": "2024-02-03", "true": {"null": 0.5}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: &a [x]\nb: *a\n", "alias"),
        (b"a: &a [*a]\n", "alias"),
        (b"[" * 100_000, "nested deeper"),
        (b"a: " + b"{b: " * 50 + b"c" + b"}" * 50, "nested deeper"),
        (b"- a\n" * 50_000, "parts"),
        (b"a: !!python/object/apply:os.system [id]\n", "is not YAML that lxcast can read"),
        (b"a: .inf\n", "is not YAML that lxcast can read"),
        (b"a: 2024-99-99\n", "is not YAML that lxcast can read"),
        (b"? [a]\n: b\n", "is not YAML that lxcast can read"),
        (b"a: [b\n", "is not YAML that lxcast can read"),
        (b"a: \x00\n", "is not YAML that lxcast can read"),
        (b"- a\n", "holds no mapping"),
        (b"", "holds no mapping"),
    ],
)
def test_what_is_hostile_or_broken_is_refused_at_once(text: bytes, said: str) -> None:
    began = time.process_time()
    with pytest.raises(ArchiveError, match=said) as told:
        read(text)
    assert time.process_time() - began < 60
    assert told.value.message.startswith("x.tar: metadata.yaml ")
    assert len(told.value.message) < 500


@given(st.binary(max_size=200) | st.text(alphabet="-[]{}:,&*!|>'\"%@` \nab1", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        values = read(text).values
    except ArchiveError:
        return
    assert isinstance(values, dict)
