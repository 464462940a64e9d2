"""What a Proxmox VE node does with a template, up to the moment when LXC starts the container.

`storage` gives a folder for the containers' root filesystems, `unpack` fills one, `create` does what Proxmox's hooks do
at create and at start, for Debian and for `unmanaged`. What Proxmox refuses is a RefusedError with its words. All of it
needs root. Sources: pve-container, LXC/Create.pm, LXC/Setup.pm, LXC/Setup/Base.pm, LXC/Setup/Debian.pm.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from tests.integration.proxmox_hook import Settings

FIRST_ID = 100_000
"""The machine's id that is root in an unprivileged container."""
IDS = 65_536

DECOMPRESS = {".tar": (), ".tar.gz": ("-z",), ".tar.xz": ("-J",), ".tar.zst": ("--zstd",), ".tar.bz2": ("-j",)}
TAR = (
    "--totals",
    "--one-file-system",
    "-p",
    "--sparse",
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=user.*",
    "--xattrs-include=security.capability",
    "--warning=no-file-ignored",
    "--warning=no-xattr-write",
)

OSTYPES = (
    *("alpine", "archlinux", "centos", "debian", "devuan", "fedora"),
    *("gentoo", "nixos", "openeuler", "opensuse", "ubuntu", "unmanaged"),
)
ALIASES = {
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "opensuse-slowroll": "opensuse",
    "openEuler": "openeuler",
    "arch": "archlinux",
    "sles": "opensuse",
    "rocky": "centos",
    "almalinux": "centos",
}
MARKS = {
    "etc/debian_version": "debian",
    "etc/devuan_version": "devuan",
    "etc/SuSE-brand": "opensuse",
    "etc/SuSE-release": "opensuse",
    "etc/fedora-release": "fedora",
    "etc/centos-release": "centos",
    "etc/redhat-release": "centos",
    "etc/arch-release": "archlinux",
    "etc/alpine-release": "alpine",
    "etc/gentoo-release": "gentoo",
    "nix/store": "nixos",
    "etc/openEuler-release": "openeuler",
}
"""Files by which Proxmox goes where the ID of os-release tells it nothing, in its order."""
TESTING = {
    "stretch/sid": "9",
    "buster/sid": "10",
    "bullseye/sid": "11",
    "bookworm/sid": "12",
    "trixie/sid": "13",
    "forky/sid": "14",
    "duke/sid": "15",
    "kali-rolling": "12",
}


class RefusedError(Exception):
    """Proxmox ends the task "create" with this error."""


