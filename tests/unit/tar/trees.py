"""A root filesystem with everything in it that a tar can hold, and what must come out for each member of it."""

import os
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lxcast.tar.member import LNK, REG, Member

PROXMOX = (
    *("--totals", "--one-file-system", "-p", "--sparse", "--numeric-owner", "--acls", "--xattrs"),
    *("--xattrs-include=user.*", "--xattrs-include=security.capability"),
    *("--warning=no-file-ignored", "--warning=no-xattr-write", "--skip-old-files", "--anchored"),
)
"""The flags of Proxmox's extraction (PVE/LXC/Create.pm), without its `--exclude ./dev/*`."""

_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


class Seen(NamedTuple):
    """What of a member is compared."""

    type: bytes
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes
    link: bytes
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    group: tuple[bytes, ...] = ()
    """All names of the file, where it has several."""


def plant(root: Path, age: str) -> None:
    """Make the filesystem: what v7 can tell ("oldest"), what ustar can ("modest"), everything ("modern")."""
    top = os.fsencode(root)
    for name, mode in ((b"empty", 0o755), (b"tmp", 0o1777), (b"group", 0o2750), (b"d", 0o700)):
        os.mkdir(os.path.join(top, name))
        os.chmod(os.path.join(top, name), mode)
    names = [b"-dash", b" space ", b"back\\slash", b"star*[x]", "grün".encode(), b"d/.hidden", b"d/100%25"]
    for name in names:
        _file(top, name, b"x" * len(name))
    for size in (0, 1, 511, 512, 513, 10_240, 2_500_000):
        _file(top, b"size%d" % size, bytes(range(251)) * (size // 251) + b"e" * (size % 251))
    _file(top, b"setuid", b"#!/bin/sh\n", 0o4755)
    os.symlink(b"d/.hidden", top + b"/symlink")
    os.symlink(b"/nowhere/../at all", top + b"/dangling")
    os.link(top + b"/size513", top + b"/d/again")
    os.link(top + b"/size513", top + b"/zz-again")
    if age != "oldest":
        os.mkfifo(top + b"/fifo", 0o600)
    _sparse(top + b"/sparse-middle", 700_000, (0, 300_000))
    if os.geteuid() == 0:
        os.chown(top + b"/size1", 1000, 65534)
        os.lchown(top + b"/symlink", 12, 34)
    if os.geteuid() == 0 and age != "oldest":
        os.mknod(top + b"/null", 0o020666, os.makedev(1, 3))
    if age == "modern":
        _plant_modern(top)
    for name in sorted(_below(top), reverse=True):
        times = {b"size0": 0, b"size1": 1_700_000_000_750_000_000}
        if age == "modern":
            times |= {b"size511": -5_000_000_000, b"size512": 9_000_000_000_000_000_000}
        time = times.get(name, 1_600_000_000_000_000_000)
        os.utime(os.path.join(top, name), ns=(time, time), follow_symlinks=False)


def _plant_modern(top: bytes) -> None:
    names = [b"\xff\xfe\x80", b"new\nline", b"n" * 101, b"n" * 250]
    deep = b"d"
    for letter in (b"a", b"b", b"c"):
        deep += b"/" + letter * 130
        os.mkdir(os.path.join(top, deep))
    for name in (*names, deep + b"/" + b"file" * 40, b"d/" + b"a" * 130 + b"/short"):
        _file(top, name, name)
    os.symlink(b"t" * 99, top + b"/symlink99")
    os.symlink(b"t" * 100, top + b"/symlink100")
    os.symlink(b"t/" * 300, top + b"/symlink600")
    os.link(top + b"/" + deep + b"/" + b"file" * 40, top + b"/far")
    os.link(top + b"/" + deep + b"/" + b"file" * 40, top + b"/" + deep + b"/near")
    _sparse(top + b"/sparse-all", 5_000_000)
    _sparse(top + b"/sparse-start", 1_000_000, (900_000, 999_999))
    _sparse(top + b"/sparse-many", 64 * 65536, *((at * 65536, at * 65536 + 5) for at in range(1, 60, 2)))
    _sparse(top + b"/" + deep + b"/sparse-deep", 300_000, (131_072, 131_080))
    if os.geteuid() == 0:
        os.chown(top + b"/size511", 2_097_151, 2_097_152)
        os.chown(top + b"/size512", 4_000_000_000, 3_000_000)


def dress(root: Path) -> None:
    """Give some members extended attributes, a capability and ACLs."""
    top = os.fsencode(root)
    for name, value in ((b"user.x", b"1"), (b"user.binary", bytes(range(256))), (b"user.empty", b"")):
        os.setxattr(top + b"/size1", name, value)
    os.setxattr(top + b"/d", b"user.folder", b"a\n=b")
    os.setxattr(top + b"/size0", b"user.100%25", b"percent")
    os.setxattr(top + b"/size0", b"user.a=b", b"equals")
    subprocess.run(["setcap", "cap_net_raw+ep", root / "setuid"], check=True)
    subprocess.run(["setfacl", "-m", "u:54321:rw,g:3000000:r", root / "size512"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:54321:rwx", root / "group"], check=True)


def _below(top: bytes) -> Iterable[bytes]:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield os.path.relpath(os.path.join(folder, name), top)


def _file(top: bytes, name: bytes, content: bytes, mode: int = 0o640) -> None:
    with open(os.path.join(top, name), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def _sparse(path: bytes, size: int, *pieces: tuple[int, int]) -> None:
    with open(path, "wb") as file:
        for start, end in pieces:
            file.seek(start)
            file.write(b"s" * (end - start))
        file.truncate(size)


def grown(root: Path) -> dict[bytes, Seen]:
    """Return what stands in a filesystem."""
    top = os.fsencode(root)
    groups: dict[int, list[bytes]] = {}
    for name in _below(top):
        status = os.lstat(os.path.join(top, name))
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            groups.setdefault(status.st_ino, []).append(name)
    found = {}
    for name in _below(top):
        path = os.path.join(top, name)
        status = os.lstat(path)
        type = _TYPES[stat.S_IFMT(status.st_mode)]
        content = b""
        if type == REG:
            with open(path, "rb") as file:
                content = file.read()
        elif type in (b"3", b"4"):
            content = b"%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
        xattrs = {os.fsencode(key): os.getxattr(path, key, follow_symlinks=False) for key in _kept(path)}
        found[name] = Seen(
            type,
            status.st_mode & 0o7777,
            (status.st_uid, status.st_gid),
            status.st_mtime_ns // 10**9,
            content,
            os.readlink(path) if type == b"2" else b"",
            tuple(sorted(xattrs.items())),
            tuple(sorted(groups.get(status.st_ino, ()))),
        )
    return found


def _kept(path: bytes) -> list[str]:
    kept = ("user.", "security.capability")
    return [key for key in os.listxattr(path, follow_symlinks=False) if key.startswith(kept)]


def acls(root: Path) -> dict[str, str]:
    """Return the access control lists of a filesystem, where they say more than the mode."""
    told = subprocess.run(["getfacl", "-RnsPp", "."], cwd=root, check=True, capture_output=True, text=True).stdout
    lists = (block.partition("\n") for block in told.strip().split("\n\n") if block)
    return {head.removeprefix("# file: "): "\n".join(sorted(rest.splitlines())) for head, _, rest in lists}


def seen(members: Iterable[Member]) -> dict[bytes, Seen]:
    """Return what a reader gives, ACLs left out; the members' bodies are consumed."""
    found: dict[bytes, Seen] = {}
    links: dict[bytes, bytes] = {}
    for member in members:
        if not member.path:
            continue
        assert member.path not in found
        content = expanded(member)
        if member.type in (b"3", b"4"):
            content = b"%d:%d" % member.device
        xattrs = {key: value for key, value in (member.xattrs or {}).items() if not key.startswith(b"SCHILY.")}
        found[member.path] = Seen(
            member.type,
            member.mode,
            (member.uid, member.gid),
            member.mtime,
            content,
            member.link if member.type != LNK else b"",
            tuple(sorted(xattrs.items())),
        )
        if member.type == LNK:
            links[member.path] = member.link
    for path, target in links.items():
        names = tuple(sorted((target, *(path for path, other in links.items() if other == target))))
        found[target] = found[target]._replace(group=names)
        found[path] = found[target]
    return found


def expanded(member: Member) -> bytes:
    """Return the content as a program reads it."""
    stored = b"".join(bytes(chunk) for chunk in member.chunks())
    assert len(stored) == member.stored
    if member.sparse is None:
        return stored
    content, at = bytearray(member.size), 0
    for offset, length in member.sparse:
        content[offset : offset + length] = stored[at : at + length]
        at += length
    assert len(content) == member.size
    return bytes(content)


def plain(members: dict[bytes, Seen]) -> dict[bytes, Seen]:
    """Leave out what old formats do not hold, and the modes of links, which Linux does not have."""
    return {path: each._replace(xattrs=()) for path, each in members.items()}


def with_link_modes(members: dict[bytes, Seen]) -> dict[bytes, Seen]:
    """Give every symbolic link the one mode that Linux knows."""
    return {path: each._replace(mode=0o777) if each.type == b"2" else each for path, each in members.items()}
