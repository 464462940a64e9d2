"""Variables and options of the Packer shim, and the command that resumes a build."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from packer_post.request import Request, read_request

MINIMAL = {"LXCAST_SOURCE": "rootfs.tar", "LXCAST_NAME": "debian-12"}


def refusal(request: Request) -> str:
    with pytest.raises(UsageError) as raised:
        request.options()
    return raised.value.message


def test_variables_and_options_say_the_same() -> None:
    environ = {
        **MINIMAL,
        "LXCAST_STORAGE": "pve=/srv/pve",
        "LXCAST_IF_CHANGED": "true",
        "LXCAST_ALLOW": "'no-init=on purpose'",
    }
    words = ["--source", "rootfs.tar", "--name", "debian-12", "--storage", "pve=/srv/pve", "--if-changed"]
    words += ["--allow", "no-init=on purpose"]
    by_variable, by_option = read_request([], environ), read_request(words, {})
    assert by_variable.options() == by_option.options()
    assert by_variable.source == by_option.source == "rootfs.tar"
    assert by_variable.options().checks.allow == {"no-init": "on purpose"}


def test_an_option_wins_over_a_variable_and_lists_are_joined() -> None:
    request = read_request(["--name", "other", "--disable", "logs"], {**MINIMAL, "LXCAST_DISABLE": "tmp mail"})
    assert request.options().naming.name == "other"
    assert request.options().content.disable == ("tmp", "mail", "logs")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = refusal(
        read_request(["--frmat", "zip"], {"LXCAST_POLICY": "iron", "LXCAST_VERISON": "v2", "LXCAST_SMALL": "?"})
    )
    for part in (
        "--frmat",
        "iron",
        "did you mean LXCAST_VERSION?",
        "LXCAST_SMALL",
        "LXCAST_SOURCE is missing",
        "LXCAST_NAME is missing",
    ):
        assert part in text


def test_a_variable_of_another_program_is_none_of_ours() -> None:
    assert read_request([], {**MINIMAL, "LXCAST_TOOLS": "/opt"}).options().naming.name == "debian-12"


def test_the_value_of_an_unknown_option_is_not_repeated() -> None:
    text = refusal(read_request(["--token=hunter2", "--password", "hunter3"], MINIMAL))
    assert "--token" in text
    assert "hunter" not in text


def test_what_packer_does_not_know_is_no_source() -> None:
    request = read_request([], {**MINIMAL, "LXCAST_SOURCE": "<unknown>"})
    assert request.source == ""
    assert "LXCAST_SOURCE is '<unknown>'" in refusal(request)


def test_output_takes_the_place_of_the_storage() -> None:
    options = read_request(["--output", "out"], MINIMAL).options()
    assert options.directory == Path("out")


WORD = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@given(
    st.fixed_dictionaries(
        {"name": WORD},
        optional={
            "storage": WORD,
            "version": st.sampled_from(["next", "v3"]),
            "if_changed": st.just(True),
            "threads": st.integers(0, 99),
            "disable": st.lists(WORD, min_size=1).map(tuple),
            "allow": st.dictionaries(WORD.filter(lambda text: "=" not in text), WORD, min_size=1),
        },
    )
)
def test_the_resuming_command_says_all_that_was_said(
    said: dict[str, str | int | bool | tuple[str, ...] | dict[str, str]],
) -> None:
    program, verb, source, *words = shlex.split(Request(said).command("rootfs kept.tar"))
    assert (program, verb, source) == ("lxcast", "build", "rootfs kept.tar")
    again = read_request(words, {})
    assert again.values == said
    assert again.problems == ()
