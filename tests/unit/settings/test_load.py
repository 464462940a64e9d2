from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lxcast import settings
from lxcast.errors import UsageError
from lxcast.model import conceal


def load(folder: Path, content: str = "", **environ: str) -> settings.Settings:
    if content:
        (folder / "lxcast.toml").write_text(content)
    return settings.load(folder, environ)


def test_without_a_file_everything_is_the_default(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.values == {row.name: row.default for row in settings.SETTINGS}
    assert set(found.origins.values()) == {"default"}


def test_the_environment_wins_over_the_file_and_each_origin_is_told(tmp_path: Path) -> None:
    found = load(tmp_path, 'policy = "golden"\nformat = "gz"\nmax-size = "2GiB"\nsmall = true', LXCAST_FORMAT="xz")
    assert (found.text("policy"), found.text("format"), found.values["max_size"]) == ("golden", "xz", 2 << 30)
    assert found.values["small"] is True
    assert found.origins["policy"] == str(tmp_path / "lxcast.toml")
    assert found.origins["format"] == "LXCAST_FORMAT"
    assert found.origins["pattern"] == "default"


def test_lists_are_joined_and_tables_merged(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        'remove = ["opt/a"]\n[allow]\nx = "one"\ny = "two"',
        LXCAST_REMOVE="opt/b 'opt/c d'",
        LXCAST_ALLOW="y='three more' z=",
    )
    assert found.values["remove"] == ("opt/a", "opt/b", "opt/c d")
    assert found.values["allow"] == {"x": "one", "y": "three more", "z": ""}
    assert found.origins["remove"] == f"{tmp_path / 'lxcast.toml'}, LXCAST_REMOVE"


def test_the_users_file_holds_where_the_folder_has_none(tmp_path: Path) -> None:
    (tmp_path / "config/lxcast").mkdir(parents=True)
    (tmp_path / "config/lxcast/settings.toml").write_text('arch = "arm64"')
    (tmp_path / "here").mkdir()
    assert load(tmp_path / "here", XDG_CONFIG_HOME=str(tmp_path / "config")).text("arch") == "arm64"
    (tmp_path / "config").rename(tmp_path / ".config")
    assert load(tmp_path / "here", HOME=str(tmp_path)).text("arch") == "arm64"
    assert load(tmp_path / "here", "small = true", HOME=str(tmp_path)).text("arch") == ""


def test_every_problem_is_told_at_once_with_file_key_and_value(tmp_path: Path) -> None:
    content = (
        'polcy = "golden"\npolicy = "silver"\nthreads = "two"\nenable = "x"\nadd = [1]\nmax_members = -1\nsmall = 1'
    )
    with pytest.raises(UsageError) as caught:
        load(tmp_path, content, LXCAST_THREADS="1.5", LXCAST_SMALL="maybe", LXCAST_MAX_SIZE="5Q", LXCAST_ALLOW="x")
    file = tmp_path / "lxcast.toml"
    assert caught.value.message.splitlines() == [
        f"{file}: polcy: unknown setting; did you mean policy?",
        f'{file}: policy = "silver": expected one of default, golden',
        f'{file}: threads = "two": expected a whole number from 0, got a string',
        f'{file}: enable = "x": expected a list of strings, got a string',
        f"{file}: add = [1]: expected a list of strings, got a list of other values",
        f"{file}: max_members = -1: expected a whole number from 0, got a negative number",
        f"{file}: small = 1: expected true or false, got a number",
        'environment variable LXCAST_SMALL "maybe": expected one of 1, true, yes, on, 0, false, no, off',
        "environment variable LXCAST_ALLOW \"x\": expected KEY=VALUE, got 'x'",
        'environment variable LXCAST_MAX_SIZE "5Q": expected a size such as 1TiB, 500M or 1000000',
        'environment variable LXCAST_THREADS "1.5": expected a whole number from 0, got a string',
    ]


@pytest.mark.parametrize("key", ["token", "api-token", "PM_TOKEN_SECRET", "password", "private_key"])
def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="must not contain secrets") as caught:
        load(tmp_path, f'{key} = "hunter2"')
    assert "hunter2" not in caught.value.message


def test_the_value_of_an_unknown_key_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="proxmox: unknown setting") as caught:
        load(tmp_path, '[proxmox]\ntoken = "hunter2"')
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("content", [b"policy =", b"\xff\xfe", b'"a" = "b" c'])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lxcast.toml").write_bytes(content)
    with pytest.raises(UsageError, match=str(tmp_path / "lxcast.toml")):
        load(tmp_path)


def test_variables_of_no_setting_are_told(tmp_path: Path) -> None:
    assert load(tmp_path, LXCAST_STORGE="x", OTHER="y").unknown_variables == ("LXCAST_STORGE",)


def test_the_table_is_whole() -> None:
    names = [row.name for row in settings.SETTINGS]
    assert len(set(names)) == len(names)
    for row in settings.SETTINGS:
        assert settings.convert(row, row.default) == row.default
        assert row.description.endswith(".")


@given(st.integers(0, 10**15), st.sampled_from(["", "K", "M", "G", "T", "P"]), st.sampled_from(["", "B", "iB"]))
def test_sizes_have_the_units_of_coreutils(number: int, prefix: str, ending: str) -> None:
    if not prefix and ending == "iB":
        with pytest.raises(ValueError, match="expected a size"):
            settings.parse_size(f"{number}{ending}")
        return
    base = 1000 if prefix and ending == "B" else 1024
    expected = number * base ** ["", "K", "M", "G", "T", "P"].index(prefix)
    assert settings.parse_size(f"{number}{prefix}{ending}") == expected
    assert settings.parse_size(f" {number} {prefix}{ending}".lower()) == expected


@pytest.mark.parametrize(("text", "size"), [("1TiB", 1 << 40), ("500M", 500 << 20), ("1MB", 10**6), ("12", 12)])
def test_sizes(text: str, size: int) -> None:
    assert settings.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "1.5G", "-1", "5 apples", "0x10", "1iB", "٣M", "1 2"])
def test_any_other_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        settings.parse_size(text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))))
@example(["?0=", "https://a/b?c=d"])
def test_what_show_writes_toml_reads(texts: list[str]) -> None:
    import tomllib

    shown = settings.show({"list": tuple(texts), "flag": True, "number": 3})
    safe = [conceal(text) for text in texts]
    assert tomllib.loads(f"x = {shown}")["x"] == {"list": safe, "flag": True, "number": 3}
