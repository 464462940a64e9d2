"""The test node refuses what Proxmox refuses: else a template that boots here would prove nothing."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.proxmox_node import RefusedError, create, detect, storage, unpack

DEBIAN = {"etc/os-release": "ID=debian\n", "etc/debian_version": "12.15\n"}


@pytest.fixture
def node(lxc: Path) -> Iterator[Path]:
    with storage() as folder:
        yield folder


def archive(path: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def entry(name: str, type: bytes = tarfile.REGTYPE, link: str = "", uid: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.uid, info.mode = type, link, uid, 0o755
    if type == tarfile.CHRTYPE:
        info.devmajor, info.devminor = 1, 3  # the device 0:0, overlayfs's whiteout, is everyone's to make
    return info


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            file.symlink_to(text[3:])
        else:
            file.write_text(text)
    return root


REFUSED: dict[str, Callable[[], list[tarfile.TarInfo]]] = {
    "a device outside ./dev": lambda: [entry("./srv/null", tarfile.CHRTYPE)],
    "a device in dev/ without ./ before it": lambda: [entry("dev/null", tarfile.CHRTYPE)],
    "an owner above 65535": lambda: [entry("./big", uid=65536)],
    "a hard link before its target": lambda: [entry("./link", tarfile.LNKTYPE, "./file"), entry("./file")],
    "a file through a link to an absolute path": lambda: [
        entry("./lib", tarfile.SYMTYPE, "/usr/lib"),
        entry("./lib/file"),
    ],
}
TAKEN: dict[str, Callable[[], list[tarfile.TarInfo]]] = {
    "a device in ./dev": lambda: [entry("./dev", tarfile.DIRTYPE), entry("./dev/null", tarfile.CHRTYPE)],
    "an owner of 65535": lambda: [entry("./big", uid=65535)],
    "a hard link after its target": lambda: [entry("./file"), entry("./link", tarfile.LNKTYPE, "./file")],
}


@pytest.mark.parametrize("what", REFUSED)
def test_tar_in_a_user_namespace_refuses(node: Path, what: str) -> None:
    with pytest.raises(RefusedError, match="tar exited with 2"):
        unpack(archive(node / "template.tar", *REFUSED[what]()), node / "root")


@pytest.mark.parametrize("what", TAKEN)
def test_tar_in_a_user_namespace_takes(node: Path, what: str) -> None:
    unpack(archive(node / "template.tar", *TAKEN[what]()), node / "root")


def test_owners_are_shifted_and_devices_of_dev_left_out(node: Path) -> None:
    members = [entry("./dev", tarfile.DIRTYPE), entry("./dev/null", tarfile.CHRTYPE), entry("./mine", uid=33)]
    unpack(archive(node / "template.tar", *members), node / "root")
    assert (node / "root/mine").stat().st_uid == 100_033
    assert list((node / "root/dev").iterdir()) == []


def test_the_first_of_two_members_of_one_name_stays(node: Path) -> None:
    unpack(archive(node / "template.tar", (entry("./a"), b"old"), (entry("./a"), b"new")), node / "root")
    assert (node / "root/a").read_text() == "old"


@pytest.mark.parametrize(("name", "why"), [("t.tar.gz", "not in gzip"), ("t.TAR", "not look"), ("t.tgz", "not look")])
def test_the_name_alone_says_how_it_is_compressed(node: Path, name: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        unpack(archive(node / name, entry("./a")), node / "root")


@pytest.mark.parametrize(
    ("files", "ostype"),
    [
        (DEBIAN, "debian"),
        ({"etc/os-release": 'ID="rocky"\n'}, "centos"),
        ({"etc/os-release": "ID=opensuse-leap\n"}, "opensuse"),
        ({"etc/os-release": "-> /usr/lib/os-release", "usr/lib/os-release": "ID=alpine\n"}, "alpine"),
        ({"usr/lib/os-release": "ID=alpine\n"}, "alpine"),
        ({"etc/os-release": "ID=rhel\n", "etc/redhat-release": "9"}, "centos"),
        ({"etc/lsb-release": "DISTRIB_ID=Ubuntu\n", "etc/debian_version": "12"}, "ubuntu"),
        ({"etc/hostname": "x"}, "unmanaged"),
    ],
)
def test_the_distribution_is_detected(tmp_path: Path, files: dict[str, str], ostype: str) -> None:
    assert detect(tree(tmp_path, files)) == ostype


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"etc/os-release": "ID=wolfi\n"}, "unable to detect OS distribution"),
        ({"etc/os-release": "ID=debian\n"}, "unable to read version info"),
        ({**DEBIAN, "etc/debian_version": "sid\n"}, "unable to parse version info 'sid'"),
        ({**DEBIAN, "etc/debian_version": "3.1\n"}, "version '3' is too old"),
        ({**DEBIAN, "etc/hostname/file": ""}, "error in setup task"),
        ({**DEBIAN, "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"}, "home directory '/root' of root does not exist"),
    ],
)
def test_create_is_refused(node: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        create(tree(node / "root", files), "web", ssh_public_keys="ssh-ed25519 AAAA someone")


def test_create_follows_no_link_out_of_the_container(node: Path, tmp_path: Path) -> None:
    outside = tmp_path / "resolv.conf"
    outside.write_text("the machine's own\n")
    root = tree(node / "root", {**DEBIAN, "etc/resolv.conf": f"-> {outside}"})
    create(root, "web")
    assert outside.read_text() == "the machine's own\n"
    assert "nameserver" in (root / "etc/resolv.conf").read_text()


def test_a_root_without_a_password_is_locked_and_a_file_that_is_to_be_ignored_stays(node: Path) -> None:
    files = {"etc/passwd": "root::0:0:root:/root:/bin/sh\n", "etc/shadow": "root::1::::::\n", "etc/hosts": "mine\n"}
    root = tree(node / "root", {**DEBIAN, **files, "etc/.pve-ignore.hosts": ""})
    create(root, "web")
    assert (root / "etc/shadow").read_text().startswith("root:*:")
    assert (root / "etc/passwd").read_text().startswith("root:x:0:")
    assert (root / "etc/hosts").read_text() == "mine\n"


def test_eth0_is_written_beside_what_the_interfaces_file_holds(node: Path) -> None:
    old = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"
    root = tree(node / "root", {**DEBIAN, "etc/network/interfaces": old})
    create(root, "web", address="10.0.3.2/24")
    text = (root / "etc/network/interfaces").read_text()
    assert text.count("iface lo inet loopback") == text.count("iface eth0") == 1
    assert "\taddress 10.0.3.2/24\n" in text
