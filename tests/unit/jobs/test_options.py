from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.jobs.options import BuildOptions, build_options
from lxcast.model import FORMATS
from lxcast.naming import DEFAULT_PATTERN
from lxcast.rootfs.additions import Addition
from lxcast.rootfs.checks import POLICIES
from lxcast.settings import BY_NAME, Settings, load
from lxcast.tar.reader import Limits


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


def test_a_folder_that_is_no_storage_has_no_id_to_pin(tmp_path: Path) -> None:
    settings = load(tmp_path, {"LXCAST_PIN_FILE": "a.tfvars.json"})
    assert build_options(settings, {"name": "d"}).pin_file == "a.tfvars.json"
    assert build_options(settings, {"name": "d", "output": tmp_path}).pin_file == ""
    with pytest.raises(UsageError, match="only a storage gives an id"):
        build_options(Settings(), {"name": "d", "output": tmp_path, "pin_file": "a.tfvars.json"})


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
        "--add 'motd' is not HOST",
        "--add 'a",
    ]


def test_the_release_row_alone_asks_for_a_release_file() -> None:
    assert build_options(Settings(), {"name": "d"}).release_metadata is None
    assert build_options(Settings(), {"name": "d", "enable": ("release",)}).release_metadata == {}
    assert build_options(Settings(), {"name": "d", "release_metadata": {"A": "b"}}).release_metadata == {"A": "b"}


def test_the_choices_are_those_of_the_code_that_acts_on_them() -> None:
    assert BY_NAME["format"].choices == tuple(FORMATS)
    assert BY_NAME["policy"].choices == tuple(POLICIES)
    assert BY_NAME["pattern"].default == DEFAULT_PATTERN
    assert (BY_NAME["max_members"].default, BY_NAME["max_size"].default) == (Limits().members, Limits().size)


component = st.text(st.characters(codec="utf-8", exclude_characters="/:\0"), min_size=1)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    st.lists(component.filter(lambda part: part not in (".", "..")), min_size=1),
    st.none() | st.integers(0, 0o7777),
)
def test_an_addition_is_read_back(host: str, parts: list[str], mode: int | None) -> None:
    text = f"{host}:/{'/'.join(parts)}" + ("" if mode is None else f":{mode:03o}")
    (kept,) = BuildOptions(name="d", add=(text,)).add
    found = Addition.parse(kept)
    assert (found.path, found.mode) == ("/".join(parts).encode(), mode)
    assert found.host == Path(host)
