"""provision.sh of Ubuntu, Alpine and Rocky Linux, run in a chroot that has that distribution's own files.

There is no registry and no mirror to have their images from. So the files of image and packages are laid down by small
package managers that know those packages alone, and what the scripts call (systemctl, sed, userdel, busybox ...) are
this machine's real programs, which leave with their folder when the script has ended.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration.tools import REPOSITORY, missing, on_path
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.distributions import ALL, Distribution, tree

EACH = pytest.mark.parametrize("image", ALL)
SCRIPTS = sorted((REPOSITORY / "hcl" / "packer").glob("*/provision.sh"))

LOADER = Path("/lib64/ld-linux-x86-64.so.2")

PROGRAMS = {
    "ubuntu-24.04": ("dash", "cat", "chmod", "grep", "id", "install", "ln", "passwd", "sed", "systemctl", "userdel"),
    "alpine": ("busybox", "install"),
    "rocky-9": ("bash", "cat", "chmod", "install", "sed", "systemctl", "usermod"),
}
"""What the scripts call; each distribution's own shell."""

APPLETS = ("cat", "chmod", "grep", "ln", "mkdir", "sed", "sh")
"""What they call of busybox, whose sed and grep are others than GNU's."""

MANAGER = """#!/.tools/bin/sh
# apt-get, apk and dnf: an unknown package is an error, a known one is unpacked, and caches and logs are left.
set -eu
case "${0##*/}:$*" in *:*update* | *:*upgrade* | *:*autoremove*) exit ;; esac
for word in "$@"; do
  case $word in -* | add | install) continue ;; esac
  [ -f "/.tools/packages/$word.tar" ] || { echo "no package $word" >&2; exit 100; }
  /.tools/bin/tar -xf "/.tools/packages/$word.tar" -C /
  echo "$word" >>/.tools/installed
done
/.tools/bin/tar -xf /.tools/caches.tar -C /
"""

RC_UPDATE = """#!/.tools/bin/sh
# OpenRC's: add SERVICE RUNLEVEL.
set -eu
[ "$1" = add ] && [ -x "/etc/init.d/$2" ] && [ -d "/etc/runlevels/$3" ] || { echo "rc-update: $*" >&2; exit 1; }
ln -sf "/etc/init.d/$2" "/etc/runlevels/$3/$2"
"""


def program(name: str, tools: Path) -> None:
    """Copy one of this machine's programs, and the libraries that it is linked with."""
    path = on_path(name)
    if path is None:
        missing(f"no {name}")
    shutil.copy(path.resolve(), tools / "bin" / name)
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout  # fails for a static one
    for library in re.findall(r"(/\S+) \(0x", linked):
        shutil.copy(library, tools / "lib" / Path(library).name)


def script(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def lay_tools(image: str, made: Distribution, root: Path) -> None:
    """Put the programs and the packages into /.tools of a root filesystem."""
    tools = root / ".tools"
    for folder in ("bin", "lib", "packages"):
        (tools / folder).mkdir(parents=True)
    for name in (*PROGRAMS[image], "tar"):
        program(name, tools)
    if image == "alpine":
        for name in APPLETS:
            (tools / "bin" / name).symlink_to("busybox")
        script(tools / "bin" / "rc-update", RC_UPDATE)
    else:
        (tools / "bin" / "sh").symlink_to(PROGRAMS[image][0])
    for name in ("apt-get", "apk", "dnf"):
        script(tools / "bin" / name, MANAGER)
    for name, files in made.packages.items():
        (tools / "packages" / f"{name}.tar").write_bytes(archive(tree(files)))
    (tools / "caches.tar").write_bytes(archive(tree(made.caches)))


def provision(image: str, root: Path) -> list[str]:
    """Run an image's provision.sh in its root filesystem; return the packages that it installed."""
    if not LOADER.exists():
        pytest.skip("the trees are of amd64, and so must be the programs")
    chroot = on_path("chroot")
    if os.geteuid() != 0 or chroot is None:
        missing("only root can change the root folder, by chroot")
    made = ALL[image]
    unpack(archive(tree(made.image)), root)
    for path in (root / "home").rglob("*"):
        os.chown(path, 1000, 1000)
    lay_tools(image, made, root)
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # systemctl knows a masked unit by it
    # The loader is where every program expects it, also on Alpine, whose own is musl's.
    loader = root / LOADER.relative_to("/")
    loader.parent.mkdir(exist_ok=True)
    shutil.copy(LOADER, loader)
    shutil.copy(REPOSITORY / "hcl" / "packer" / image / "provision.sh", root / ".tools/provision.sh")
    done = subprocess.run(
        [chroot, root, "/.tools/bin/sh", "/.tools/provision.sh"],
        env={"PATH": "/.tools/bin", "LD_LIBRARY_PATH": "/.tools/lib", "SOURCE_DATE_EPOCH": "1760000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = (root / ".tools/installed").read_text().split()
    shutil.rmtree(root / ".tools")
    loader.unlink()
    if image == "alpine":
        loader.parent.rmdir()
    return installed


def unpack(content: bytes, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xpf", "-", "--numeric-owner", "-C", folder], input=content, check=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.parent.name)
def test_a_script_is_sound_shell(path: Path) -> None:
    for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]):
        if on_path(shell[0]) is None:
            missing(f"no {shell[0]}")
        assert subprocess.run([*shell, "-n", path], check=False).returncode == 0
    if on_path("shellcheck") is None:
        missing("no shellcheck")
    done = subprocess.run(["shellcheck", "--shell=sh", path], capture_output=True, text=True)
    assert done.stdout == ""


@EACH
def test_provisioning_leaves_a_golden_image(image: str, tmp_path: Path) -> None:
    """Cleaned, fitted and judged, and the tree that the tables' own tests have for that distribution."""
    root = tmp_path / "root"
    assert sorted(provision(image, root)) == sorted(ALL[image].packages)
    said = ("--name", image, "--policy", "golden", "--format", "tar", "--output", tmp_path / "out", "--json")
    told = lxcast("build", f"rootfs:{root}", *said)
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert record["checks"]["findings"] == []
    (tmp_path / "tree.tar").write_bytes(archive(ALL[image].members()))
    lxcast("build", tmp_path / "tree.tar", *said)
    left, wanted = (members(tmp_path / "out" / f"{image}-v{number}.tar") for number in (1, 2))
    assert set(left.items()) ^ set(wanted.items()) == set()


def members(file: Path) -> dict[str, object]:
    """Each path with its type, mode, link and content; the days in /etc/shadow left out."""
    found: dict[str, object] = {}
    with tarfile.open(file) as opened:
        for each in opened:
            body = opened.extractfile(each) if each.isreg() else None
            content = body.read() if body else b""
            if each.name == "./etc/shadow":
                content = re.sub(rb":\d*:\d*:\d*:\d*:::$", b"", content, flags=re.MULTILINE)
            # Debian 12's systemctl writes /lib, where later ones write what it is a link to.
            link = re.sub("^/lib/systemd", "/usr/lib/systemd", each.linkname)
            found[each.name] = (each.type, oct(each.mode), link, content)
    return found
