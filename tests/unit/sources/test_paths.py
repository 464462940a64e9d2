"""Paths that users name: whatever is wrong with them is an error in words, never an exception of the system."""

from pathlib import Path

import pytest

from lxcast.errors import ArchiveError, SourceError
from lxcast.sources import open_for_check, open_source

LONG = "x" * 300


@pytest.mark.parametrize("prefix", ["", "oci:", "oci-archive:", "docker-archive:", "bundle:", "rootfs:"])
@pytest.mark.parametrize(
    "name",
    ["./loop", "./file/x.tar", f"./{LONG}", f"./{LONG}/y", "./gone.tar", "~no-such-user-here/x.tar", "./a\nb.tar"],
)
def test_a_path_that_cannot_be_opened_is_an_error(
    prefix: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError) as caught:
        open_source(prefix + name)
    assert len(caught.value.message) < 800
    if not prefix:
        with pytest.raises(SourceError):
            open_for_check(name)


def test_a_misspelled_file_gets_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar").touch()
    with pytest.raises(SourceError, match="no such file or directory") as caught:
        open_source(str(tmp_path / "rotfs.tar"))
    assert caught.value.hint == f"did you mean {tmp_path}/rootfs.tar?"


def test_a_template_id_in_place_of_a_file_gets_the_path_of_its_file() -> None:
    with pytest.raises(SourceError, match="is a template id, expected a file") as caught:
        open_for_check("local:vztmpl/web-v1.tar.zst")
    assert caught.value.hint == "its file is STORAGE/template/cache/web-v1.tar.zst"


@pytest.mark.parametrize("name", ["Dockerfile", "Containerfile", "web.dockerfile"])
def test_a_dockerfile_is_no_archive_and_its_directory_no_root_filesystem(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("# syntax=docker/dockerfile:1\nARG X=1\nFROM debian:12 AS base\nRUN true\n")
    for opener in (open_source, open_for_check):
        with pytest.raises(ArchiveError, match=f"{name}: is a Dockerfile, not an archive") as caught:
            opener(str(tmp_path / name))
        assert "docker build -t NAME" in caught.value.hint
    if name != "web.dockerfile":
        with pytest.raises(SourceError, match=f"contains a {name}, not a root filesystem"):
            open_source(str(tmp_path))
        (tmp_path / "etc").mkdir()
        assert open_source(str(tmp_path)).origin.kind == "rootfs"
