"""Where the plugin is put, by what `packer version` says; Packer itself stands in as a small program."""

import hashlib
import platform
from pathlib import Path

import pytest

from lxcast import __version__
from lxcast.errors import UsageError
from packer_post.install import install


def packer(folder: Path, says: str) -> str:
    """A program that answers `packer version`."""
    program = folder / "packer"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = version ] || exit 9\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("variable", "value", "place"),
    [
        ("PACKER_PLUGIN_PATH", "{}/own", "own"),
        ("PACKER_CONFIG_DIR", "{}/conf", "conf/.packer.d/plugins"),
        ("XDG_CONFIG_HOME", "{}/xdg", "xdg/packer/plugins"),
        ("TERM", "dumb", "home/.config/packer/plugins"),
    ],
)
def test_a_current_packer_gets_its_name_and_checksum_where_it_looks(
    tmp_path: Path, variable: str, value: str, place: str
) -> None:
    environ = {"HOME": str(tmp_path / "home"), variable: value.format(tmp_path)}
    file = install(packer(tmp_path, "Packer v1.15.0"), environ=environ)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"packer-plugin-lxcast_v{__version__}_x5.0_linux_{machine}"
    # Three folders: the depth at which Packer 1.7 to 1.10 look (host, owner, plugin).
    assert file.relative_to(tmp_path / place).parts == ("localhost", "lxcast", "lxcast", name)
    assert file.stat().st_mode & 0o777 == 0o755
    assert file.with_name(f"{name}_SHA256SUM").read_text().split() == [hashlib.sha256(file.read_bytes()).hexdigest()]


def test_packers_old_folder_wins_where_it_is(tmp_path: Path) -> None:
    (tmp_path / ".packer.d").mkdir()
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    file = install(packer(tmp_path, "Packer v1.11.2"), environ=environ)
    assert tmp_path / ".packer.d" / "plugins" in file.parents


def test_packer_1_6_gets_the_old_name_and_nothing_else(tmp_path: Path) -> None:
    file = install(packer(tmp_path, "Packer v1.6.6"), environ={"HOME": str(tmp_path)})
    assert file == tmp_path / ".packer.d/plugins/packer-post-processor-lxcast"
    assert list(file.parent.iterdir()) == [file]


def test_of_several_folders_the_first_is_taken(tmp_path: Path) -> None:
    environ = {"PACKER_PLUGIN_PATH": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}
    assert install(packer(tmp_path, "Packer v1.6.6"), environ=environ).parent == tmp_path / "a"


def test_another_version_makes_room(tmp_path: Path) -> None:
    environ = {"PACKER_PLUGIN_PATH": str(tmp_path / "plugins")}
    program = packer(tmp_path, "Packer v1.15.0")
    folder = install(program, environ=environ).parent
    for name in (
        "packer-plugin-lxcast_v0.0.1_x5.0_linux_amd64",
        "packer-plugin-lxcast_v0.0.1_x5.0_linux_amd64_SHA256SUM",
    ):
        (folder / name).touch()
    before = [path.stat().st_ino for path in folder.glob(f"*_v{__version__}_*")]
    install(program, environ=environ)
    assert [path.stat().st_ino for path in folder.glob(f"*_v{__version__}_*")] == before, "what is there stays"
    assert sorted(path.name.partition("_v")[2].partition("_")[0] for path in folder.iterdir()) == [__version__] * 2


def test_one_installation_gives_one_file(tmp_path: Path) -> None:
    first, second = install(folder=tmp_path / "a"), install(folder=tmp_path / "b")
    assert first.name == "packer-plugin-lxcast"
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("says", "message"), [("Packer v1.5.6", "1.6 and newer"), ("cracklib-packer 2.9", "version")])
def test_what_is_no_packer_of_today_is_refused(tmp_path: Path, says: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        install(packer(tmp_path, says), environ={"HOME": str(tmp_path)})


def test_without_packer_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no packer-nowhere on PATH") as raised:
        install("packer-nowhere")
    assert "--dir" in raised.value.hint
