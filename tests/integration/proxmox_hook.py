"""What Proxmox VE writes into a Debian container when it creates and starts one (pve-container, LXC/Setup/).

A program: `python proxmox_hook.py ROOT OWNER < settings.json`, run as root by proxmox_node.py. It enters ROOT by chroot
as Proxmox does, so that no link of the template leads to the machine's own files; what it needs is imported before.
What it writes belongs to the id OWNER, which is the container's root. Other inits than systemd get no consoles.
"""

import json
import os
import random
import re
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SECTION = ("# --- BEGIN PVE ---\n", "# --- END PVE ---\n")
PRESET = """\
enable container-getty@.service
disable getty@.service
disable sys-kernel-config.mount
disable sys-kernel-debug.mount
disable systemd-networkd.service
"""
CONSOLES = 2
SNAKEOIL_UNIT = """\
[Unit]
Description=Make this container's own snakeoil certificate
ConditionFirstBoot=yes
Before=first-boot-complete.target
Wants=first-boot-complete.target
[Service]
Type=oneshot
ExecStart=make-ssl-cert -f generate-default-snakeoil
"""


@dataclass(frozen=True)
class Settings:
    """What the container's configuration says; the texts of `host_keys` by file name."""

    creating: bool
    version: int
    hostname: str
    ssh_public_keys: str
    password: str
    address: str | None
    timezone: str | None
    host_keys: dict[str, str]


@dataclass(frozen=True)
class Tree:
    """Changes files as Proxmox's ct_* calls do: by rename, owned by the container's root, but none to be ignored."""

    owner: int

    def ignored(self, path: Path) -> bool:
        return (path.parent / f".pve-ignore.{path.name}").is_file()

    def write(self, path: Path, text: str, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
        if self.ignored(path):
            return
        temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            sys.exit(f"unable to open file '{temporary}' - {error.strerror}")
        temporary.chmod(mode)
        os.chown(temporary, *(owner or (self.owner, self.owner)))
        temporary.rename(path)

    def section(self, path: Path, text: str) -> None:
        """Put `text` in the part of the file that Proxmox marks as its own."""
        begin, end = SECTION
        old = read(path)
        marked = f"{begin}{text}{end}"
        new, found = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: marked, old, count=1, flags=re.DOTALL)
        self.write(path, new if found else (old.rstrip("\n") + "\n" if old else "") + marked)

    def link(self, path: Path, target: str) -> None:
        """Make a link; Proxmox does not look whether that succeeded."""
        if path.parent.is_dir() and not self.ignored(path):
            path.unlink(missing_ok=True)
            path.symlink_to(target)
            os.lchown(path, self.owner, self.owner)

    def folder(self, path: Path, mode: int = 0o755) -> None:
        if not path.is_dir():
            self.folder(path.parent)
            path.mkdir(mode)
            os.chown(path, self.owner, self.owner)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""


def forget_identity(tree: Tree) -> None:
    """Remove what two containers must not share."""
    dbus = Path("/var/lib/dbus/machine-id")
    if dbus.is_file() and not dbus.is_symlink():
        dbus.unlink()
    Path("/etc/machine-id").unlink(missing_ok=True)
    key = Path("/etc/ssl/private/ssl-cert-snakeoil.key")
    if key.is_file():
        unit = Path("/etc/systemd/system/proxmox-regenerate-snakeoil.service")
        tree.write(unit, SNAKEOIL_UNIT)
        wants = unit.parent / "first-boot-complete.target.wants"
        tree.folder(wants)
        tree.link(wants / unit.name, str(unit))
        key.unlink()


def spread_cron(tree: Tree) -> None:
    """Give root's hourly, daily, ... jobs a random minute, so that the containers of a node do not run them at once."""
    folder = Path("/etc/cron.d")
    for file in [Path("/etc/crontab"), *(folder.iterdir() if folder.is_dir() else ())]:
        if file.is_file():
            line = r"^\d+((?:\s+\S+){4}\s+root\s+\S.*)$"
            tree.write(file, re.sub(line, lambda m: f"{random.randrange(59)}{m[1]}", read(file), flags=re.MULTILINE))


def set_password(tree: Tree, hashed: str) -> None:
    today = int(time.time() // 86400)
    shadow, passwd = Path("/etc/shadow"), Path("/etc/passwd")
    rows = [(shadow, r"^root:[^:]*:[^:]*:", f"root:{hashed}:{today}:"), (passwd, r"^root:[^:]*:", "root:x:")]
    if not shadow.is_file():
        rows = [(passwd, r"^root:[^:]*:", f"root:{hashed}:")]
    for file, pattern, line in rows:
        if passwd.is_file():
            found = file.stat()
            text = re.sub(pattern, line.replace("\\", "\\\\"), read(file), flags=re.MULTILINE)
            tree.write(file, text, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))


