import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.errors import UsageError
from lxcast.rootfs.globs import Matcher


@pytest.mark.parametrize(
    ("pattern", "covered", "spared"),
    [
        ("etc/passwd-", ["etc/passwd-", "etc/passwd-/x"], ["etc/passwd", "etc/passwd-x", "usr/etc/passwd-"]),
        ("var/cache/apt/*", ["var/cache/apt/a", "var/cache/apt/a/b"], ["var/cache/apt", "var/cache/aptx/a"]),
        ("**/__pycache__", ["__pycache__", "usr/lib/__pycache__/a.pyc"], ["usr/__pycache__x"]),
        ("var/log/**/*.gz", ["var/log/a.gz", "var/log/a/b/c.gz"], ["var/log/a.gzip", "log/a.gz"]),
        ("etc/{a,b}.?", ["etc/a.1", "etc/b.2"], ["etc/c.1", "etc/a."]),
        ("run/[!u]*", ["run/x", "run/x/y"], ["run/u", "run/uuid"]),
        ("srv/ü*", ["srv/über"], ["srv/u"]),
        ("{root,home/*}/.x", ["root/.x", "home/a/.x"], ["home/.x", "root/a/.x"]),
        ("a/b/x{,.[0-9],.gz}", ["a/b/x", "a/b/x.1", "a/b/x.gz/y"], ["a/b/x.", "a/b/xgz"]),
    ],
)
def test_a_pattern_covers_its_path_and_what_lies_below(pattern: str, covered: list[str], spared: list[str]) -> None:
    matcher = Matcher({pattern: "row"})
    assert [path for path in covered if matcher.find(path.encode()) != "row"] == []
    assert [path for path in spared if matcher.find(path.encode()) is not None] == []


def test_the_first_of_several_patterns_wins() -> None:
    matcher = Matcher({"etc/ssh/ssh_host_*": 1, "**/ssh_host_*": 2, "etc/**/x": 3})
    assert matcher.find(b"etc/ssh/ssh_host_rsa_key") == 1
    assert matcher.find(b"opt/ssh_host_rsa_key") == 2
    assert matcher.find(b"etc/a/x") == 3


def test_a_path_of_thousands_of_folders_is_matched() -> None:
    matcher = Matcher({"a/**/x": 1})
    assert matcher.find(b"a/" * 2040 + b"x") == 1
    assert matcher.find(b"b/" * 2040 + b"x") is None
    assert matcher.unmatched_prefix(b"b/" * 2040 + b"x") == b"b/" * 2040


@pytest.mark.parametrize("pattern", ["", "/", "../etc", "a//b", "a/./b", "a/**", "a[b"])
def test_a_pattern_that_is_no_path_below_the_root_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        Matcher({pattern: 1})


def covers(pattern: list[str], path: list[str]) -> bool:
    """The meaning of a pattern, spelled out slowly: component by component, choices expanded."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return covers(pattern[1:], path) or (bool(path) and covers(pattern, path[1:]))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and covers(pattern[1:], path[1:])


def expanded(pattern: str) -> list[str]:
    choice = re.search(r"\{([^{}]*)\}", pattern)
    if not choice:
        return [pattern]
    head, tail = pattern[: choice.start()], pattern[choice.end() :]
    return [full for text in choice[1].split(",") for full in expanded(head + text + tail)]


names = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=5).map("/".join)
components = st.one_of(
    names, st.sampled_from(["*", "a*", "?", "[ab]", "[!a]*", "{a,b}", "*{.a,}b", "{a,b/a}", "*.{a,b}"])
)
patterns = st.tuples(st.lists(st.one_of(components, st.just("**")), max_size=3), components).map(
    lambda parts: "/".join((*parts[0], parts[1]))
)


@given(st.lists(patterns, min_size=1, max_size=6, unique=True), st.lists(paths, max_size=20))
def test_the_matcher_finds_what_the_patterns_mean_and_nothing_else(rows: list[str], asked: list[str]) -> None:
    matcher = Matcher({pattern: pattern for pattern in rows})
    for path in asked:
        meant = (row for row in rows if any(covers(one.split("/"), path.split("/")) for one in expanded(row)))
        assert matcher.find(path.encode()) == next(meant, None), path
