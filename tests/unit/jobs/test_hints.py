import pytest

from lxcast.jobs.hints import disk_gb, hints
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import Member, directory, regular, symlink


def survey(*members: Member) -> Survey:
    seen = Survey()
    for member in members:
        seen.see(member)
    return seen


@pytest.mark.parametrize(
    ("library", "nesting"),
    [
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", True),
        ("usr/lib64/systemd/libsystemd-shared-256.6-1.fc41.so", True),
        ("lib/systemd/libsystemd-shared-241.so", False),
        ("lib/systemd/libother.so", False),
    ],
)
def test_nesting_is_hinted_for_a_systemd_that_needs_it(library: str, nesting: bool) -> None:
    init = [directory(b"sbin"), symlink(b"sbin/init", b"/lib/systemd/systemd"), regular(b"lib/systemd/systemd", b"x")]
    assert hints(survey(*init, regular(library.encode(), b"")))["nesting"] is nesting


def test_a_systemd_that_is_not_the_init_needs_no_nesting() -> None:
    init = [symlink(b"sbin/init", b"/bin/busybox"), regular(b"bin/busybox", b"x")]
    assert hints(survey(*init, regular(b"usr/lib/systemd/libsystemd-shared-252.so", b"")))["nesting"] is False


@pytest.mark.parametrize(
    ("unpacked", "members", "size"), [(0, 0, 1), (168 << 20, 8755, 1), (1 << 30, 30_000, 2), (4 << 30, 400_000, 8)]
)
def test_the_disk_holds_the_content_and_some_growth(unpacked: int, members: int, size: int) -> None:
    assert disk_gb(unpacked, members) == size
    assert disk_gb(unpacked, members) << 30 > unpacked + members * 4096