def authorize(tree: Tree, keys: str) -> None:
    found = re.search(r"^root:(?:[^:]*:){4}([^:]*):", read(Path("/etc/passwd")), flags=re.MULTILINE)
    home = Path(found[1] if found else "/root")
    if not home.is_dir():
        sys.exit(f"home directory '{home}' of root does not exist!")
    tree.folder(home / ".ssh", 0o700)
    tree.section(home / ".ssh/authorized_keys", keys.rstrip("\n") + "\n")


def set_up_init(tree: Tree, version: int) -> None:
    init = Path("/sbin/init")
    # One level of links: /sbin/init -> wrapper -> systemd gets neither consoles nor preset.
    if not (init.is_symlink() and str(init.readlink()).endswith("/systemd")):
        return
    units = Path("/lib/systemd/system" if os.access("/lib/systemd/systemd", os.X_OK) else "/usr/lib/systemd/system")
    getty = units / "container-getty@.service"
    if getty.is_file():
        tree.write(getty, re.sub("pts/%I|lxc/tty%I", "tty%I", read(getty)))
        wants = Path("/etc/systemd/system/getty.target.wants")
        for number in range(1, 7):
            for name in (f"getty@tty{number}.service", f"container-getty@{number}.service"):
                (wants / name).unlink(missing_ok=True)
            if number <= CONSOLES:
                tree.link(wants / f"container-getty@{number}.service", str(getty))
        Path("/etc/systemd/system/getty.target").unlink(missing_ok=True)
    if version >= 12:
        tree.folder(Path("/etc/systemd/system-preset"))
        tree.write(Path("/etc/systemd/system-preset/00-pve.preset"), PRESET)


def set_up_network(tree: Tree, address: str | None) -> None:
    """Write eth0 into the interfaces file; a container without a network device keeps the file that it has."""
    if address is None:
        return
    file = Path("/etc/network/interfaces")
    # A paragraph that is eth0's goes; all others stay as they are.
    kept = [
        part for part in re.split(r"\n\s*\n", read(file)) if not re.search(r"^\s*iface\s+eth0\s", part, re.MULTILINE)
    ]
    text = "\n\n".join(part.strip("\n") for part in kept if part.strip())
    if not re.search(r"^\s*auto\b.*\blo\b", text, re.MULTILINE):
        text = f"auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n{text}"
    tree.folder(file.parent)
    tree.write(file, f"{text.rstrip()}\n\nauto eth0\niface eth0 inet static\n\taddress {address}\n\n")


def set_names(tree: Tree, settings: Settings) -> None:
    hosts = Path("/etc/hosts")
    old = re.sub(f"{SECTION[0]}.*?{SECTION[1]}", "", read(hosts), flags=re.DOTALL)
    text = "".join(
        f"{ip} localhost.localnet localhost\n"
        for ip in ("127.0.0.1", "::1")
        if not re.search(rf"^[ \t]*{re.escape(ip)}[ \t]", old, re.MULTILINE)
    )
    own = settings.address.partition("/")[0] if settings.address else "127.0.1.1"
    tree.section(hosts, f"{text}{own} {settings.hostname}.test.invalid {settings.hostname}\n")
    tree.write(Path("/etc/hostname"), f"{settings.hostname}\n")
    tree.write(Path("/etc/resolv.conf"), "search test.invalid\nnameserver 192.0.2.53\n")


def set_timezone(tree: Tree, zone: str | None) -> None:
    if zone is not None and Path("/usr/share/zoneinfo", zone).is_file():
        tree.link(Path("/etc/localtime"), f"/usr/share/zoneinfo/{zone}")
        if Path("/etc/timezone").is_file():
            tree.write(Path("/etc/timezone"), f"{zone}\n")


def main() -> None:
    root, owner = sys.argv[1:]
    settings = Settings(**json.load(sys.stdin))
    tree = Tree(int(owner))
    os.chroot(root)
    os.chdir("/")
    if settings.creating:
        forget_identity(tree)
        spread_cron(tree)
        set_password(tree, settings.password)
        if settings.ssh_public_keys:
            authorize(tree, settings.ssh_public_keys)
    else:
        tree.write(Path("/fastboot"), "")
    set_up_init(tree, settings.version)
    set_up_network(tree, settings.address)
    set_names(tree, settings)
    set_timezone(tree, settings.timezone)
    if settings.creating and Path("/etc/ssh").is_dir():
        for name, text in settings.host_keys.items():
            tree.write(Path("/etc/ssh", name), text, 0o644 if name.endswith(".pub") else 0o600)


if __name__ == "__main__":
    main()
