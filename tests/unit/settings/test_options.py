"""The options of a build: merged from file, environment and caller, and checked once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.model import FORMATS, Version
from lxcast.naming import DEFAULT_PATTERN
from lxcast.rootfs.additions import Addition
from lxcast.rootfs.checks import POLICIES
from lxcast.settings import BY_NAME, SETTINGS, Settings, Value, build_options, load, make_build_options
from lxcast.tar.reader import Limits


def test_the_caller_takes_precedence_and_lists_are_joined(tmp_path: Path) -> None:
    environ = {"LXCAST_REMOVE": "opt/a", "LXCAST_FORMAT": "gz", "LXCAST_ALLOW": "x=1 y=2", "LXCAST_STORAGE": "/srv"}
    given: dict[str, Value] = {"remove": ("opt/b",), "format": "xz", "allow": {"y": "3"}}
    options = build_options(load(tmp_path, environ).over(given), name="d")
    assert (options.content.remove, options.output.format) == (("opt/a", "opt/b"), "xz")
    assert options.checks.allow == {"x": "1", "y": "3"}
    assert (options.storage.storage, options.naming.variant, options.content.release_metadata) == ("/srv", "", None)


def test_output_replaces_the_storage_of_the_environment_and_excludes_one_of_the_caller(tmp_path: Path) -> None:
    assert build_options(load(tmp_path, {"LXCAST_STORAGE": "/srv"}), name="d", output="out").directory == Path("out")
    with pytest.raises(UsageError, match="--storage /srv and --output out exclude each other"):
        make_build_options("d", output="out", storage="/srv")


def test_a_plain_directory_has_no_id_to_pin(tmp_path: Path) -> None:
    settings = load(tmp_path, {"LXCAST_PIN_FILE": "a.tfvars.json"})
    assert build_options(settings, name="d").pin_file == Path("a.tfvars.json")
    assert build_options(settings, name="d", output=tmp_path).pin_file is None
    with pytest.raises(UsageError, match="only a template in a storage has an id"):
        make_build_options("d", output=tmp_path, pin_file="a.tfvars.json")


def test_an_empty_output_is_not_the_working_directory() -> None:
    with pytest.raises(UsageError, match="--output is empty"):
        make_build_options("d", output="")


def test_every_problem_of_the_settings_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        make_build_options("", format="zstd", policy="silver", threads=-1, colour="red")
    assert caught.value.message.splitlines() == [
        "unknown setting colour",
        '--format "zstd": expected one of zst, gz, xz, tar, oci-archive; did you mean zst?',
        '--policy "silver": expected one of default, golden',
        "--threads -1: expected a whole number from 0, got a negative number",
    ]


def test_every_problem_of_the_build_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        make_build_options("", version="0", sha256="ab", insecure_no_checksum=True)
    assert [line.partition(":")[0] for line in caught.value.message.splitlines()] == [
        "--name is empty",
        "--sha256 ab",
        "--sha256 and --insecure-no-checksum exclude each other",
        "--version 0",
    ]


@pytest.mark.parametrize(("text", "version"), [("next", None), ("v4", Version(4)), ("4", Version(4))])
def test_a_version_is_next_or_a_number(text: str, version: Version | None) -> None:
    assert make_build_options("d", version=text).version == version


def test_the_release_row_alone_asks_for_a_release_file() -> None:
    assert make_build_options("d").content.release_metadata is None
    assert make_build_options("d", enable=("release",)).content.release_metadata == {}
    assert make_build_options("d", release_metadata={"A": "b"}).content.release_metadata == {"A": "b"}


def test_the_choices_are_those_of_the_code_that_acts_on_them() -> None:
    assert BY_NAME["format"].choices == tuple(FORMATS)
    assert BY_NAME["policy"].choices == tuple(POLICIES)
    assert BY_NAME["pattern"].default == DEFAULT_PATTERN
    assert (BY_NAME["max_members"].default, BY_NAME["max_size"].default) == (Limits().members, Limits().size)


def test_the_content_depends_on_every_setting_that_affects_it_and_on_no_other() -> None:
    assert set(make_build_options("d").content_values()) == {row.name for row in SETTINGS if row.affects_content}


def test_a_setting_that_a_command_does_not_take_has_its_default(tmp_path: Path) -> None:
    settings = load(tmp_path, {"LXCAST_FORMAT": "gz", "LXCAST_POLICY": "golden"}).only(("policy",))
    assert (settings.text("format"), settings.text("policy")) == (Settings().text("format"), "golden")


component = st.text(st.characters(codec="utf-8", exclude_characters="/:\0"), min_size=1)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    st.lists(component.filter(lambda part: part not in (".", "..")), min_size=1),
    st.none() | st.integers(0, 0o7777),
)
def test_an_addition_is_read_back(host: str, parts: list[str], mode: int | None) -> None:
    text = f"{host}:/{'/'.join(parts)}" + ("" if mode is None else f":{mode:03o}")
    (kept,) = make_build_options("d", add=(text,)).content.add
    found = Addition.parse(kept)
    assert (found.path, found.mode) == ("/".join(parts).encode(), mode)
    assert found.host == Path(host)
