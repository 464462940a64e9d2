import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.identifiers import suffix_of
from lxcast.model import Version, Volid
from lxcast.naming import FIELDS, Naming, Pattern, naming

VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,12}", fullmatch=True).filter(
    lambda text: not suffix_of("x" + text)
)


def test_the_default_is_name_and_version() -> None:
    assert naming("debian-12").render(Version(4)) == "debian-12-v4"


def test_every_field_has_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795257180")
    full = Naming(
        "n", Pattern("_".join(f"{{{field}}}" for field in FIELDS)), "base", "12", "amd64", "sha256:" + "ab" * 32
    )
    assert full.render(Version(2)) == "n_base_12_amd64_v2_20261121T103300Z_20261121_abababababab"


def test_versions_of_a_name_are_found_in_a_listing() -> None:
    series = naming("debian", "{name}-{date}-{variant}-{version}", variant="base").series()
    listing = [
        "debian-20260101-base-v3",
        "debian-20260102-base-v10",
        "debian-20260102-full-v11",
        "xdebian-20260102-base-v12",
    ]
    assert [match["version"] for each in listing if (match := series.fullmatch(each))] == ["v3", "v10"]


def test_a_dot_in_a_name_is_only_a_dot() -> None:
    assert not naming("a.b").series().fullmatch("axb-v1")


@given(VALUES, VALUES, st.integers(1, 999_999_999))
def test_what_is_rendered_is_legal_and_read_back(name: str, variant: str, number: int) -> None:
    made = naming(name, "{name}.{variant}-{version}", variant=variant)
    stem = made.render(Version(number))
    assert Volid.make("local", stem + ".tar.zst").file.startswith(stem)
    match = made.series().fullmatch(stem)
    assert match is not None
    assert match["version"] == f"v{number}"


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        naming("-x", "{nam}/{name}{name}}", variant="a b", release="x.tar.gz")
    for said in (
        "'-x'",
        "unknown field {nam}",
        "'/'",
        "{name} twice",
        "lone '}'",
        "variant 'a b'",
        "suffix",
        "has none of",
    ):
        assert said in caught.value.message


@pytest.mark.parametrize("pattern", ["", ".{version}", "-{version}", "{version}.tar.zst", "{version", "{}{version}"])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        naming("x", pattern)


def test_a_pattern_that_never_changes_is_for_output_only() -> None:
    with pytest.raises(UsageError, match="has none of"):
        naming("x", "{name}-{date}")
    assert naming("x", "{name}", for_storage=False).render() == "x"


def test_a_value_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"\{variant\}, \{arch\}"):
        naming("x", "{name}-{variant}-{arch}-{version}").render(Version(1))
