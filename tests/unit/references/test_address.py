from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.references.address import Nth, Step, below, parse_address, show_address, split_target
from lxcast.references.hcl import parse

NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True)
IN_BLOCK = st.tuples(
    st.builds(Nth, st.integers(0, 9), st.booleans()), st.from_regex(r"[a-z_][a-z0-9-]*", fullmatch=True)
)
STEPS = st.lists(st.tuples(NAMES) | st.tuples(st.integers(0, 99)) | IN_BLOCK, max_size=6)


@given(NAMES, STEPS)
def test_a_shown_address_is_parsed_back_to_its_path(first: str, steps: list[tuple[Step, ...]]) -> None:
    path = (first, *(step for each in steps for step in each))
    assert below(path, parse_address(show_address(path))) == ()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("v", ("v",)),
        ("local.lxc_rootfs_version", ("local", "lxc_rootfs_version")),
        ("module.web-1.disks[0].size", ("module", "web-1", "disks", "0", "size")),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ('["a b"].c', ("a b", "c")),
        ("local.o.2", ("local", "o", "2")),
        ('a["\\"]"]', ("a", '"]')),
    ],
)
def test_addresses_are_read(text: str, names: tuple[str, ...]) -> None:
    assert parse_address(text) == names


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a[", "a[b]", 'a["b]', "a[-1]", 'a["\\q"]', "a.[0]"]
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the address"):
        parse_address(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert parse_address(text)


def test_the_number_of_a_block_may_be_left_out() -> None:
    path = ("a", "b", Nth(1, True), "c")
    assert below(path, ("a", "b", "c")) == ()
    assert below(path, ("a", "b", "1", "c")) == ()
    assert below(path, ("a", "b", "0", "c")) is None
    assert below(path, ("a",)) == path[1:]


def test_a_colon_in_a_file_name_is_part_of_it_where_that_file_is(tmp_path: Path) -> None:
    odd = tmp_path / "a:b.tf"
    odd.touch()
    assert split_target(f"{odd}:local.v") == (odd, "local.v")
    assert split_target(str(odd)) == (odd, "")
    assert split_target("none.tf:local.v") == (Path("none.tf"), "local.v")
    assert split_target("none.tf") == (Path("none.tf"), "")


@pytest.mark.parametrize(
    ("name", "text", "address"),
    [
        ("main.tf", 'variable "v" {\n  default = "x"\n}\n', "var.v"),
        ("main.tf", 'variable "o" {\n  default = { a = "x" }\n}\n', "var.o.a"),
        ("prod.tfvars", 'v = "x"\n', "var.v"),
        ("prod.tfvars.json", '{"v": "x"}', "var.v"),
        ("main.tf", 'resource "docker_image" "web" {\n  name = "x"\n}\n', "docker_image.web.name"),
        ("main.tf", 'resource "docker_image" "web" {\n  name = "x"\n}\n', "resource.docker_image.web.name"),
        ("main.tf", 'module "web" {\n  v = "x"\n}\n', "module.web.v"),
        ("main.tf", 'data "external" "d" {\n  query = { v = "x" }\n}\n', "data.external.d.query.v"),
        ("main.tf.json", '{"resource": {"a": {"b": {"c": [{"d": "x"}]}}}}', "a.b.c[0].d"),
        ("main.tf.json", '{"variable": {"v": {"default": "x"}}}', "var.v"),
    ],
)
def test_an_address_is_accepted_as_terraform_writes_references(name: str, text: str, address: str) -> None:
    assert parse(text.encode(), Path(name)).find(address).value == "x"
