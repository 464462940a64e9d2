import pytest

from lxcast.rootfs.inventory import compare_versions

ORDERED = ["0:0.9", "1.0~rc1-1", "1.0~rc1-2", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0a-1", "1.0+x-1", "1.2-1", "1.10-1"]
PAIRS = [*zip(ORDERED, [*ORDERED[1:], "1:0.1"], strict=True)]


@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_versions_are_ordered_as_by_dpkg(older: str, newer: str) -> None:
    results = compare_versions(older, newer), compare_versions(newer, older), compare_versions(older, older)
    assert results == (-1, 1, 0)
