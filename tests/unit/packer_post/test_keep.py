"""What Packer deletes after a failure is still there under its second name."""

from pathlib import Path

import pytest

from lxcast.errors import CheckError
from packer_post.keep import kept


@pytest.fixture
def export(tmp_path: Path) -> Path:
    file = tmp_path / "rootfs.tar"
    file.write_bytes(b"content")
    return file


def names(export: Path) -> list[str]:
    return sorted(path.name for path in export.parent.iterdir())


def test_success_leaves_only_what_was_there(export: Path) -> None:
    with kept(str(export), pytest.fail) as source:
        assert Path(source).samefile(export)
    assert names(export) == ["rootfs.tar"]


def test_an_error_keeps_the_content_though_packer_deletes_the_file(export: Path) -> None:
    with pytest.raises(CheckError), kept(str(export), pytest.fail) as source:
        raise CheckError("no init")
    export.unlink()
    assert Path(source).read_bytes() == b"content"


def test_what_an_earlier_build_kept_is_kept(export: Path) -> None:
    for _ in range(2):
        with pytest.raises(CheckError), kept(str(export), pytest.fail):
            raise CheckError("no init")
    assert names(export) == ["rootfs-kept1.tar", "rootfs-kept2.tar", "rootfs.tar"]


def test_an_interrupt_keeps_nothing(export: Path) -> None:
    with pytest.raises(KeyboardInterrupt), kept(str(export), pytest.fail):
        raise KeyboardInterrupt
    assert names(export) == ["rootfs.tar"]


@pytest.mark.parametrize("source", ["", "-", "no-such-file.tar", "oci:image", "."])
def test_what_is_no_file_is_left_alone(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with kept(source, pytest.fail) as again:
        assert again == ""
    assert list(tmp_path.iterdir()) == []
