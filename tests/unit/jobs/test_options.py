from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.jobs.options import Addition, BuildOptions, build_options
from lxcast.settings import Settings, load

component = st.text(st.characters(codec="utf-8", exclude_characters="/:\0"), min_size=1).filter(
    lambda text: text not in (".", "..")
)


def test_the_command_wins_over_the_settings_and_lists_are_joined(tmp_path: Path) -> None:
    environ = {"LXCAST_REMOVE": "opt/a", "LXCAST_FORMAT": "gz", "LXCAST_ALLOW": "x=1 y=2", "LXCAST_STORAGE": "/srv"}
    given = {"name": "d", "remove": ("opt/b",), "format": "xz", "allow": {"y": "3"}, "variant": None}
    options = build_options(load(tmp_path, environ), given)
    assert (options.remove, options.format, options.allow) == (("opt/a", "opt/b"), "xz", {"x": "1", "y": "3"})
    assert (options.storage, options.variant, options.release_metadata) == ("/srv", "", None)


def test_output_takes_the_place_of_the_settings_storage(tmp_path: Path) -> None:
    options = build_options(load(tmp_path, {"LXCAST_STORAGE": "/srv"}), {"name": "d", "output": tmp_path})
    assert (options.storage, options.output) == (None, tmp_path)
    with pytest.raises(UsageError, match="goes to one of them"):
        build_options(Settings(), {"name": "d", "output": tmp_path, "storage": "/srv"})


def test_the_defaults_are_those_of_the_settings() -> None:
    assert build_options(Settings(), {"name": "d"}) == BuildOptions(name="d")


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        BuildOptions(name="", format="rar", policy="silver", version="4", add=("motd", "a:/b/../c"), threads=-1)
    assert [line.partition(":")[0] for line in caught.value.message.splitlines()] == [
        "--name is empty",
        "--format rar",
        "--policy silver",
        "--threads -1",
        "--version 4",
        "--add motd",
        "--add a",
    ]


@given(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.lists(component, min_size=1),
    st.none() | st.integers(0, 0o7777),
)
def test_an_addition_is_read_back(host: str, parts: list[str], mode: int | None) -> None:
    if "\0" in host:
        return
    text = f"{host}:/{'/'.join(parts)}" + ("" if mode is None else f":{mode:03o}")
    assert Addition.parse(text) == Addition(Path(host), "/".join(parts).encode(), mode)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a", "a:", ":/b", "a:b", "a:/", "a:/b/", "a:/b/.", "a:/../b", "a:/b/../c", "a:/b:9", "a:644", "a:/b\0"],
)
def test_what_is_no_addition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PATH"):
        Addition.parse(text)
