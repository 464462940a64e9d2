"""The preset file is judged by systemd itself: `systemctl --root preset-all` is what a first boot does."""

import random
from pathlib import Path

import pytest

from lxcast.rootfs.fits import FITS
from lxcast.tar.member import Member, directory, regular, symlink
from tests.integration.tools import Program, missing, on_path
from tests.unit.rootfs.pipeline import fitted

UNITS = [row for row in FITS if row.id == "units"]
TYPES = ("service", "socket", "timer", "path", "target", "mount")


@pytest.fixture(scope="session")
def systemctl() -> Program:
    path = on_path("systemctl")
    if path is None:
        missing("no systemctl")
    return Program(path)


def make_units(root: Path, random: random.Random) -> list[str]:
    """Write units of every kind, and return the names that `systemctl enable` takes."""
    names = [f"u{n}.{random.choice(TYPES)}" for n in range(12)]
    folders = [root / "usr/lib/systemd/system", root / "etc/systemd/system"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for name in names:
        install = []
        if random.random() < 0.8:
            wanted = random.sample(["multi-user.target", "sockets.target", "timers.target"], random.randint(1, 2))
            install.append(f"WantedBy={' '.join(wanted)}")
        if random.random() < 0.2:
            install.append("RequiredBy=graphical.target")
        if random.random() < 0.3:
            install.append(f"Alias=alias-of-{name}")
        if random.random() < 0.3:
            install.append(f"Also={random.choice(names)}")
        if install:
            taken.append(name)
        section = "[Install]\n" + "\n".join(install) + "\n" if random.random() < 0.9 else ""
        random.choice(folders).joinpath(name).write_text(f"[Unit]\nDescription={name}\n\n{section}")
    getty = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n"
    (folders[0] / "getty@.service").write_text(getty)
    return [*taken, "getty@tty1.service", "getty@tty7.service"]


def links(root: Path) -> dict[str, str]:
    folder = root / "etc/systemd/system"
    return {str(path.relative_to(folder)): str(path.readlink()) for path in folder.rglob("*") if path.is_symlink()}


def members(root: Path, os_release: bytes) -> list[Member]:
    found = [regular(b"usr/lib/os-release", os_release), regular(b"usr/lib/systemd/systemd", b"\x7fELF", 0o755)]
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root)).encode()
        if path.is_symlink():
            found.append(symlink(name, str(path.readlink()).encode()))
        else:
            found.append(directory(name) if path.is_dir() else regular(name, path.read_bytes()))
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("distribution", "mode"), [("debian", "enable-only"), ("fedora", "full")])
def test_a_first_boot_keeps_each_unit_as_the_image_has_it(
    systemctl: Program, tmp_path: Path, distribution: str, mode: str, seed: int
) -> None:
    chance = random.Random(seed)
    names = make_units(tmp_path, chance)
    for verb, share in (("enable", 0.6), ("disable", 0.3), ("mask", 0.1)):
        chosen = [name for name in names if chance.random() < share]
        for name in chosen:
            systemctl.run(f"--root={tmp_path}", verb, name, check=False)
    before = links(tmp_path)

    out, _, fitting = fitted(members(tmp_path, f"ID={distribution}\n".encode()), UNITS)
    preset = out[b"etc/systemd/system-preset/01-lxcast.preset"]
    folder = tmp_path / "etc/systemd/system-preset"
    folder.mkdir()
    (folder / "01-lxcast.preset").write_bytes(bytes(preset.head()))
    (folder / "99-default.preset").write_text("disable *\n" if distribution == "fedora" else "enable *\n")
    systemctl.run(f"--root={tmp_path}", "preset-all", f"--preset-mode={mode}", check=False)

    after = links(tmp_path)
    said = " ".join(note for note in fitting.report()["units"] if "Also=" in note)
    unexplained = {name: target for name, target in after.items() if Path(target).name not in said}
    assert {name for name in before if name not in after} == set()
    assert set(unexplained) - set(before) == set()
