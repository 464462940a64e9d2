import pytest

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


@pytest.mark.parametrize("pattern", ["", "/", "../etc", "a//b", "a/./b", "a/**", "a[b"])
def test_a_pattern_that_is_no_path_below_the_root_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        Matcher({pattern: 1})