@contextmanager
def storage() -> Iterator[Path]:
    """Make a folder whose trees the ids from 100000 can reach, which pytest's own (mode 0700) does not let them.

    It lies in memory where 6 GiB are free: a disk takes much longer to write and remove tens of thousands of files.
    """
    folder = Path(tempfile.mkdtemp(prefix="lxcast-node-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        available = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        if available and int(available[1]) >= 6 << 20:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "lxcast-node", folder], check=True)
            stack.callback(lambda: subprocess.run(["umount", "--lazy", folder], check=True))
        folder.chmod(0o755)
        yield folder


@contextmanager
def user_namespace() -> Iterator[int]:
    """Hold a user namespace whose ids 0 to 65535 are 100000 to 165535 outside; gives the pid of its only process."""
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"!")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"!", "unshare --user failed: are user namespaces allowed?"
        for file in ("uid_map", "gid_map"):
            Path(f"/proc/{cat.pid}/{file}").write_text(f"0 {FIRST_ID} {IDS}\n")
        yield cat.pid
        cat.stdin.close()


def unpack(template: Path, root: Path, *, unprivileged: bool = True) -> None:
    """Make the folder `root` and unpack the template into it by the command line of a Proxmox create.

    Raises RefusedError with what tar said where it exits with anything but 0, or where the name ends in nothing that
    Proxmox knows; the compression goes by the name alone.
    """
    suffix = re.search(r"\.tar(\.(gz|xz|zst|bz2))?$", template.name)
    if suffix is None:
        raise RefusedError(f"file does not look like a template archive: {template.name}")
    root.mkdir()
    tar = ["tar", "xpf", "-", *DECOMPRESS[suffix[0]], *TAR, "-C", str(root)]
    tar += ["--skip-old-files", "--anchored", "--exclude", "./dev/*"]
    if not unprivileged:
        _extract(template, tar)
        return
    os.chown(root, FIRST_ID, FIRST_ID)
    with user_namespace() as holder:
        _extract(template, ["nsenter", "--user", "--target", str(holder), "--", *tar])


def _extract(template: Path, command: list[str]) -> None:
    with template.open("rb") as archive:
        done = subprocess.run(command, stdin=archive, stderr=subprocess.PIPE, text=True, cwd="/", timeout=300)
    if done.returncode:
        raise RefusedError(f"unable to extract {template.name}: tar exited with {done.returncode}\n{done.stderr}")


def detect(root: Path) -> str:
    """Return the ostype that Proxmox takes the root filesystem for; the files of MARKS are looked at from outside."""
    release = _inside(root, "etc/os-release")
    if not release.is_file():
        release = _inside(root, "usr/lib/os-release")
    text = release.read_text(errors="surrogateescape") if release.is_file() else ""
    values = re.findall(r"^\s*ID=(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9]*))", text, re.MULTILINE)
    name = "".join(values[-1]) if values else ""
    name = ALIASES.get(name, name)
    if name in OSTYPES:
        return name
    lsb = root / "etc/lsb-release"
    if lsb.is_file() and re.search(r"^DISTRIB_ID=Ubuntu$", lsb.read_text(), re.MULTILINE | re.IGNORECASE):
        return "ubuntu"
    for file, ostype in MARKS.items():
        if (root / file).is_dir() if file == "nix/store" else (root / file).is_file():
            return ostype
    if (root / "etc/os-release").is_file():
        raise RefusedError("unable to detect OS distribution")
    return "unmanaged"


def _inside(root: Path, path: str) -> Path:
    """Follow `path` as a process that is chrooted to `root` would."""
    todo, at, links = path.split("/")[::-1], root, 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = at if at == root else at.parent
        elif name not in ("", "."):
            if not (at / name).is_symlink():
                at = at / name
            elif (links := links + 1) > 40:
                return root / "nowhere"
            else:
                target = str((at / name).readlink())
                at = root if target.startswith("/") else at
                todo += target.split("/")[::-1]
    return at


def debian_version(root: Path) -> int:
    """Return the version for which Proxmox sets the container up, or raise its refusal."""
    file = root / "etc/debian_version"
    lines = file.read_text().splitlines() if file.is_file() else []
    if not lines:
        raise RefusedError("unable to read version info")
    found = re.match(r"\d+", TESTING.get(lines[0], lines[0]))
    if found is None:
        raise RefusedError(f"unable to parse version info '{lines[0]}'")
    if int(found[0]) < 4:
        raise RefusedError(f"Container Debian version '{found[0]}' is too old")
    return int(found[0])


def create(
    root: Path,
    hostname: str,
    *,
    ssh_public_keys: str = "",
    password: str | None = None,
    address: str | None = None,
    ostype: str | None = None,
    timezone: str | None = None,
) -> str:
    """Do to an unpacked root filesystem what creating the container does; returns the ostype.

    `address` is that of eth0 with its prefix length; None is a container without a network device. `ostype` counts
    where it is "unmanaged" alone: then nothing is changed. The owner of `root` tells whether it is unprivileged.
    """
    if ostype == "unmanaged" or (found := detect(root)) == "unmanaged":
        return "unmanaged"
    if found != "debian":
        raise NotImplementedError(f"this node sets up debian and unmanaged alone, not {found}")
    settings = Settings(
        creating=True,
        version=debian_version(root),
        hostname=hostname,
        ssh_public_keys=ssh_public_keys,
        password="*" if password is None else _crypt(password),
        address=address,
        timezone=timezone,
        host_keys=_host_keys(hostname),
    )
    _hook(root, settings)
    # Every start repeats the part that is about init, network and names.
    _hook(root, replace(settings, creating=False))
    return "debian"


def _hook(root: Path, settings: Settings) -> None:
    program = Path(__file__).with_name("proxmox_hook.py")
    done = subprocess.run(
        [sys.executable, program, root, str(root.stat().st_uid)],
        input=json.dumps(asdict(settings)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise RefusedError(f"error in setup task: {done.stderr}")


def _crypt(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _host_keys(hostname: str) -> dict[str, str]:
    """Make the three keys that Proxmox makes; by file name."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("rsa", "ecdsa", "ed25519"):
            file = Path(folder, f"ssh_host_{kind}_key")
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{hostname}", "-f", file], check=True, timeout=60
            )
        return {file.name: file.read_text() for file in Path(folder).iterdir()}
